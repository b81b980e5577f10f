"""Runs that are ended, paused or evicted, workers that drain, and activations that nobody can work on."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from tests.unit.waypost_worker.counted import Counted
from tests.unit.waypost_worker.desk import BUILD, QUICK, Desk
from tests.waiting import wait_until
from waypost import Context, StepFailed, agent
from waypost_io.bus.memory import MemoryBroker
from waypost_proto.errors import Misconfigured


async def test_an_ended_run_stops_its_steps(desk: Desk) -> None:
    cancelled = asyncio.Event()

    async def endless() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    @agent
    async def works(ctx: Context) -> None:
        await ctx.step(endless)

    worker = await desk.hire(works)
    run = desk.start(works)
    await desk.advances(run, 1)
    desk.coordinator.stop(run, "ended")
    await asyncio.wait_for(cancelled.wait(), 5)
    assert worker.runs is not None
    await wait_until(lambda: worker.runs is not None and worker.runs.cached == 0)
    await asyncio.wait_for(worker.runs.quiet(), 5)
    assert [seen.kinds for seen in desk.coordinator.of(run)] == [[]], "nothing is reported for a run that ended"


async def test_a_paused_run_finishes_what_runs_and_starts_nothing(desk: Desk) -> None:
    first, second = Counted(), Counted()
    first.release.clear()

    @agent
    async def works(ctx: Context) -> int:
        await ctx.step(first, name="first")
        return await ctx.step(second, name="second")

    worker = await desk.hire(works)
    run = desk.start(works)
    await desk.advances(run, 1)
    desk.coordinator.stop(run, "paused")
    run.status = "paused"
    await asyncio.sleep(0)
    first.release.set()
    _, finished = await desk.advances(run, 2)
    assert (finished.kinds, finished.advance.running) == (["FinishStep"], 1), "the second step is why it needs an activation later"
    await wait_until(lambda: worker.runs is not None and worker.runs.cached == 0)
    assert second.runs == 0

    run.status = "running"
    desk.coordinator.activate(run)
    await desk.status(run, "completed")
    assert (first.runs, second.runs) == (1, 1)
    assert len(desk.coordinator.journal_reads) == 2, "before the first step, and after the pause"


async def test_a_run_resumed_before_it_was_let_go_goes_on(desk: Desk) -> None:
    first, second = Counted(), Counted()
    first.release.clear()

    @agent
    async def works(ctx: Context) -> int:
        await ctx.step(first, name="first")
        return await ctx.step(second, name="second")

    await desk.hire(works)
    run = desk.start(works)
    await desk.advances(run, 1)
    desk.coordinator.stop(run, "paused")
    desk.coordinator.activate(run)
    await desk.advances(run, 2)
    first.release.set()
    await desk.status(run, "completed")
    assert (first.runs, second.runs, len(desk.coordinator.journal_reads)) == (1, 1, 1)


async def test_a_step_that_the_code_no_longer_waits_for_is_cancelled(desk: Desk) -> None:
    cancelled = asyncio.Event()

    async def endless() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    @agent
    async def impatient(ctx: Context) -> str:
        step = asyncio.create_task(ctx.step(endless))
        await ctx.signal("go", str)
        step.cancel()
        return "enough"

    await desk.hire(impatient)
    run = desk.start(impatient)
    await desk.advances(run, 1)
    desk.coordinator.signal(run, "go", "x")
    await desk.status(run, "completed")
    await asyncio.wait_for(cancelled.wait(), 5)


async def test_a_draining_worker_finishes_and_publishes(desk: Desk) -> None:
    step = Counted()
    step.release.clear()

    @agent
    async def works(ctx: Context) -> int:
        return await ctx.step(step, name="work")

    worker = await desk.hire(works)
    run = desk.start(works)
    await desk.advances(run, 1)
    ended = desk.ask_to_stop(worker)
    await wait_until(lambda: any(beat.state == "draining" for beat in desk.coordinator.heartbeats))
    assert not worker.ready()
    late = desk.start(works)
    step.release.set()
    await desk.status(run, "completed")
    await asyncio.wait_for(ended, 10)
    assert desk.coordinator.of(late) == [], "a draining worker takes nothing new"
    assert desk.coordinator.heartbeats[-1].state == "stopped"


async def test_what_a_draining_worker_cannot_finish_is_done_elsewhere(desk: Desk) -> None:
    stuck, quick = Counted(), Counted()
    stuck.release.clear()

    @agent
    async def works(ctx: Context) -> int:
        await ctx.step(quick, name="quick")
        return await ctx.step(stuck, name="stuck")

    tuning = replace(QUICK, drain_seconds=0.05, ack_wait_seconds=0.5)
    worker = await desk.hire(works, tuning=tuning)
    run = desk.start(works)
    await desk.advances(run, 1)
    await asyncio.wait_for(desk.ask_to_stop(worker), 10)
    stuck.release.set()
    await desk.hire(works, tuning=tuning)
    await desk.status(run, "completed")  # by another activation; the one that was held is not delivered again
    assert (quick.runs, stuck.runs) == (1, 2)
    assert desk.coordinator.of(run, "rejected") == []


async def test_what_a_draining_worker_has_hardly_begun_goes_to_another_at_once(desk: Desk) -> None:
    """Nothing of it is recorded, so the coordinator does not know who has it: the activation itself goes back, long before its ack wait."""
    stuck = Counted()
    stuck.release.clear()

    @agent
    async def works(ctx: Context) -> int:
        return await ctx.step(stuck, name="stuck")

    tuning = replace(QUICK, drain_seconds=0.05, ack_wait_seconds=600, announce_running_seconds=600)
    worker = await desk.hire(works, tuning=tuning)
    run = desk.start(works)
    await wait_until(lambda: stuck.runs == 1)
    await asyncio.wait_for(desk.ask_to_stop(worker), 10)
    stuck.release.set()
    await desk.hire(works, tuning=tuning)
    await desk.status(run, "completed")
    assert stuck.runs == 2


async def test_a_draining_worker_takes_what_is_for_it_alone(desk: Desk) -> None:
    """A run's coroutine is here and its coordinator has not heard yet that we leave; a local step of another run keeps us."""
    stuck = Counted()
    stuck.release.clear()

    @agent
    async def works(ctx: Context) -> int:
        return await ctx.step(stuck, name="stuck")

    @agent
    async def waits(ctx: Context) -> str:
        return await ctx.signal("go", str)

    worker = await desk.hire(works, waits)
    kept = desk.start(works)
    waiting = desk.start(waits)
    await wait_until(lambda: waiting.of_type("signal_awaited") and waiting.worker)
    await wait_until(lambda: stuck.runs == 1)
    ended = desk.ask_to_stop(worker)
    await wait_until(lambda: any(beat.state == "draining" for beat in desk.coordinator.heartbeats))
    desk.coordinator.signal(waiting, "go", "late")
    await desk.status(waiting, "completed")
    stuck.release.set()
    await desk.status(kept, "completed")
    await asyncio.wait_for(ended, 10)


