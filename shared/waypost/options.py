"""What can be said about one call or one definition: approvals, time limits, retries, rates, breakers, budgets. Plain values.

`Backoff`, `Breaker`, `Budget`, `Rate` and `Retry` are those of the wire; `Approval` and time limits also take a `timedelta`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from waypost_proto import values
from waypost_proto.taint import check_label
from waypost_proto.values import Backoff, Breaker, Budget, Rate, Retry

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


_RATE = re.compile(r"(\d+)\s*/\s*(\d*)\s*(s|sec|second|m|min|minute|h|hour|d|day)s?")
_UNITS = {"s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}


def rate_of(rate: str | Rate | None) -> Rate | None:
    """`"10/s"`, `"600/min"`, `"5/10s"`, `"1000/hour"` or a `Rate`. Raises `ValueError` for anything else."""
    if rate is None or isinstance(rate, Rate):
        if rate is not None and (rate.count < 1 or rate.seconds <= 0 or (rate.burst is not None and rate.burst < 1)):
            raise ValueError(f"rate={rate!r}: count, seconds and burst must be positive")
        return rate
    match = _RATE.fullmatch(rate.strip().lower()) if isinstance(rate, str) else None
    if match is None or int(match[1]) < 1 or match[2] == "0":
        raise ValueError(f"rate={rate!r}: write it like '10/s', '600/min', '5/10s' or '1000/hour', or give a Rate(count=…, seconds=…)")
    return Rate(count=int(match[1]), seconds=float(match[2] or 1) * _UNITS[match[3][0]])


def breaker_of(breaker: Breaker | None) -> Breaker | None:
    """A breaker that can work. Raises `ValueError`."""
    if breaker is not None:
        if breaker.failures < 1 or not 0 <= breaker.share <= 1:
            raise ValueError(f"breaker={breaker!r}: failures is at least 1, share between 0 and 1")
        seconds_of("Breaker(window_seconds=…)", breaker.window_seconds)
        seconds_of("Breaker(open_seconds=…)", breaker.open_seconds)
    return breaker


def labels_of(taint: str | Iterable[str]) -> tuple[str, ...]:
    """Taint labels, each once, in order. Raises `BadInput`."""
    return tuple(sorted({check_label(label) for label in ((taint,) if isinstance(taint, str) else taint)}))


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


__all__ = ["Approval", "Backoff", "Breaker", "Budget", "Rate", "Retry", "Seconds", "breaker_of", "labels_of", "rate_of", "seconds_of"]
