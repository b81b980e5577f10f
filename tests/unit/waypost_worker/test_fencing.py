"""Journals that go on without us, activations that come twice, late or out of order."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from msgspec import Raw

from tests.unit.waypost_worker.counted import Counted
from tests.unit.waypost_worker.desk import Desk
from tests.unit.waypost_worker.stand_in import renumbered
from tests.waiting import wait_until
from waypost import Context, agent, tool
from waypost_proto import events as ev
from waypost_proto.subjects import ANY_WORKER


@tool(effect="read")
async def lookup(key: str) -> str:
    return key


async def test_row_4_two_workers_with_one_activation(desk: Desk) -> None:
    """CORRECTNESS.md row 4: both answer on the same journal, the first is accepted, the other lets go; nothing is mixed."""
    held: dict[int, asyncio.Event] = {1: asyncio.Event(), 2: asyncio.Event()}
    started = 0

    async def who() -> int:
        nonlocal started
        started += 1
        mine = started
        await held[mine].wait()
        return mine

    @agent
    async def twice(ctx: Context) -> int:
        number = await ctx.step(who)
        await ctx.signal("go", str)
        return number

    first, second = await desk.hire(twice), await desk.hire(twice)
    run = desk.start(twice)
    await wait_until(lambda: started == 1)
    taken = first if first.runs is not None and first.runs.active else second
    other = second if taken is first else first
    again = desk.coordinator.activation(run)
    run.counter -= 1
    desk.coordinator.dispatch(renumbered(again, run.counter), to=other.id)
    await wait_until(lambda: started == 2)
    held[2].set()
    await desk.advances(run, 1, "accepted")
    held[1].set()
    await desk.advances(run, 1, "rejected")
    await wait_until(lambda: taken.runs is not None and taken.runs.cached == 0, message="the rejected worker lets go")
    assert run.worker == other.id
    desk.coordinator.signal(run, "go", "x")
    await desk.status(run, "completed")
    assert bytes(run.result.result) == b"2"
    assert started == 2, "the accepted result is not computed again"


async def test_row_5_replay_follows_what_the_code_had_seen(desk: Desk) -> None:
    """CORRECTNESS.md row 5: the log orders the tool's result before the step's, the code saw the step's first."""
    step = Counted()
    step.release.clear()

    @agent(tools=[lookup])
    async def race(ctx: Context) -> str:
        local = asyncio.create_task(ctx.step(step, name="local"))
        remote = asyncio.create_task(ctx.call(lookup, "a"))
        done, _ = await asyncio.wait({local, remote}, return_when=asyncio.FIRST_COMPLETED)
        winner = "step" if local in done else "call"
        await ctx.call(lookup, winner)
        await remote
        await ctx.signal("go", str)
        return winner

    first = await desk.hire(race)
    run = desk.start(race)
    (asked,) = await desk.advances(run, 1)
    assert asked.kinds == ["CallTool"]
    desk.coordinator.complete_call(run, asked.items[0].id, "lookup", "a")  # recorded, and on its way to the worker
    step.release.set()
    _, answered = await desk.advances(run, 2)
    assert answered.kinds == ["FinishStep", "CallTool"]
    order = [entry.type for entry in run.entries]
    assert order.index("tool_call_completed") < order.index("step_completed")
    await desk.kill(first)

    await desk.hire(race)
    desk.coordinator.complete_call(run, answered.items[1].id, "lookup", "step")
    desk.coordinator.activate(run, to=ANY_WORKER)
    await wait_until(lambda: run.of_type("signal_awaited"), message=lambda: desk.history(run))
    desk.coordinator.signal(run, "go", "x")
    await desk.status(run, "completed")
    assert bytes(run.result.result) == b'"step"'
    assert step.runs == 1


async def test_row_22_a_stale_activation_changes_nothing(desk: Desk) -> None:
    """CORRECTNESS.md row 22: an activation that lingered arrives after the run has gone on."""
    step = Counted()

    @agent
    async def waits(ctx: Context) -> int:
        number = await ctx.step(step, name="count")
        await ctx.signal("go", str)
        await ctx.signal("end", str)
        return number

    worker = await desk.hire(waits)
    run = desk.start(waits)
    old = desk.coordinator.activation(run)
    await desk.advances(run, 1)
    desk.coordinator.signal(run, "go", "x")
    await wait_until(lambda: len(run.of_type("signal_awaited")) == 2)
    run.counter += 1
    desk.coordinator.dispatch(old, to=worker.id)
    desk.coordinator.dispatch(old, to=ANY_WORKER)
    await wait_until(lambda: worker.runs is not None and worker.runs.active == 0)
    desk.coordinator.signal(run, "end", "x")
    await desk.status(run, "completed")
    assert step.runs == 1
    assert desk.coordinator.of(run, "rejected") == []
    assert len(desk.coordinator.journal_reads) == 1, "before the first step"