async def test_a_held_activation_is_not_delivered_again(desk: Desk) -> None:
    step = Counted()
    step.release.clear()

    @agent
    async def works(ctx: Context) -> int:
        return await ctx.step(step, name="work")

    tuning = replace(QUICK, ack_wait_seconds=0.3)
    await desk.hire(works, tuning=tuning)
    await desk.hire(works, tuning=tuning)
    run = desk.start(works)
    await wait_until(lambda: any(beat.held for beat in desk.coordinator.heartbeats))  # seven times the ack wait
    assert step.runs == 1
    step.release.set()
    await desk.status(run, "completed")


async def test_the_cache_is_bounded_and_a_miss_reads_the_journal(desk: Desk) -> None:
    @agent
    async def waits(ctx: Context, number: int) -> int:
        await ctx.signal("go", str)
        return number

    worker = await desk.hire(waits, tuning=replace(QUICK, cache_runs=2, concurrency=2))
    runs = [desk.start(waits, number) for number in range(8)]
    for run in runs:
        await wait_until(lambda run=run: run.of_type("signal_awaited"))  # type: ignore[misc]
    await wait_until(lambda: worker.runs is not None and worker.runs.cached <= 3)
    for run in runs:
        desk.coordinator.signal(run, "go", "x")
    for number, run in enumerate(runs):
        await desk.status(run, "completed")
        assert bytes(run.result.result) == str(number).encode()
    assert len(desk.coordinator.journal_reads) >= 5


