"""Composes the in-memory facets."""

from __future__ import annotations

from typing import Literal, Self

from waypost_io.store.memory.audit import MemoryAudit
from waypost_io.store.memory.database import Clock, MemoryDatabase
from waypost_io.store.memory.leases import MemoryLeases, MemoryMaintenance, MemoryTimers
from waypost_io.store.memory.ledger import MemoryApprovals, MemoryLedger
from waypost_io.store.memory.log import MemoryLog
from waypost_io.store.memory.overview import MemoryOverview
from waypost_io.store.memory.records import (
    MemoryBlobs,
    MemoryDead,
    MemoryDefinitions,
    MemoryKeys,
    MemoryReads,
    MemoryStreams,
)
from waypost_io.store.memory.traces import MemoryTraces
from waypost_io.store.overview import Overview
from waypost_io.store.ports import (
    Approvals,
    Audit,
    Blobs,
    Dead,
    Definitions,
    Keys,
    Leases,
    Ledger,
    Log,
    Maintenance,
    Reads,
    Streams,
    Timers,
)
from waypost_io.store.traces import Traces


class MemoryStore:
    """Every facet over one `MemoryDatabase`. `clock` gives Unix seconds and is the database's clock.

    Give several stores the same `database` (whose clock counts) and they are processes of one deployment. Entering and leaving do
    nothing, so one store may be entered by several tasks.
    """

    def __init__(self, clock: Clock, *, database: MemoryDatabase | None = None) -> None:
        self.database = database if database is not None else MemoryDatabase(clock)
        db = self.database
        self._log = MemoryLog(db)
        self.leases: Leases = MemoryLeases(db)
        self.log: Log = self._log
        self.timers: Timers = MemoryTimers(db)
        self.keys: Keys = MemoryKeys(db)
        self.definitions: Definitions = MemoryDefinitions(db)
        self.ledger: Ledger = MemoryLedger(db)
        self.approvals: Approvals = MemoryApprovals(db)
        self.blobs: Blobs = MemoryBlobs(db)
        self.dead: Dead = MemoryDead(db)
        self.streams: Streams = MemoryStreams(db)
        self.reads: Reads = MemoryReads(db)
        self.audit: Audit = MemoryAudit(db)
        self.maintenance: Maintenance = MemoryMaintenance(db)
        self.overview: Overview = MemoryOverview(db)
        self.traces: Traces = MemoryTraces(db)

    def fail_next_commit(self, when: Literal["before", "after"]) -> None:
        """Make the next `log.commit` raise `Unreachable`: `before` nothing is written, or `after` everything is."""
        self._log.fail_next = when

    async def __aenter__(self) -> Self:
        self.database.reach()
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Nothing is held."""
