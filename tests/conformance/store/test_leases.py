"""Partitions: shared out by lease, fenced by epoch."""

from __future__ import annotations

import asyncio

import pytest

from tests.conformance.store.conftest import World
from tests.conformance.store.rows import PARTITIONS
from waypost_io.store import Store
from waypost_proto.errors import Misconfigured


async def test_two_owners_share_without_overlap(world: World) -> None:
    one, two = await world.store(), await world.store()
    first, second = await asyncio.gather(
        one.leases.acquire("one", at_most=2, lease_seconds=60), two.leases.acquire("two", at_most=PARTITIONS, lease_seconds=60)
    )
    rest = await two.leases.acquire("two", at_most=PARTITIONS, lease_seconds=60)  # what was locked just then was skipped
    taken = [lease.partition for lease in (*first, *second, *rest)]
    assert sorted(taken) == list(range(PARTITIONS))
    assert {(lease.owner, lease.epoch) for lease in first} <= {("one", 1)}


async def test_live_leases_are_not_taken_and_expired_ones_get_a_new_epoch(store: Store) -> None:
    await store.leases.acquire("one", at_most=1, lease_seconds=60)
    await store.leases.acquire("one", at_most=1, lease_seconds=-1)
    taken = await store.leases.acquire("two", at_most=PARTITIONS, lease_seconds=60)
    assert [(lease.partition, lease.epoch) for lease in taken] == [(1, 2), (2, 1), (3, 1)]
    assert await store.leases.acquire("three", at_most=PARTITIONS, lease_seconds=60) == []


async def test_renew_answers_only_what_is_still_ours(store: Store) -> None:
    await store.leases.acquire("one", at_most=2, lease_seconds=-1)
    await store.leases.acquire("two", at_most=1, lease_seconds=60)
    renewed = await store.leases.renew("one", {0: 1, 1: 1, 2: 1}, lease_seconds=60)
    assert [lease.partition for lease in renewed] == [1]
    assert renewed[0].expires_at > await store.leases.now() + 30
    assert await store.leases.renew("one", {1: 2}, lease_seconds=60) == []
    assert await store.leases.renew("one", {}, lease_seconds=60) == []


async def test_release_frees_at_once_and_only_what_is_ours(store: Store) -> None:
    await store.leases.acquire("one", at_most=2, lease_seconds=60)
    await store.leases.release("one", {0: 1, 1: 99})
    await store.leases.release("one", {0: 1})
    assert [lease.partition for lease in await store.leases.acquire("two", at_most=1, lease_seconds=60)] == [0]
    assert [(lease.owner, lease.epoch) for lease in await store.leases.owners()] == [("two", 2), ("one", 1), ("", 0), ("", 0)]


async def test_the_number_of_partitions_cannot_change(store: Store) -> None:
    await store.leases.ensure_partitions(PARTITIONS)
    with pytest.raises(Misconfigured, match="4 partitions"):
        await store.leases.ensure_partitions(PARTITIONS * 2)
    assert len(await store.leases.owners()) == PARTITIONS


async def test_renewing_while_committing_does_not_deadlock(world: World) -> None:
    me = await world.owner()
    epochs = {partition: lease.epoch for partition, lease in reversed(me.leases.items())}
    other = await world.store()

    async def renew() -> None:
        for _ in range(40):
            assert len(await other.leases.renew("me", epochs, lease_seconds=60)) == PARTITIONS

    async def commit() -> None:
        for _ in range(40):
            batch = me.batch()
            batch.leases.reverse()
            assert not (await me.store.log.commit(batch)).lost

    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        for _ in range(3):
            group.create_task(renew())
        group.create_task(commit())
