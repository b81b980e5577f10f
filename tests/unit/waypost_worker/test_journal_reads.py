"""When a worker reads a run's journal: on a miss, when it may not be ours, and before a step that somebody may have run."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace

import msgspec
import pytest
from msgspec import Raw

from tests.unit.waypost_worker.counted import Counted
from tests.unit.waypost_worker.desk import BUILD, QUICK, Desk
from tests.unit.waypost_worker.stand_in import renumbered
from tests.waiting import wait_until
from waypost import Context, agent, tool
from waypost_io.bus.memory import MemoryBroker
from waypost_io.bus.topology import work_consumer
from waypost_proto import commands as cmd
from waypost_proto import events as ev
from waypost_proto.codec import decode, encode
from waypost_proto.ids import CallId
from waypost_proto.mailbox import Advance
from waypost_proto.subjects import ANY_WORKER
from waypost_proto.work import Activation


@tool(effect="read")
async def lookup(key: str) -> str:
    return key


async def test_a_rejected_run_is_read_again(desk: Desk) -> None:
    """Another worker's answer was accepted: ours is dropped, the next activation replays the journal, the step does not run again."""
    step = Counted()

    @agent
    async def waits(ctx: Context) -> int:
        number = await ctx.step(step, name="count")
        await ctx.signal("go", str)
        return number

    worker = await desk.hire(waits)
    run = desk.start(waits)
    await desk.advances(run, 1)
    await wait_until(lambda: worker.runs is not None and worker.runs.active == 0)
    desk.coordinator.reject(worker.id, run, run.digest)
    await wait_until(lambda: worker.runs is not None and worker.runs.cached == 0)
    desk.coordinator.signal(run, "go", "x")
    await desk.status(run, "completed")
    assert len(desk.coordinator.journal_reads) == 2, "before the first step, and again"
    assert step.runs == 1


