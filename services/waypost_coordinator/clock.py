"""Time as this coordinator knows it: Postgres's clock for wall time, the monotonic clock for holding leases (CORRECTNESS.md row 19)."""

from __future__ import annotations

import time
from collections.abc import Callable


class DatabaseClock:
    """Unix seconds by the database's clock: our monotonic clock plus an offset, taken again at every lease renewal.

    The local wall clock is never read, so a coordinator whose clock runs an hour ahead fires nothing early.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._offset: float | None = None

    def monotonic(self) -> float:
        return self._monotonic()

    def set(self, database_now: float, asked_at: float) -> None:
        """The database said `database_now` in answer to a question sent at monotonic `asked_at`."""
        self._offset = database_now - (asked_at + self._monotonic()) / 2

    def now(self) -> float:
        assert self._offset is not None, "the clock is read before the first renewal"
        return self._monotonic() + self._offset
