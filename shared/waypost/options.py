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
    """A call needs somebody with `role` to approve exactly its arguments within `expires`, or it is denied.

    The approval is bound to the digest of the arguments and used once; the gateway checks it again at execution.
    """

    role: str
    expires: Seconds = timedelta(hours=48)
    reason: str = ""

    def __post_init__(self) -> None:
        if not self.role:
            raise ValueError("Approval(role=…) must name who may approve, for example role='officer'")
        seconds_of("Approval(expires=…)", self.expires)

    def to_wire(self) -> values.Approval:
        """As a command carries it."""
        return values.Approval(role=self.role, expires_seconds=seconds_of("expires", self.expires), reason=self.reason)


__all__ = ["Approval", "Budget", "Retry", "Seconds", "seconds_of"]
