"""Which workers let runs go, so that one that joined gets its part of them. Pure bookkeeping: time is an argument, nothing is sent.

Activations are sticky: a run goes on where its coroutine is in memory. Without more than that a worker that joins would get new runs only,
and a busy fleet of long runs would leave it idle. So a worker that says that it is much busier than its like lets some runs go: their next
activation is for any worker, whichever has room, and costs one replay.
"""

from __future__ import annotations

from collections.abc import Hashable
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
    """`hear` what each worker says; ask `lets_go` for each activation that would go to one. Neither depends on how many there are."""

    def __init__(self) -> None:
        self._loads: dict[str, Load] = {}
        self._sums: dict[Hashable, tuple[int, int]] = {}
        """How many are alike, and how busy they are together."""
        self._may_leave: dict[str, int] = {}
        self._decided_at: dict[str, float] = {}

    def hear(self, worker: str, load: Load, *, share: float, now: float) -> int:
        """A worker that takes work has spoken. How many of its runs may leave it: that many calls of `lets_go` will say so.

        `share` is the part of all runs that are ours to move.
        """
        self._replace(worker, load)
        if now - self._decided_at.get(worker, float("-inf")) < PAUSE_SECONDS:
            return 0
        self._may_leave.pop(worker, None)
        count, together = self._sums[load.like]
        mean = together / count
        if load.busy < LEAST_BUSY or load.busy <= mean * TOLERANCE + 1:
            return 0
        leaving = ceil((load.busy - mean) * share)
        if leaving:
            self._may_leave[worker] = leaving
        self._decided_at[worker] = now
        return leaving

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
        """It takes no work any more. Idempotent."""
        self._replace(worker, None)
        self._may_leave.pop(worker, None)
        self._decided_at.pop(worker, None)

    def _replace(self, worker: str, load: Load | None) -> None:
        before = self._loads.pop(worker, None)
        if before is not None:
            count, together = self._sums[before.like]
            if count == 1:
                del self._sums[before.like]
            else:
                self._sums[before.like] = count - 1, together - before.busy
        if load is not None:
            self._loads[worker] = load
            count, together = self._sums.get(load.like, (0, 0))
            self._sums[load.like] = count + 1, together + load.busy
