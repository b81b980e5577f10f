"""The time that a worker writes into its results: the database's, as far as its coordinator has told it.

A run's timers count from what its worker says of the time of a step, so a worker whose wall clock is an hour ahead would make
`sleep(1)` after a step last an hour. Activations and confirmations carry the database's time; what they say is a little old when it
arrives, so the largest offset ever heard is the best, and this clock is never ahead of the database's.
"""

from __future__ import annotations

import time
from collections.abc import Callable


class DatabaseTime:
    """Call it for Unix seconds. Until something was learned it is the wall clock: nothing runs before the first activation."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time) -> None:
        self._monotonic = monotonic
        self._wall = wall
        self._offset: float | None = None

    def learn(self, now: float) -> None:
        """The database's clock showed `now` when a message left the coordinator; 0: it did not say."""
        if now:
            offset = now - self._monotonic()
            self._offset = offset if self._offset is None else max(self._offset, offset)

    def __call__(self) -> float:
        return self._wall() if self._offset is None else self._monotonic() + self._offset
