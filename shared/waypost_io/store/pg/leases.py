"""Facets `leases`, `timers` and `maintenance`: what time moves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from waypost_io.store import queries
from waypost_io.store.migrate import create_event_partitions
from waypost_io.store.pg import rows
from waypost_io.store.pg.link import Link
from waypost_io.store.ports import Lease, TimerRow
from waypost_proto.errors import Misconfigured

_PARTITIONS = queries.load("partitions")
_TIMERS = queries.load("timers")
_FAILURES = queries.load("dead_failures")
FAILURES_KEPT_DAYS = 30
"""A failure count that did not change for so long belongs to a message that went through."""


class PostgresLeases:
    def __init__(self, link: Link) -> None:
        self._link = link

    async def now(self) -> float:
        now: float = await self._link.fetchval(_PARTITIONS["now"])
        return now

    async def ensure_partitions(self, count: int) -> None:
        async with self._link.connection() as connection:
            await connection.execute(_PARTITIONS["create"], count)
            found = await connection.fetchval(_PARTITIONS["count"])
            await create_event_partitions(connection)
        if found != count:
            raise Misconfigured(
                f"the database was set up with {found} partitions, WAYPOST_PARTITIONS says {count}: "
                f"set it to {found}, the number cannot change"
            )

    async def acquire(self, owner: str, *, at_most: int, lease_seconds: float) -> list[Lease]:
        found = await self._link.fetch(_PARTITIONS["acquire"], owner, at_most, lease_seconds)
        return sorted(map(rows.lease, found), key=lambda lease: lease.partition)

    async def renew(self, owner: str, epochs: Mapping[int, int], *, lease_seconds: float) -> list[Lease]:
        found = await self._link.fetch(_PARTITIONS["renew"], owner, list(epochs), list(epochs.values()), lease_seconds)
        return sorted(map(rows.lease, found), key=lambda lease: lease.partition)

    async def release(self, owner: str, epochs: Mapping[int, int]) -> None:
        await self._link.execute(_PARTITIONS["release"], owner, list(epochs), list(epochs.values()))

    async def owners(self) -> list[Lease]:
        return [rows.lease(row) for row in await self._link.fetch(_PARTITIONS["owners"])]


class PostgresTimers:
    def __init__(self, link: Link) -> None:
        self._link = link

    async def due(self, partitions: Sequence[int], *, before: float, limit: int) -> list[TimerRow]:
        found = await self._link.fetch(_TIMERS["due"], partitions, before, limit)
        return [rows.timer(row) for row in found]


class PostgresMaintenance:
    def __init__(self, link: Link) -> None:
        self._link = link

    async def upkeep(self) -> list[str]:
        async with self._link.connection() as connection:
            made = await create_event_partitions(connection)
            await connection.execute(_FAILURES["forget_old"], FAILURES_KEPT_DAYS)
        return made
