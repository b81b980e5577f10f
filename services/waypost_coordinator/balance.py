"""Which workers let runs go, so that one that joined gets its part of them. Pure bookkeeping: time is an argument, nothing is sent.

Activations are sticky: a run goes on where its coroutine is in memory. Without more than that a worker that joins would get new runs only,
and a busy fleet of long runs would leave it idle. So a worker that says that it is much busier than its like lets some runs go: their next
activation is for any worker, whichever has room, and costs one replay.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from math import ceil

LEAST_BUSY = 4
"""Runs at work on a worker below which nothing is moved away from it."""
TOLERANCE = 1.15
"""Times the mean of its like that a worker may be busy before it lets runs go."""
PAUSE_SECONDS = 2.5
"""Between two decisions on one worker: what was moved must show in what everybody says of itself."""


@dataclass(frozen=True, slots=True)
class Load:
    """What a worker says of itself. `like`: workers with an equal one host the same agents in the same build."""

    like: Hashable
    busy: int


class Balance:
    """`decide` when a worker has spoken; `lets_go` for each activation that would go to it."""

    def __init__(self) -> None:
        self._may_leave: dict[str, int] = {}
        self._decided_at: dict[str, float] = {}

    def decide(self, worker: str, loads: Mapping[str, Load], *, share: float, now: float) -> int:
        """How many of its runs may leave this worker; that many calls of `lets_go` will say so.

        `loads` are the workers that take work, this one among them. `share` is the part of all runs that are ours to move.
        """
        if now - self._decided_at.get(worker, float("-inf")) < PAUSE_SECONDS:
            return 0
        self._may_leave.pop(worker, None)
        mine = loads.get(worker)
        if mine is None or mine.busy < LEAST_BUSY:
            return 0
        others = [load.busy for load in loads.values() if load.like == mine.like]
        mean = sum(others) / len(others)
        if mine.busy <= mean * TOLERANCE + 1:
            return 0
        count = ceil((mine.busy - mean) * share)
        self._may_leave[worker] = count
        self._decided_at[worker] = now
        return count

    def lets_go(self, worker: str) -> bool:
        """Whether the run that would get its activation there goes to any worker instead."""
        left = self._may_leave.get(worker)
        if left is None:
            return False
        if left == 1:
            del self._may_leave[worker]
        else:
            self._may_leave[worker] = left - 1
        return True

    def forget(self, worker: str) -> None:
        """It is gone."""
        self._may_leave.pop(worker, None)
        self._decided_at.pop(worker, None)
