"""Which request fails, and how: decided by a seed, the service, the key asked for, and how often it was asked. No clock, no global random.

So the same file shows the same faults in every run, in whatever order requests arrive. A key fails at most `most_in_a_row` times, so
every request succeeds in the end.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum

DEMO_SEED = 2436
"""With this seed the CSV that ships meets every kind of failure, and no case waits for more than a few seconds in all."""


class FaultKind(StrEnum):
    """What happens to a request."""

    NONE = "none"
    SLOW = "slow"
    """Answered, but only after `slow_seconds`: longer than the caller waits."""
    UNAVAILABLE = "unavailable"
    """503 with Retry-After, nothing done."""
    LOST = "lost"
    """The connection breaks before anything was done."""
    LATE = "late"
    """Done, and then the answer never comes: the caller cannot know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultPlan:
    """How likely each fault is for one service. Shares are of 1; what is left over succeeds."""

    service: str
    seed: int = 0
    shares: dict[FaultKind, float] = field(default_factory=dict)
    most_in_a_row: int = 2

    def fault(self, key: str, nth: int) -> FaultKind:
        """The fault of the nth request (from 1) for `key`."""
        if nth > self.most_in_a_row:
            return FaultKind.NONE
        lot = lot_of(self.seed, self.service, key, str(nth))
        for kind, share in self.shares.items():
            if lot < share:
                return kind
            lot -= share
        return FaultKind.NONE

    def failures(self, key: str) -> int:
        """How many of the first requests for `key` fail before one succeeds."""
        return next(nth for nth in range(self.most_in_a_row + 1) if self.fault(key, nth + 1) is FaultKind.NONE)


class FaultClock:
    """Counts requests per key and says what becomes of each."""

    def __init__(self, plan: FaultPlan) -> None:
        self._plan = plan
        self._asked: Counter[str] = Counter()

    def next(self, key: str) -> FaultKind:
        self._asked[key] += 1
        return self._plan.fault(key, self._asked[key])


def lot_of(seed: int, *parts: str) -> float:
    """A number in [0, 1) that follows from its arguments alone."""
    digest = hashlib.sha256("\x1f".join((str(seed), *parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
