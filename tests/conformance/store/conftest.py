"""One world per adapter: an empty database with four partitions, and stores on it that stand for processes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import asyncpg
import pytest

from tests.conformance.store.rows import PARTITIONS, Owner
from waypost_io.store import MemoryStore, PostgresStore, Store
from waypost_io.store.memory import MemoryDatabase

EMPTY = """
DO $$ DECLARE t text; BEGIN
    FOR t IN SELECT format('%I', relname) FROM pg_class
              WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
                AND relname <> 'schema_migrations'
    LOOP EXECUTE 'DELETE FROM ' || t; END LOOP;
END $$
"""


@dataclass
class World:
    """A database seen through one adapter."""

    kind: str
    make: Callable[[], Store]
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def store(self) -> Store:
        """Another process on the same database; closed at the end of the test."""
        return await self.stack.enter_async_context(self.make())

    async def owner(self, name: str = "me", *, at_most: int = PARTITIONS, lease_seconds: float = 60.0) -> Owner:
        """A coordinator that holds up to `at_most` free partitions."""
        store = await self.store()
        leases = await store.leases.acquire(name, at_most=at_most, lease_seconds=lease_seconds)
        return Owner(store, name, {lease.partition: lease for lease in leases})


@pytest.fixture(params=["memory", "postgres"])
def adapter_url(request: pytest.FixtureRequest) -> str | None:
    """URL of the database, None for the one in memory."""
    url: str | None = request.getfixturevalue("postgres_url") if request.param == "postgres" else None
    return url


@pytest.fixture
async def world(adapter_url: str | None) -> AsyncIterator[World]:
    if adapter_url is None:
        database = MemoryDatabase(clock=lambda: 1_800_000_000.0)
        made = World("memory", lambda: MemoryStore(database.clock, database=database))
    else:
        url = adapter_url
        connection = await asyncpg.connect(url)
        await connection.execute(EMPTY)
        await connection.close()
        made = World("postgres", lambda: PostgresStore(url, pool_size=4))
    async with made.stack:
        await (await made.store()).leases.ensure_partitions(PARTITIONS)
        yield made


@pytest.fixture
async def store(world: World) -> Store:
    return await world.store()


@pytest.fixture
async def me(world: World) -> Owner:
    """A coordinator that holds every partition."""
    return await world.owner()