async def test_row_22_a_worker_that_stops_takes_its_own_consumer_with_it(desk: Desk, broker: Any) -> None:
    """CORRECTNESS.md row 22: nothing keeps messages for a worker that is gone, and what waits for it runs elsewhere."""

    @agent
    async def waits(ctx: Context) -> str:
        return await ctx.signal("go", str)

    worker = await desk.hire(waits)
    run = desk.start(waits)
    await desk.advances(run, 1)
    stream = broker.streams[desk.subjects.stream("WORK")]
    name = f"sticky-{worker.id}"
    assert stream.consumers[name].spec.inactive_seconds > 0, "it expires even if the worker is killed"
    await desk.ask_to_stop(worker)
    assert name not in stream.consumers
    assert desk.coordinator.heartbeats[-1].state == "stopped"

    desk.coordinator.signal(run, "go", "yes")  # to the worker that is gone
    await desk.hire(waits)
    desk.coordinator.activate(run, to=ANY_WORKER)
    await desk.status(run, "completed")


async def test_a_late_rejection_of_what_is_confirmed_is_ignored(desk: Desk) -> None:
    @agent
    async def waits(ctx: Context) -> str:
        return await ctx.signal("go", str)

    worker = await desk.hire(waits)
    run = desk.start(waits)
    (first,) = await desk.advances(run, 1)
    await wait_until(lambda: worker.runs is not None and worker.runs.active == 0)
    desk.coordinator.reject(worker.id, run, first.advance.base)
    desk.coordinator.signal(run, "go", "x")
    await desk.status(run, "completed")
    assert desk.coordinator.journal_reads == []


async def test_a_build_serves_its_own_runs_only(desk: Desk) -> None:
    @agent(name="versioned")
    async def old(ctx: Context) -> str:
        return "old"

    @agent(name="versioned")
    async def new(ctx: Context) -> str:
        return "new"

    await desk.hire(new, build="b2")
    await desk.hire(old, build="b1")
    runs = [desk.coordinator.start("versioned", build) for build in ("b1", "b2")]
    for run in runs:
        await desk.status(run, "completed")
    assert [bytes(run.result.result) for run in runs] == [b'"old"', b'"new"']


async def test_a_confirmation_that_overtakes_an_activation(desk: Desk) -> None:
    """The activation was dispatched on the journal before our last advance, and arrives after its confirmation."""
    first, second = Counted(), Counted()
    second.release.clear()

    @agent
    async def works(ctx: Context) -> int:
        await ctx.step(first, name="first")
        number = await ctx.step(second, name="second")
        await ctx.signal("go", str)
        return number

    worker = await desk.hire(works)
    run = desk.start(works)
    await wait_until(lambda: second.runs == 1)
    await wait_until(lambda: worker.runs is not None and not worker.runs.republish(all_now=True))  # all confirmed
    run.record(ev.SignalReceived(name="go", payload=Raw(b'"x"')))
    overtaken = desk.coordinator.activation(run)
    desk.coordinator.dispatch(msgspec.structs.replace(overtaken, base=""), to=worker.id)
    await wait_until(lambda: run.seen == run.outside, message=lambda: desk.history(run))
    second.release.set()
    await desk.status(run, "completed")
    assert (first.runs, second.runs) == (1, 1)
    assert len(desk.coordinator.journal_reads) == 1, "before the first step"


async def test_steps_past_the_allowance_are_asked_for_first(desk: Desk) -> None:
    step = Counted()

    @agent
    async def works(ctx: Context) -> int:
        return await ctx.step(step, name="one") + await ctx.step(step, name="two")

    await desk.hire(works)
    run = desk.start(works, steps_left=1)
    (asked,) = await desk.advances(run, 1)
    assert asked.kinds == ["FinishStep", "RequestStep"]
    assert (step.runs, asked.advance.running) == (1, 0)
    run.steps_left = 0  # the step that was asked for is counted
    desk.coordinator.activate(run)
    await desk.status(run, "completed")
    assert step.runs == 2
