"""Activations at builds that ended while nobody owned their partition are given out again, and no others."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

import msgspec
import pytest

from tests.unit.waypost_coordinator.rig import AGENT, SUBJECTS, Parts, Replica, Site, call
from tests.waiting import wait_until
from waypost_coordinator import stranded
from waypost_coordinator.stranded import Stranded
from waypost_proto.errors import Unreachable
from waypost_proto.ids import RunId

NEW = msgspec.structs.replace(AGENT, build="b2")


async def begun_and_published(site: Site, replica: Replica) -> RunId:
    """A run of partition 0 that no take-over will publish again."""
    run_id = await replica.start(0)
    await site.activation(run_id)
    await wait_until(lambda: replica.ground.published[0] == len(site.events(run_id)))
    position = replica.ground.published[0]
    await replica.start(0)
    await wait_until(lambda: site.database.partitions[0].published >= position)
    return run_id


async def looked(replica: Replica) -> int:
    """What is due at some time is due now."""
    finder = replica.coordinator._stranded
    finder._due = dict.fromkeys(finder._due, 0.0)
    return await finder.look()


async def test_what_nobody_took_up_moves_when_its_build_ended_while_nobody_owned_its_partition(desk: Site) -> None:
    """Everything is stopped for a deploy while activations wait: nobody hears that the old build is gone."""
    async with desk.replica() as first:
        await desk.hosts()
        waiting = await begun_and_published(desk, first)
    async with desk.replica() as second:
        await desk.hosts(worker="w2", agents=(NEW,), build="b2")
        assert len(desk.activations(waiting)) == 1
        assert await looked(second) >= 1
        assert (await desk.activation(waiting, 2)).build == "b2"
        assert await looked(second) == 0, "once"


async def test_what_a_living_builds_workers_will_take_stays_theirs(desk: Site) -> None:
    """Also those on their way out: they end what they have taken up. A second activation could be paid for twice."""
    async with desk.replica() as first:
        await desk.hosts()
        waiting = await begun_and_published(desk, first)
    async with desk.replica() as second:
        await desk.hosts(worker="w2", agents=(NEW,), build="b2")
        await desk.hosts(worker="w1")
        assert await looked(second) == 0
        assert len(desk.activations(waiting)) == 1


async def test_a_run_that_a_worker_holds_is_left_to_whoever_hears_of_that_worker(desk: Site, replica: Replica) -> None:
    held, waiting = await replica.start(0), await replica.start(0)
    given = await desk.activation(held)
    await desk.activation(waiting)
    await desk.advance(given, call("look", given))
    await desk.until(held, "tool_call_requested")
    assert await replica.coordinator._sweep.move_untaken({("clerk", "b1")}, [0]) == 1
    await desk.activation(waiting, 2)
    assert len(desk.activations(held)) == 1


async def test_a_partition_is_looked_at_once_when_its_workers_had_the_time_to_be_heard(
    parts: Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stranded, "AGAIN_SECONDS", 0.0)
    await parts.bus.publish(SUBJECTS.work("clerk", "b1"), b"{}")
    await parts.bus.publish(SUBJECTS.work("clerk", "b2"), b"{}")
    await parts.bus.publish(SUBJECTS.work("clerk", "b1", "w1"), b"{}")
    moved: list[tuple[set[tuple[str, str]], set[int]]] = []
    failures = [Unreachable("away")]

    async def move(ended: Collection[tuple[str, str]], partitions: Collection[int]) -> int:
        if failures:
            raise failures.pop()
        moved.append((set(ended), set(partitions)))
        return 1

    finder = Stranded(parts.ground, lives=lambda _agent, build: build == "b2", move=move, seconds=0.01)
    running = asyncio.ensure_future(finder.run())
    finder.gained(0)
    await wait_until(lambda: moved)
    finder.gained(1)
    del parts.ground.epochs[1]
    await wait_until(lambda: not finder._due)
    running.cancel()
    assert moved == [({("clerk", "b1")}, {0})]