async def test_a_journal_in_pages_and_an_activation_too_large_to_carry_its_entries(desk: Desk) -> None:
    @agent(tools=[lookup])
    async def talks(ctx: Context) -> list[str]:
        first = [await ctx.call(lookup, str(n)) for n in range(5)]
        return [*first, await ctx.signal("go", str)]

    desk.coordinator.tools["lookup"] = lambda args: args["key"]
    desk.coordinator.page_entries = 3
    worker = await desk.hire(talks)
    run = desk.start(talks)
    await wait_until(lambda: run.of_type("signal_awaited"))
    run.record(ev.SignalReceived(name="go"))
    desk.coordinator.activate(run, entries=False)  # to the worker that has the coroutine: it reads what follows
    await desk.status(run, "failed")  # null is no str: it was delivered
    assert next(request.after for request in desk.coordinator.journal_reads) > 0
    assert worker.runs is not None

    run = desk.start(talks)
    await wait_until(lambda: run.of_type("signal_awaited"))
    await desk.kill(worker)
    await desk.hire(talks)
    desk.coordinator.journal_reads.clear()
    run.worker = ""
    desk.coordinator.signal(run, "go", "end")
    await desk.status(run, "completed")
    assert bytes(run.result.result) == b'["0","1","2","3","4","end"]'
    assert len(desk.coordinator.journal_reads) == -(-len(run.of_type("tool_call_requested")) * 2 // 3) + 1


async def test_a_repeated_first_activation_runs_nothing_again(desk: Desk) -> None:
    """P3: the run has ended, or has gone on with a worker that is dead now; its first activation comes once more, as if it were new."""
    step = Counted()

    @agent
    async def works(ctx: Context) -> int:
        number = await ctx.step(step, name="work")
        await ctx.signal("go", str)
        return number

    dead = await desk.hire(works)
    run = desk.start(works)
    first = renumbered(desk.coordinator.activation(run), 1)
    await desk.advances(run, 1)
    await desk.kill(dead)
    worker = await desk.hire(works)
    desk.coordinator.dispatch(first)
    await wait_until(lambda: run.worker == worker.id, message=lambda: desk.history(run))
    desk.coordinator.signal(run, "go", "x")
    await desk.status(run, "completed")
    await wait_until(lambda: worker.runs is not None and worker.runs.cached == 0)

    reads = len(desk.coordinator.journal_reads)
    desk.coordinator.dispatch(first)
    await wait_until(lambda: len(desk.coordinator.journal_reads) > reads)
    await wait_until(lambda: worker.runs is not None and worker.runs.cached == 0)
    assert step.runs == 1
    assert desk.coordinator.of(run, "rejected") == []


async def test_a_fresh_run_begins_without_a_look_at_the_journal(desk: Desk) -> None:
    """What decides: delivered for the first time, stored right after the run was recorded, and not long ago."""
    step = Counted()

    @agent
    async def works(ctx: Context) -> int:
        return await ctx.step(step, name="work")

    tuning = replace(QUICK, fresh_seconds=60.0, fresh_wait_seconds=60.0)
    worker = await desk.hire(works, tuning=tuning)
    run = desk.start(works)
    await desk.status(run, "completed")
    assert desk.coordinator.journal_reads == []

    late = desk.start(works, at=time.time() - 100)  # stored long after the run was recorded
    await desk.status(late, "completed")
    assert len(desk.coordinator.journal_reads) == 1

    await desk.kill(worker)
    waits = desk.start(works)
    dead = await desk.hire(works, tuning=replace(tuning, ack_wait_seconds=0.3))
    step.release.clear()
    again = desk.start(works)
    await desk.advances(again, 1)
    await desk.kill(dead)
    reads = len(desk.coordinator.journal_reads)
    step.release.set()
    await desk.hire(works, tuning=replace(tuning, ack_wait_seconds=0.3))
    await desk.status(again, "completed")
    await desk.status(waits, "completed")
    assert len(desk.coordinator.journal_reads) > reads, "it was delivered again"


async def test_what_is_older_than_the_consumer_that_brings_it_is_not_fresh(desk: Desk, broker: MemoryBroker) -> None:
    """A restart of the server forgets who had what, and how often it was delivered: another worker has begun this run."""
    one, two = Counted(), Counted()

    @agent
    async def works(ctx: Context) -> int:
        return await ctx.step(one, name="one") + await ctx.step(two, name="two")

    bus, tuning = desk.coordinator.bus, replace(QUICK, fresh_seconds=60.0, fresh_wait_seconds=60.0)
    consumer = work_consumer(desk.subjects, "works", BUILD)
    await bus.ensure_consumer(consumer)
    elsewhere = bus.pull(consumer.stream, consumer.name)
    run = desk.start(works)
    (delivery,) = await elsewhere.next_batch(1)
    token = decode(Activation, delivery.body).token
    step = cmd.FinishStep(seen=1, id=CallId("0:1"), name="one", at=time.time(), result=Raw(b"40"))
    told = Advance(
        run_id=run.run_id, agent="works", worker="w-1", build=BUILD, token=token, base="", seen=1, running=1, items=Raw(encode([step]))
    )
    desk.coordinator.advance(told)
    await elsewhere.close()

    await desk.hire(works, tuning=tuning)
    broker.restart()
    await desk.status(run, "completed")
    assert len(desk.coordinator.journal_reads) == 1
    assert (one.runs, two.runs) == (0, 1), "the first was recorded before the restart"
    assert bytes(run.result.result) == b"41"


@pytest.mark.parametrize("told", ["base", "journal"])
async def test_a_run_that_went_on_elsewhere_is_read_from_its_journal(desk: Desk, told: str) -> None:
    """This worker still has the coroutine of long ago. The activation says so by its base, or only the journal does."""
    step = Counted()

    @agent
    async def works(ctx: Context) -> list[int]:
        first = await ctx.step(step, name="first")
        await ctx.signal("go", str)
        second = await ctx.step(step, name="second")
        await ctx.signal("go", str)
        return [first, second]

    here = await desk.hire(works)
    run = desk.start(works)
    await desk.advances(run, 1)
    await wait_until(lambda: here.runs is not None and here.runs.active == 0)
    known = run.digest
    elsewhere = await desk.hire(works)
    run.record(ev.SignalReceived(name="go", payload=Raw(b'"x"')))
    desk.coordinator.activate(run, to=elsewhere.id)
    await wait_until(lambda: len(run.of_type("step_completed")) == 2, message=lambda: desk.history(run))
    await desk.kill(elsewhere)

    run.record(ev.SignalReceived(name="go", payload=Raw(b'"x"')))
    activation = desk.coordinator.activation(run, entries=told == "base")
    desk.coordinator.dispatch(activation if told == "base" else msgspec.structs.replace(activation, base=known), to=here.id)
    await desk.status(run, "completed")
    assert bytes(run.result.result) == b"[1,2]"
    assert step.runs == 2
    assert desk.coordinator.of(run, "rejected") == []


async def test_an_activation_is_held_while_its_journal_is_read(desk: Desk) -> None:
    """A step that ends meanwhile is published, but does not count as the answer."""
    step = Counted()
    step.release.clear()

    @agent
    async def works(ctx: Context) -> str:
        local = asyncio.create_task(ctx.step(step, name="local"))
        word = await ctx.signal("go", str)
        await local
        return word

    worker = await desk.hire(works)
    assert worker.runs is not None
    run = desk.start(works)
    await desk.advances(run, 1)
    desk.coordinator.journal_gate.clear()
    run.record(ev.SignalReceived(name="go", payload=Raw(b'"x"')))
    desk.coordinator.activate(run, to=worker.id, entries=False)
    await wait_until(lambda: desk.coordinator.journal_reads)
    step.release.set()
    await wait_until(lambda: run.of_type("step_completed"))
    assert worker.runs.active == 1
    desk.coordinator.journal_gate.set()
    await desk.status(run, "completed")
    await wait_until(lambda: worker.runs is not None and worker.runs.active == 0)


async def test_an_activation_of_a_paused_run_starts_nothing(desk: Desk) -> None:
    """It was dispatched before the pause, to a worker that does not have the run: the journal says that it is paused."""
    step = Counted()
    step.release.clear()

    @agent
    async def works(ctx: Context) -> int:
        await ctx.signal("go", str)
        return await ctx.step(step, name="work")

    dead = await desk.hire(works)
    run = desk.start(works)
    await desk.advances(run, 1)
    await desk.kill(dead)
    run.record(ev.SignalReceived(name="go", payload=Raw(b'"x"')))
    run.status = "paused"
    worker = await desk.hire(works)
    desk.coordinator.activate(run, to=ANY_WORKER)
    await wait_until(lambda: run.seen == run.outside, message=lambda: desk.history(run))
    await wait_until(lambda: worker.runs is not None and worker.runs.cached == 0)
    assert (step.runs, run.running) == (0, 1)  # not started, and reason enough for an activation after the resume
    run.status, run.worker = "running", ""
    step.release.set()
    desk.coordinator.activate(run)
    await desk.status(run, "completed")


async def test_a_divergent_replay_is_reported_and_changes_nothing(desk: Desk) -> None:
    @agent(name="changed", tools=[lookup])
    async def before(ctx: Context) -> str:
        await ctx.call(lookup, "a")
        return await ctx.signal("go", str)

    @agent(name="changed", tools=[lookup])
    async def after(ctx: Context) -> str:
        await ctx.call(lookup, "b")
        return await ctx.signal("go", str)

    desk.coordinator.tools["lookup"] = lambda args: args["key"]
    worker = await desk.hire(before)
    run = desk.start(before)
    await wait_until(lambda: run.of_type("signal_awaited"))
    await desk.kill(worker)
    second = await desk.hire(after)
    run.worker = ""
    desk.coordinator.signal(run, "go", "x")
    await desk.status(run, "paused")
    assert desk.coordinator.of(run)[-1].kinds == ["ReportDivergence"]
    await wait_until(lambda: second.runs is not None and second.runs.cached == 0)


async def test_a_divergent_replay_is_the_answer_to_every_activation(desk: Desk) -> None:
    """An empty advance after it would be accepted, and make the run the one of a build that does not fit it."""

    @agent(name="changed", tools=[lookup])
    async def before(ctx: Context) -> str:
        await ctx.call(lookup, "a")
        return await ctx.signal("go", str)

    @agent(name="changed", tools=[lookup])
    async def after(ctx: Context) -> str:
        await ctx.call(lookup, "b")
        return await ctx.signal("go", str)

    desk.coordinator.tools["lookup"] = lambda args: args["key"]
    worker = await desk.hire(before)
    run = desk.start(before)
    await wait_until(lambda: run.of_type("signal_awaited"))
    await desk.kill(worker)
    second = await desk.hire(after)
    run.worker = ""
    desk.coordinator.signal(run, "go", "x")
    for _ in range(3):
        desk.coordinator.activate(run, to=ANY_WORKER)
    await desk.status(run, "paused")
    await wait_until(lambda: second.runs is not None and second.runs.cached == 0)
    kinds = [seen.kinds for seen in desk.coordinator.of(run)]
    assert kinds[kinds.index(["ReportDivergence"]) :] == [["ReportDivergence"]] * kinds.count(["ReportDivergence"])
