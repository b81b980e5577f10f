"""What is not confirmed is kept, published again, and stays in order."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from tests.unit.waypost_worker.counted import Counted
from tests.unit.waypost_worker.desk import QUICK, Desk
from tests.unit.waypost_worker.gated_bus import GatedBus
from tests.waiting import wait_until
from waypost import Context, agent
from waypost_io.bus.memory import MemoryBroker


async def test_row_15_an_acknowledged_advance_that_was_lost_is_published_again(desk: Desk, broker: MemoryBroker) -> None:
    """CORRECTNESS.md row 15: publish acked, then the stream is gone; the worker still has the result and nothing is paid twice."""
    step = Counted()

    @agent
    async def pays(ctx: Context) -> int:
        number = await ctx.step(step, name="pay")
        await ctx.signal("go", str)
        return number

    bus = GatedBus(broker)
    bus.lose = 1
    await desk.hire(pays, bus=bus)
    run = desk.start(pays)
    await desk.advances(run, 1, "accepted")
    first, again = bus.mail[0], bus.mail[1]
    assert (first.rpartition(".")[0], first[-2:], again[-2:]) == (again.rpartition(".")[0], ".0", ".1")
    desk.coordinator.signal(run, "go", "x")
    await desk.status(run, "completed")
    assert step.runs == 1


async def test_row_15_a_wiped_server_gets_everything_unconfirmed_at_the_reconnect(desk: Desk, broker: MemoryBroker) -> None:
    """CORRECTNESS.md row 15: the coordinator was away, then JetStream lost all its files."""
    step = Counted()

    @agent
    async def pays(ctx: Context) -> int:
        first = await ctx.step(step, name="pay")
        second = await ctx.step(step, name="pay")
        await ctx.signal("go", str)
        return first + second

    desk.coordinator.accepting = False
    worker = await desk.hire(pays, tuning=replace(QUICK, republish_seconds=3_600.0))
    run = desk.start(pays)
    await desk.advances(run, 2, "lost")
    broker.wipe()
    desk.coordinator.accepting = True
    await desk.coordinator.make_streams()
    await desk.advances(run, 2, "accepted")
    assert [seen.kinds for seen in desk.coordinator.of(run, "accepted")] == [["FinishStep"], ["FinishStep", "AwaitSignal"]]
    run.worker = worker.id
    desk.coordinator.signal(run, "go", "x")
    await desk.status(run, "completed")
    assert bytes(run.result.result) == b"3"
    assert step.runs == 2


async def test_a_confirmed_advance_is_not_published_again(desk: Desk, broker: MemoryBroker) -> None:
    @agent
    async def waits(ctx: Context) -> str:
        return await ctx.signal("go", str)

    bus = GatedBus(broker)
    worker = await desk.hire(waits, bus=bus)
    run = desk.start(waits)
    await desk.advances(run, 1)
    assert worker.runs is not None
    await asyncio.wait_for(worker.runs.quiet(), 5)
    broker.restart()
    assert worker.runs.republish(all_now=True) == 0
    assert len(bus.mail) == 1


async def test_a_publish_without_confirmation_is_tried_again_under_the_same_id(desk: Desk, broker: MemoryBroker) -> None:
    @agent
    async def steps(ctx: Context) -> int:
        return await ctx.step(Counted(), name="one") + await ctx.step(Counted(), name="two")

    bus = GatedBus(broker)
    bus.time_out = 2
    await desk.hire(steps, bus=bus)
    run = desk.start(steps)
    await desk.status(run, "completed")
    assert bus.mail[0] == bus.mail[1] == bus.mail[2]
    assert [seen.kinds for seen in desk.coordinator.of(run, "accepted")] == [["FinishStep"], ["FinishStep", "CompleteRun"]]
    assert desk.coordinator.of(run, "rejected") == []


async def test_an_activation_confirms_what_it_builds_on(desk: Desk) -> None:
    @agent
    async def waits(ctx: Context) -> str:
        return await ctx.signal("go", str)

    desk.coordinator.confirming = False
    worker = await desk.hire(waits)
    run = desk.start(waits)
    await desk.advances(run, 1)
    desk.coordinator.signal(run, "other", "x")
    assert worker.runs is not None
    await asyncio.wait_for(worker.runs.quiet(), 5)


async def test_an_activation_on_a_journal_that_is_behind_ours(desk: Desk) -> None:
    """It was dispatched before our last advance was read: what it brings is new all the same, what we did stays."""
    step = Counted()

    @agent
    async def works(ctx: Context) -> int:
        number = await ctx.step(step, name="work")
        await ctx.signal("go", str)
        return number

    worker = await desk.hire(works)
    desk.coordinator.accepting = False
    run = desk.start(works)
    await desk.advances(run, 1, "lost")
    run.worker = worker.id
    desk.coordinator.signal(run, "go", "x")  # on the journal without the step
    await desk.advances(run, 2, "lost")
    desk.coordinator.accepting = True
    await desk.status(run, "completed")
    assert step.runs == 1
    assert len(desk.coordinator.journal_reads) == 1, "before the first step"


async def test_what_a_run_said_that_was_let_go_is_not_said_again(desk: Desk, broker: MemoryBroker) -> None:
    @agent
    async def waits(ctx: Context) -> str:
        return await ctx.signal("go", str)

    bus = GatedBus(broker)
    bus.time_out = 1_000
    worker = await desk.hire(waits, bus=bus)
    run = desk.start(waits)
    await wait_until(lambda: len(bus.mail) > 1)
    desk.coordinator.stop(run, "ended")
    await wait_until(lambda: worker.runs is not None and worker.runs.cached == 0)
    said = len(bus.mail)
    other = desk.start(waits)
    await wait_until(lambda: sum(other.run_id in mail for mail in bus.mail) > 2)
    assert sum(run.run_id in mail for mail in bus.mail) == said


async def test_an_empty_answer_of_a_run_brought_back_is_no_repeat(desk: Desk) -> None:
    """Its journal is the same each time, and JetStream drops what has the same message id."""

    @agent
    async def waits(ctx: Context) -> str:
        return await ctx.signal("go", str)

    await desk.hire(waits, tuning=replace(QUICK, cache_runs=0))
    run = desk.start(waits)
    for count in range(1, 4):
        await desk.advances(run, count)
        desk.coordinator.signal(run, "other", "x")
    await desk.advances(run, 4)
    assert [seen.kinds for seen in desk.coordinator.of(run)] == [["AwaitSignal"], [], [], []]
    assert run.seen == run.outside
