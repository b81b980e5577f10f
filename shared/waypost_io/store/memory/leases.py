"""Facets `leases`, `timers` and `maintenance` in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from waypost_io.store.memory.database import MemoryDatabase, PartitionRecord
from waypost_io.store.ports import Lease, TimerRow
from waypost_proto.errors import Misconfigured


class MemoryLeases:
    def __init__(self, database: MemoryDatabase) -> None:
        self._db = database

    async def now(self) -> float:
        self._db.reach()
        return self._db.clock()

    async def ensure_partitions(self, count: int) -> None:
        self._db.reach()
        if not self._db.partitions:
            self._db.partitions.update({n: PartitionRecord() for n in range(count)})
        found = len(self._db.partitions)
        if found != count:
            raise Misconfigured(
                f"the database was set up with {found} partitions, WAYPOST_PARTITIONS says {count}: "
                f"set it to {found}, the number cannot change"
            )

    async def acquire(self, owner: str, *, at_most: int, lease_seconds: float) -> list[Lease]:
        self._db.reach()
        now = self._db.clock()
        free = [n for n, record in sorted(self._db.partitions.items()) if not record.owner or record.expires_at <= now]
        taken = free[:at_most]
        for partition in taken:
            record = self._db.partitions[partition]
            record.owner, record.expires_at = owner, now + lease_seconds
            record.epoch += 1
        return [self._lease(partition) for partition in taken]

    async def renew(self, owner: str, epochs: Mapping[int, int], *, lease_seconds: float) -> list[Lease]:
        self._db.reach()
        ours = self._ours(owner, epochs)
        for partition in ours:
            self._db.partitions[partition].expires_at = self._db.clock() + lease_seconds
        return [self._lease(partition) for partition in ours]

    async def release(self, owner: str, epochs: Mapping[int, int]) -> None:
        self._db.reach()
        for partition in self._ours(owner, epochs):
            record = self._db.partitions[partition]
            record.owner, record.expires_at = "", 0.0

    async def owners(self) -> list[Lease]:
        self._db.reach()
        return [self._lease(partition) for partition in sorted(self._db.partitions)]

    def _ours(self, owner: str, epochs: Mapping[int, int]) -> list[int]:
        return [
            partition
            for partition, record in sorted(self._db.partitions.items())
            if record.owner == owner and epochs.get(partition) == record.epoch
        ]

    def _lease(self, partition: int) -> Lease:
        record = self._db.partitions[partition]
        return Lease(partition, record.epoch, record.owner, record.expires_at, record.position, record.published)


class MemoryTimers:
    def __init__(self, database: MemoryDatabase) -> None:
        self._db = database

    async def due(self, partitions: Sequence[int], *, before: float, limit: int) -> list[TimerRow]:
        self._db.reach()
        found = [timer for timer in self._db.timers.values() if timer.partition in partitions and timer.due_at < before]
        return sorted(found, key=lambda timer: (timer.due_at, timer.run_id, timer.timer_id))[:limit]


class MemoryMaintenance:
    def __init__(self, database: MemoryDatabase) -> None:
        self._db = database

    async def upkeep(self) -> list[str]:
        self._db.reach()
        return []
