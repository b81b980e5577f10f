"""One advance for what belongs together, and a result in JetStream before the next step begins."""

from __future__ import annotations

import asyncio
import os

import pytest
from msgspec import Raw

from tests.unit.waypost_worker.desk import BUILD, Desk
from tests.unit.waypost_worker.gated_bus import GatedBus
from tests.waiting import wait_until
from waypost import Context, agent, tool
from waypost_io.bus.memory import MemoryBroker
from waypost_proto.codec import encode
from waypost_proto.ids import CallId
from waypost_proto.work import ActivationFrame


@tool(effect="read")
async def lookup(key: str) -> str:
    return key


async def nothing() -> None:
    pass


async def test_a_step_and_the_tool_call_after_it_are_one_advance(desk: Desk) -> None:
    @agent(tools=[lookup])
    async def bench(ctx: Context) -> str:
        await ctx.step(nothing)
        return await ctx.call(lookup, "a")

    await desk.hire(bench)
    run = desk.start(bench)
    await desk.advances(run, 1)
    await asyncio.sleep(0)
    (only,) = desk.coordinator.of(run)
    assert only.kinds == ["FinishStep", "CallTool"]
    assert only.advance.running == 0


async def test_a_whole_run_of_steps_and_calls_has_one_advance_each(desk: Desk) -> None:
    @agent(tools=[lookup])
    async def bench(ctx: Context) -> int:
        for _ in range(5):
            await ctx.step(nothing)
            await ctx.call(lookup, "a")
        return 7

    desk.coordinator.tools["lookup"] = lambda args: args["key"]
    worker = await desk.hire(bench)
    run = desk.start(bench)
    await desk.status(run, "completed")
    kinds = [seen.kinds for seen in desk.coordinator.of(run)]
    assert kinds == [["FinishStep", "CallTool"]] * 5 + [["CompleteRun"]]
    assert bytes(run.result.result) == b"7"
    assert len(desk.coordinator.journal_reads) == 1, "before its first step; then the coroutine stays in memory"
    await wait_until(lambda: worker.runs is not None and worker.runs.cached == 0)


async def test_the_second_step_begins_when_the_first_result_is_stored(desk: Desk, broker: MemoryBroker) -> None:
    """CORRECTNESS.md row 15, the worker's half: what was paid for is in JetStream before anything is built on it."""
    bus = GatedBus(broker)
    gate_at_second: list[bool] = []

    async def second() -> str:
        gate_at_second.append(bus.gate.is_set())
        return "2"

    @agent
    async def two(ctx: Context) -> str:
        await ctx.step(nothing)
        return await ctx.step(second)

    await desk.hire(two, bus=bus)
    bus.gate.clear()
    run = desk.start(two)
    await wait_until(lambda: bus.mail)
    for _ in range(20):  # far more turns than a started step would need
        await asyncio.sleep(0)
    assert gate_at_second == []
    bus.gate.set()
    await desk.status(run, "completed")
    assert gate_at_second == [True]
    first, last = desk.coordinator.of(run)
    assert (first.kinds, first.advance.running) == (["FinishStep"], 1), "it says that the second step runs"
    assert last.kinds == ["FinishStep", "CompleteRun"]


async def test_an_activation_meanwhile_does_not_let_the_next_step_begin_early(desk: Desk, broker: MemoryBroker) -> None:
    """CORRECTNESS.md row 15: while a result is on its way to JetStream, an activation comes that gives the code nothing to do."""
    bus = GatedBus(broker)
    gate_at_second = []

    async def second() -> None:
        gate_at_second.append(bus.gate.is_set())

    @agent
    async def two(ctx: Context) -> None:
        await ctx.step(nothing)
        await ctx.step(second)

    worker = await desk.hire(two, bus=bus)
    bus.gate.clear()
    run = desk.start(two)
    await wait_until(lambda: bus.mail)
    assert worker.runs is not None
    received = worker.metrics.activations.value
    desk.coordinator.signal(run, "unrelated")
    await wait_until(lambda: worker.metrics.activations.value > received)
    for _ in range(20):
        await asyncio.sleep(0)
    assert gate_at_second == []
    bus.gate.set()
    await desk.status(run, "completed")
    assert gate_at_second == [True]


async def test_steps_that_end_together_are_one_advance(desk: Desk) -> None:
    @agent
    async def many(ctx: Context) -> int:
        await asyncio.gather(*(ctx.step(nothing) for _ in range(10)))
        return 10

    await desk.hire(many)
    run = desk.start(many)
    await desk.status(run, "completed")
    (only,) = desk.coordinator.of(run)
    assert only.kinds == ["FinishStep"] * 10 + ["CompleteRun"]


async def test_commands_are_stored_before_a_step_that_was_asked_for_with_them(desk: Desk) -> None:
    @agent(tools=[lookup])
    async def both(ctx: Context) -> str:
        answer, _ = await asyncio.gather(ctx.call(lookup, "a"), ctx.step(nothing))
        return answer

    desk.coordinator.tools["lookup"] = lambda args: args["key"]
    await desk.hire(both)
    run = desk.start(both)
    await desk.status(run, "completed")
    first = desk.coordinator.of(run)[0]
    assert (first.kinds, first.advance.running) == (["CallTool"], 1)


