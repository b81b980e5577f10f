"""The database's clock, read without a round trip: deadlines are in its time, and no two machines agree (CORRECTNESS.md row 19)."""

from __future__ import annotations

from collections.abc import Callable

from waypost_io.store.ports import Leases


class DatabaseClock:
    """Unix seconds by the database's clock: our monotonic clock plus an offset that `sync` measures.

    Once it was measured our wall clock is not read any more: set under us, it would move every deadline until the next `sync`.
    """

    def __init__(self, leases: Leases, *, wall: Callable[[], float], monotonic: Callable[[], float]) -> None:
        self._leases = leases
        self._monotonic = monotonic
        self._offset = wall() - monotonic()

    def now(self) -> float:
        """About the database's time, Unix seconds."""
        return self._monotonic() + self._offset

    async def sync(self) -> None:
        """Measure the offset, half the round trip taken off. Raises `TransientError`."""
        asked = self._monotonic()
        theirs = await self._leases.now()
        self._offset = theirs - (asked + self._monotonic()) / 2
