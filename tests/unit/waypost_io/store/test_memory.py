"""What only the in-memory adapter can do: fail on demand, follow a clock, be shared."""

from __future__ import annotations

from typing import Literal

import pytest

from tests.conformance.store.rows import PARTITIONS, Owner, new_run_id
from waypost_io.store import MemoryStore
from waypost_io.store.memory import MemoryDatabase
from waypost_proto.errors import Unreachable


async def owner_of(store: MemoryStore) -> Owner:
    await store.leases.ensure_partitions(PARTITIONS)
    leases = await store.leases.acquire("me", at_most=PARTITIONS, lease_seconds=10)
    return Owner(store, "me", {lease.partition: lease for lease in leases})


@pytest.mark.parametrize(("when", "written"), [("before", False), ("after", True)])
async def test_the_next_commit_fails_and_only_that_one(when: Literal["before", "after"], written: bool) -> None:
    store = MemoryStore(clock=lambda: 1.0)
    me = await owner_of(store)
    run_id = new_run_id()
    store.fail_next_commit(when)
    with pytest.raises(Unreachable):
        await me.commit(me.event(run_id))
    assert (await store.reads.get(run_id) is not None) is written
    await me.run()


async def test_a_database_that_is_down_answers_nothing() -> None:
    store = MemoryStore(clock=lambda: 1.0)
    me = await owner_of(store)
    store.database.down = True
    for attempt in (store.leases.now, me.run, store.audit.lag, store.dead.list, store.definitions.agents, store.maintenance.upkeep):
        with pytest.raises(Unreachable):
            await attempt()
    with pytest.raises(Unreachable):
        async with store:
            pass
    store.database.down = False
    me = await owner_of(store)


async def test_leases_follow_the_clock() -> None:
    now = [100.0]
    store = MemoryStore(clock=lambda: now[0])
    await store.leases.ensure_partitions(1)
    assert [lease.expires_at for lease in await store.leases.acquire("one", at_most=1, lease_seconds=10)] == [110.0]
    now[0] = 109.9
    assert await store.leases.acquire("two", at_most=1, lease_seconds=10) == []
    now[0] = 110.0
    assert [lease.epoch for lease in await store.leases.acquire("two", at_most=1, lease_seconds=10)] == [2]
    assert await store.leases.now() == 110.0


async def test_stores_on_one_database_see_each_other() -> None:
    database = MemoryDatabase(clock=lambda: 1.0)
    one, two = MemoryStore(database.clock, database=database), MemoryStore(database.clock, database=database)
    me = await owner_of(one)
    run_id = await me.run()
    assert await two.reads.get(run_id) is not None
    assert await MemoryStore(clock=database.clock).reads.get(run_id) is None
