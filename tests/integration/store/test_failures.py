"""What happens to a store when its connection, its backend or the whole server goes away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import asyncpg
import pytest

from tests.conformance.store.rows import PARTITIONS, Owner, new_run_id
from tests.waiting import wait_until
from waypost_io.servers import EmbeddedPostgres
from waypost_io.store import PostgresStore
from waypost_io.store.migrate import migrate
from waypost_proto.errors import SequenceTaken, Unreachable
from waypost_proto.ids import RunId

EVERYONE = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
BLOCKED = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


@pytest.fixture
async def admin(postgres_url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(postgres_url)
    yield connection
    await connection.close()


@pytest.fixture
async def store(postgres_url: str, admin: asyncpg.Connection) -> AsyncIterator[PostgresStore]:
    await admin.execute("DELETE FROM partitions; DELETE FROM events; DELETE FROM runs")
    async with PostgresStore(postgres_url, pool_size=3) as store:
        await store.leases.ensure_partitions(PARTITIONS)
        yield store


async def owner_of(store: PostgresStore) -> Owner:
    leases = await store.leases.acquire("me", at_most=PARTITIONS, lease_seconds=60)
    return Owner(store, "me", {lease.partition: lease for lease in leases})


async def test_terminated_backends_are_replaced(store: PostgresStore, admin: asyncpg.Connection) -> None:
    me = await owner_of(store)
    first = await me.run()
    assert await admin.fetchval(EVERYONE) >= 2
    await wait_until(lambda: works(store), ignore=(Unreachable,))
    second = new_run_id()
    event = me.event(second)

    async def committed() -> bool:
        if await store.reads.get(second) is None:
            await me.commit(event)
        return True

    await wait_until(committed, ignore=(Unreachable,))
    assert set(await store.log.load_runs([first, second])) == {first, second}


async def works(store: PostgresStore) -> bool:
    return await store.leases.now() > 0


async def test_a_backend_terminated_within_a_commit_makes_it_ambiguous(store: PostgresStore, admin: asyncpg.Connection) -> None:
    me = await owner_of(store)
    await me.run()
    async with admin.transaction():
        await admin.execute("SELECT * FROM partitions FOR UPDATE")
        run_id = new_run_id()
        commit = asyncio.create_task(me.commit(me.event(run_id)))
        await wait_until(lambda: admin.fetchval(BLOCKED))
        await admin.execute(EVERYONE)
        with pytest.raises(Unreachable):
            await commit
    await wait_until(lambda: works(store), ignore=(Unreachable,))
    assert await store.reads.get(run_id) is None
    heir = await reloaded(store)
    await heir.run()


async def reloaded(store: PostgresStore) -> Owner:
    """The same replica after it has evicted its state and read it again."""
    leases = await store.leases.renew("me", dict.fromkeys(range(PARTITIONS), 1), lease_seconds=60)
    return Owner(store, "me", {lease.partition: lease for lease in leases})


@pytest.mark.parametrize("turns", [0, 1, 2, 3, 5, 8, 13, 21])
async def test_a_cancelled_commit_is_whole_or_absent_and_the_next_one_follows_it(store: PostgresStore, turns: int) -> None:
    me = await owner_of(store)
    await me.run()
    one, two = new_run_id(0), new_run_id(1)
    commit = asyncio.create_task(me.commit(me.event(one), me.event(two)))
    for _ in range(turns):
        await asyncio.sleep(0)
    commit.cancel()
    await asyncio.gather(commit, return_exceptions=True)
    third = await _the_next_one(store)
    found = set(await store.log.load_runs([one, two, third]))
    assert third in found
    assert found & {one, two} in (set(), {one, two})
    events = [event for partition in range(PARTITIONS) for event in await store.log.events_after(partition, 0, limit=100)]
    assert {event.run_id for event in events} >= found
    assert len({(event.partition, event.position) for event in events}) == len(events)


async def _the_next_one(store: PostgresStore) -> RunId:
    """Committed on what was read; read again where the cancelled one, which the server may still carry out, came between the two."""
    again = await reloaded(store)
    try:
        return await again.run(0)
    except SequenceTaken:
        return await (await reloaded(store)).run(0)


async def test_a_commit_that_lands_late_does_not_write_over_its_successor(store: PostgresStore, postgres_url: str) -> None:
    """Its sender lost the connection, read the log before it landed, and committed something else at the same positions."""
    me = await owner_of(store)
    late = me.batch(me.event(new_run_id(2)))
    async with PostgresStore(postgres_url) as elsewhere:
        again = await reloaded(elsewhere)
        await again.run(2)
        with pytest.raises(SequenceTaken):
            await store.log.commit(late)
        assert [len(await store.log.events_after(n, 0, limit=10)) for n in range(PARTITIONS)] == [0, 0, 1, 0]


async def test_a_statement_that_takes_too_long_is_given_up(postgres_url: str, store: PostgresStore, admin: asyncpg.Connection) -> None:
    async with PostgresStore(postgres_url, timeout_seconds=0.3) as impatient:
        me = await owner_of(impatient)
        async with admin.transaction():
            await admin.execute("SELECT * FROM partitions FOR UPDATE")
            with pytest.raises(Unreachable):
                await me.run()
            with pytest.raises(Unreachable):
                await impatient.leases.renew("me", {0: 1}, lease_seconds=60)
        await wait_until(lambda: works(impatient), ignore=(Unreachable,))
        await (await reloaded(store)).run()


@pytest.mark.crash
async def test_a_killed_server_loses_nothing_that_was_committed(own_postgres: EmbeddedPostgres) -> None:
    await migrate(own_postgres.url)
    async with PostgresStore(own_postgres.url, pool_size=3) as store:
        await store.leases.ensure_partitions(PARTITIONS)
        me = await owner_of(store)
        done = [await me.run()]

        async def commit_until_it_dies() -> None:
            while True:
                done.append(await me.run())

        busy = asyncio.create_task(commit_until_it_dies())
        await wait_until(lambda: len(done) > 20)
        await own_postgres.kill()
        with pytest.raises(Unreachable):
            await busy
        with pytest.raises(Unreachable):
            await store.leases.now()
        with pytest.raises(Unreachable):
            await me.commit()
        await own_postgres.start()
        await wait_until(lambda: works(store), ignore=(Unreachable,))
        assert set(await store.log.load_runs(done)) == set(done)
        await (await reloaded(store)).run()


async def test_leaving_a_store_while_it_is_busy_waits_for_it(postgres_url: str, store: PostgresStore) -> None:
    async with PostgresStore(postgres_url, pool_size=2) as other:
        me = await owner_of(other)
        run_id = new_run_id()
        commit = asyncio.create_task(me.commit(me.event(run_id)))
        await asyncio.sleep(0)
    await commit
    assert await store.reads.get(run_id) is not None
    with pytest.raises(Unreachable, match="not open"):
        await other.leases.now()


async def test_leases_are_renewed_while_every_connection_of_the_pool_is_taken(store: PostgresStore) -> None:
    me = await owner_of(store)
    epochs = {partition: lease.epoch for partition, lease in me.leases.items()}
    async with AsyncExitStack() as stack:
        for _ in range(3):
            await stack.enter_async_context(store._link.connection())
        waiting = asyncio.ensure_future(store.reads.get(new_run_id()))
        renewed = await store.leases.renew("me", epochs, lease_seconds=60)
        assert len(renewed) == PARTITIONS
        assert not waiting.done(), "the pool has no connection left"
    assert await waiting is None