async def test_no_more_is_taken_than_may_work(desk: Desk) -> None:
    step = Counted()
    step.release.clear()

    @agent
    async def works(ctx: Context) -> int:
        return await ctx.step(step, name="work")

    worker = await desk.hire(works, tuning=replace(QUICK, concurrency=3, cache_runs=100))
    runs = [desk.start(works) for _ in range(9)]
    for run in runs[:3]:
        await desk.advances(run, 1)
    assert worker.runs is not None
    assert (worker.runs.active, step.runs) == (3, 3)
    step.release.set()
    for run in runs:
        await desk.status(run, "completed")
    assert step.runs == 9


async def test_bad_activations_hold_nobody_up(desk: Desk, broker: MemoryBroker) -> None:
    @agent
    async def works(ctx: Context) -> str:
        return "done"

    await desk.hire(works)
    subject = desk.subjects.work("works", BUILD)
    await desk.coordinator.bus.publish(subject, b"{}")
    await desk.coordinator.bus.publish(subject, b"\xff not JSON")
    run = desk.start(works)
    await desk.status(run, "completed")
    assert len(broker.streams[desk.subjects.stream("WORK")].messages) == 2, "they stay, to be looked at"


async def test_a_run_nobody_knows_is_acknowledged(desk: Desk, broker: MemoryBroker) -> None:
    @agent
    async def works(ctx: Context) -> str:
        return await ctx.signal("go", str)

    worker = await desk.hire(works)
    run = desk.start(works)
    await desk.advances(run, 1)
    await desk.kill(worker)
    activation = desk.coordinator.activation(run)
    del desk.coordinator.runs[run.run_id]
    await desk.hire(works)
    desk.coordinator.dispatch(activation)
    await wait_until(lambda: desk.coordinator.journal_reads)
    await wait_until(lambda: not broker.streams[desk.subjects.stream("WORK")].messages)


async def test_a_refusal_is_an_error_that_says_why(desk: Desk) -> None:
    @agent
    async def works(ctx: Context) -> str:
        return "done"

    desk.coordinator.refuse = "agent works: schemas differ"
    with pytest.raises(Misconfigured, match="schemas differ"):
        await desk.hire(works)


async def test_input_that_does_not_fit_fails_the_run_readably(desk: Desk) -> None:
    @agent
    async def adds(ctx: Context, number: int) -> int:
        return number + 1

    await desk.hire(adds)
    run = desk.start(adds, "seven")
    await desk.status(run, "failed")
    assert "seven" in run.error.message or "int" in run.error.message


async def test_a_step_whose_result_is_no_json_fails_readably(desk: Desk) -> None:
    async def odd() -> object:
        return object()

    async def exits() -> None:
        raise SystemExit(3)

    @agent
    async def works(ctx: Context) -> list[str]:
        problems = []
        for step in (odd, exits):
            try:
                await ctx.step(step)
            except StepFailed as error:
                problems.append(str(error))
        return problems

    await desk.hire(works)
    run = desk.start(works)
    await desk.status(run, "completed")
    text = bytes(run.result.result).decode()
    assert "the result of step 'odd'" in text
    assert "SystemExit" in text


async def test_the_runs_that_are_worked_on_are_counted_in_the_heartbeat(desk: Desk) -> None:
    @agent
    async def waits(ctx: Context) -> str:
        return await ctx.signal("go", str)

    await desk.hire(waits, tuning=replace(QUICK, heartbeat_seconds=0.05))
    for _ in range(5):
        desk.start(waits)
    await wait_until(lambda: desk.coordinator.heartbeats[-1].busy == 5)
    await wait_until(lambda: desk.coordinator.heartbeats[-1].busy == 0)  # they wait, however long