async def test_an_activation_that_brings_nothing_to_do_is_answered(desk: Desk) -> None:
    @agent
    async def waits(ctx: Context) -> str:
        return await ctx.signal("go", str)

    await desk.hire(waits)
    run = desk.start(waits)
    await desk.advances(run, 1)
    desk.coordinator.signal(run, "other", "x")
    _, empty = await desk.advances(run, 2)
    assert (empty.kinds, empty.advance.seen, empty.advance.running) == ([], run.outside, 0)
    desk.coordinator.signal(run, "go", "now")
    await desk.status(run, "completed")


async def test_a_long_step_is_announced_once(desk: Desk) -> None:
    release = asyncio.Event()

    async def long() -> str:
        await release.wait()
        return "done"

    @agent
    async def slow(ctx: Context) -> str:
        return await ctx.step(long)

    worker = await desk.hire(slow)
    run = desk.start(slow)
    (announced,) = await desk.advances(run, 1)
    assert (announced.kinds, announced.advance.running) == ([], 1)
    assert worker.runs is not None
    assert worker.runs.active == 1, "the activation is held until the step has ended"
    desk.coordinator.signal(run, "unrelated")
    _, answered = await desk.advances(run, 2)
    assert (answered.kinds, answered.advance.running, answered.advance.seen) == ([], 1, run.outside)
    release.set()
    await desk.status(run, "completed")
    assert [seen.kinds for seen in desk.coordinator.of(run)] == [[], [], ["FinishStep", "CompleteRun"]]
    await wait_until(lambda: worker.runs is not None and worker.runs.active == 0)


async def test_that_nothing_runs_any_more_is_said_also_when_there_is_no_result(desk: Desk) -> None:
    """The code gave the step up. Else the run would be `running` for ever, and be handed out again to work on nothing."""

    @agent
    async def gives_up(ctx: Context) -> str:
        step = asyncio.create_task(ctx.step(asyncio.Event().wait, name="endless"))
        await ctx.signal("stop", str)
        step.cancel()
        return await ctx.signal("go", str)

    await desk.hire(gives_up)
    run = desk.start(gives_up)
    (first,) = await desk.advances(run, 1)
    assert (first.kinds, first.advance.running) == (["AwaitSignal"], 1)
    desk.coordinator.signal(run, "stop", "x")
    await wait_until(lambda: not run.running, message=lambda: desk.history(run))
    assert desk.coordinator.of(run)[-1].kinds == []
    desk.coordinator.signal(run, "go", "now")
    await desk.status(run, "completed")


@pytest.mark.parametrize(("sender", "frames"), [("c1", [3, 3]), ("", [])])
async def test_runs_that_are_activated_together_answer_together(desk: Desk, sender: str, frames: list[int]) -> None:
    """In one message where their coordinator says who it is; each advance counts as if it had come alone."""

    @agent(tools=[lookup])
    async def bench(ctx: Context) -> str:
        return await ctx.call(lookup, "a")

    worker = await desk.hire(bench)
    coordinator = desk.coordinator
    coordinator.sender = sender
    runs = [coordinator.begin(bench.name, BUILD) for _ in range(3)]

    async def activated() -> None:
        together = ActivationFrame(activations=[Raw(encode(coordinator.activation(run))) for run in runs])
        await coordinator.bus.publish(desk.subjects.work(bench.name, BUILD, worker.id), encode(together), msg_id=os.urandom(6).hex())

    await activated()
    for run in runs:
        (only,) = await desk.advances(run, 1)
        assert (only.kinds, only.verdict) == (["CallTool"], "accepted")
        coordinator.complete_call(run, CallId("0:1"), "lookup", "found")
    await activated()
    for run in runs:
        await desk.status(run, "completed")
    assert coordinator.frames == frames
    assert worker.metrics.republished.value == 0


async def test_an_advance_that_nobody_confirmed_is_published_again_by_itself(desk: Desk) -> None:
    """The coordinator that it answered may be no more, and its frame another's."""

    @agent(tools=[lookup])
    async def bench(ctx: Context) -> str:
        return await ctx.call(lookup, "a")

    worker = await desk.hire(bench)
    coordinator = desk.coordinator
    coordinator.sender, coordinator.confirming = "c1", False
    runs = [coordinator.begin(bench.name, BUILD) for _ in range(2)]
    together = ActivationFrame(activations=[Raw(encode(coordinator.activation(run))) for run in runs])
    await coordinator.bus.publish(desk.subjects.work(bench.name, BUILD, worker.id), encode(together), msg_id="both")
    for run in runs:
        assert [seen.verdict for seen in await desk.advances(run, 2)][:2] == ["accepted", "repeat"]
    assert coordinator.frames == [2]
