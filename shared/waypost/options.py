"""What can be said about one call or one definition: approvals, time limits, retries, budgets. Plain values.

`Budget` and `Retry` are those of the wire; `Approval` and time limits also take a `timedelta`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from waypost_proto import values
from waypost_proto.values import Budget, Retry

Seconds = float | timedelta
"""A length of time: seconds, or a `timedelta`."""


def seconds_of(what: str, length: Seconds) -> float:
    """`length` in seconds. Raises `TypeError` or `ValueError` naming `what` for anything that is not a positive length."""
    if isinstance(length, timedelta):
        length = length.total_seconds()
    if isinstance(length, bool) or not isinstance(length, int | float):
        raise TypeError(f"{what} is {length!r}: give seconds as a number, or a timedelta")
    if not 0 < length < float("inf"):
        raise ValueError(f"{what} is {length!r}: it must be a positive, finite number of seconds")
    return float(length)


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """A call needs `quorum` people with `role` to approve exactly its arguments within `expires`, or it is denied.

    With `escalate_to` silence is not a denial yet: people of that role are asked next, for `escalate_expires` (as long again if not
    given). Who started the run cannot approve it. The approval is bound to the digest of the arguments and used once; the gateway checks
    it again at execution.
    """

    role: str
    expires: Seconds = timedelta(hours=48)
    reason: str = ""
    quorum: int = 1
    escalate_to: str = ""
    escalate_expires: Seconds | None = None

    def __post_init__(self) -> None:
        if not self.role:
            raise ValueError("Approval(role=…) must name who may approve, for example role='officer'")
        seconds_of("Approval(expires=…)", self.expires)
        if isinstance(self.quorum, bool) or not isinstance(self.quorum, int) or self.quorum < 1:
            raise ValueError(f"Approval(quorum={self.quorum!r}): how many different people must approve, 1 or more")
        if self.escalate_expires is not None:
            seconds_of("Approval(escalate_expires=…)", self.escalate_expires)
            if not self.escalate_to:
                raise ValueError("Approval(escalate_expires=…) goes with escalate_to='role'")

    def to_wire(self) -> values.Approval:
        """As a command carries it."""
        further = None if self.escalate_expires is None else seconds_of("escalate_expires", self.escalate_expires)
        return values.Approval(
            role=self.role,
            expires_seconds=seconds_of("expires", self.expires),
            reason=self.reason,
            quorum=self.quorum,
            escalate_to=self.escalate_to,
            escalate_seconds=further,
        )


__all__ = ["Approval", "Budget", "Retry", "Seconds", "seconds_of"]
