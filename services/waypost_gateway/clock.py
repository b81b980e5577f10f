"""The database's clock, read without a round trip: deadlines are in its time, and no two machines agree (CORRECTNESS.md row 19)."""

from __future__ import annotations

from collections.abc import Callable

from waypost_io.store.ports import Leases


class DatabaseClock:
    """Our wall clock plus an offset that `sync` measures; until the first `sync` the offset is 0."""

    def __init__(self, leases: Leases, *, wall: Callable[[], float]) -> None:
        self._leases = leases
        self._wall = wall
        self._offset = 0.0

    def now(self) -> float:
        """About the database's time, Unix seconds."""
        return self._wall() + self._offset

    async def sync(self) -> None:
        """Measure the offset, half the round trip taken off. Raises `TransientError`."""
        asked = self._wall()
        theirs = await self._leases.now()
        self._offset = theirs - (asked + self._wall()) / 2
