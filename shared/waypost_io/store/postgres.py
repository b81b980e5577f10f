"""The Postgres adapter of `ports.Store`. The database must have been migrated (`store.migrate`)."""

from __future__ import annotations

from dataclasses import replace
from typing import Self

from waypost_io.store.migrate import missing
from waypost_io.store.overview import Overview
from waypost_io.store.pg.audit import PostgresAudit
from waypost_io.store.pg.blobs import PostgresBlobs
from waypost_io.store.pg.dead import PostgresDead
from waypost_io.store.pg.leases import PostgresLeases, PostgresMaintenance, PostgresTimers
from waypost_io.store.pg.ledger import PostgresApprovals, PostgresLedger
from waypost_io.store.pg.link import Lane, Link, LinkConfig
from waypost_io.store.pg.log import PostgresLog
from waypost_io.store.pg.overview import PostgresOverview
from waypost_io.store.pg.reads import PostgresReads
from waypost_io.store.pg.registry import PostgresDefinitions, PostgresKeys, PostgresStreams
from waypost_io.store.pg.retention import PostgresRetention
from waypost_io.store.pg.traces import PostgresTraces
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
from waypost_proto.errors import NotMigrated

LEASE_CONNECTIONS = 2
"""One renews while another reads the clock or takes what is free."""
LEASE_TIMEOUT_SECONDS = 5.0
"""A renewal that takes longer comes too late in any case."""


class PostgresStore:
    """Every facet over one pool of at most `pool_size` connections, plus those that are opened when first needed: one for commits, and at
    most `LEASE_CONNECTIONS` for leases, because a renewal that waits behind a loaded pool would lose them.

    Entering connects and checks the schema: `Unreachable`, `NotMigrated`, or `Misconfigured` when the database is newer than
    this version. `timeout_seconds` bounds connecting, waiting for a connection and every statement; past it a call raises `Unreachable`.
    A lost server is connected to again by the next call. Leaving waits for calls under way, then closes. Entering twice is an error.
    """

    def __init__(self, url: str, *, pool_size: int = 8, application_name: str = "waypost", timeout_seconds: float = 15.0) -> None:
        config = LinkConfig(url=url, pool_size=pool_size, application_name=application_name, timeout_seconds=timeout_seconds)
        self._link = link = Link(config)
        self._lane = Lane(config)
        self._lease_link = Link(
            replace(
                config,
                pool_size=LEASE_CONNECTIONS,
                application_name=f"{application_name} leases",
                timeout_seconds=min(timeout_seconds, LEASE_TIMEOUT_SECONDS),
            )
        )
        self.leases: Leases = PostgresLeases(self._lease_link)
        self.log: Log = PostgresLog(link, self._lane)
        self.timers: Timers = PostgresTimers(link)
        self.keys: Keys = PostgresKeys(link)
        self.definitions: Definitions = PostgresDefinitions(link)
        self.ledger: Ledger = PostgresLedger(link)
        self.approvals: Approvals = PostgresApprovals(link)
        self.blobs: Blobs = PostgresBlobs(link)
        self.dead: Dead = PostgresDead(link)
        self.streams: Streams = PostgresStreams(link)
        self.reads: Reads = PostgresReads(link)
        self.audit: Audit = PostgresAudit(link)
        self.retention = PostgresRetention(link)
        self.maintenance: Maintenance = PostgresMaintenance(link)
        self.overview: Overview = PostgresOverview(link)
        self.traces: Traces = PostgresTraces(link)

    async def __aenter__(self) -> Self:
        await self._link.open()
        try:
            await self._lease_link.open()
            await self._check_schema()
        except BaseException:
            await self._lease_link.close()
            await self._link.close()
            raise
        return self

    async def _check_schema(self) -> None:
        async with self._link.connection() as connection:
            lacking = await missing(connection)
        if lacking:
            names = ", ".join(f"{migration.version} ({migration.name})" for migration in lacking)
            raise NotMigrated(f"the database lacks the migrations {names}; run `waypost migrate`")

    async def __aexit__(self, *exc: object) -> None:
        await self._lane.close()
        await self._lease_link.close()
        await self._link.close()
