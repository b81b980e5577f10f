"""The worker on a real server: whole runs, a lost worker, a restarted and a wiped server."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from tests.unit.waypost_worker.counted import Counted
from tests.unit.waypost_worker.desk import QUICK, Desk
from tests.waiting import wait_until
from waypost import Context, agent, tool
from waypost_io.servers import EmbeddedNats
from waypost_proto.limits import CLAIM_CHECK_BYTES


@tool(effect="read")
async def lookup(key: str) -> str:
    return key


async def nothing() -> None:
    pass


@agent(tools=[lookup])
async def bench(ctx: Context) -> int:
    for _ in range(5):
        await ctx.step(nothing)
        await ctx.call(lookup, "a")
    return 7


async def test_many_runs_on_two_workers(desk: Desk) -> None:
    desk.coordinator.tools["lookup"] = lambda args: args["key"]
    workers = [await desk.hire(bench), await desk.hire(bench)]
    runs = [desk.start(bench) for _ in range(40)]
    for run in runs:
        await desk.status(run, "completed")
        assert [seen.kinds for seen in desk.coordinator.of(run)] == [["FinishStep", "CallTool"]] * 5 + [["CompleteRun"]]
    assert len(desk.coordinator.journal_reads) == len(runs), "before the first step of each"
    await wait_until(lambda: sum(worker.runs.cached for worker in workers if worker.runs is not None) == 0)


async def test_large_values_both_ways(desk: Desk) -> None:
    async def large() -> str:
        return "s" * (CLAIM_CHECK_BYTES * 3)

    @agent(tools=[lookup])
    async def carries(ctx: Context) -> int:
        return len(await ctx.call(lookup, await ctx.step(large)))

    desk.coordinator.tools["lookup"] = lambda args: args["key"]
    await desk.hire(carries)
    run = desk.start(carries)
    await desk.status(run, "completed")
    assert bytes(run.result.result) == str(CLAIM_CHECK_BYTES * 3).encode()


async def test_row_4_a_silent_worker_is_replaced_and_its_late_answer_refused(desk: Desk) -> None:
    """CORRECTNESS.md row 4: the first worker lives on but says nothing; JetStream gives its activation to a second one."""
    step = Counted()
    step.release.clear()

    @agent
    async def works(ctx: Context) -> int:
        number = await ctx.step(step, name="work")
        await ctx.signal("go", str)
        return number

    tuning = replace(QUICK, ack_wait_seconds=1.0)
    first = await desk.hire(works, tuning=tuning)
    assert first.runs is not None
    first.runs.keep = lambda: None  # type: ignore[method-assign] # it says no more that it works
    run = desk.start(works)
    await wait_until(lambda: step.runs == 1)
    second = await desk.hire(works, tuning=tuning)
    await wait_until(lambda: step.runs == 2)
    step.release.set()
    await desk.advances(run, 1, "accepted")
    await desk.advances(run, 1, "rejected")
    assert second.runs is not None
    await wait_until(lambda: first.runs is not None and first.runs.active == 0)
    desk.coordinator.signal(run, "go", "x")
    await desk.status(run, "completed")
    assert step.runs == 2


async def test_a_killed_workers_run_goes_on_elsewhere_from_its_journal(desk: Desk) -> None:
    first, second = Counted(), Counted()
    second.release.clear()

    @agent
    async def works(ctx: Context) -> int:
        return await ctx.step(first, name="first") + await ctx.step(second, name="second")

    tuning = replace(QUICK, ack_wait_seconds=1.0)
    dead = await desk.hire(works, tuning=tuning)
    run = desk.start(works)
    await wait_until(lambda: second.runs == 1)
    await desk.kill(dead)
    second.release.set()
    await desk.hire(works, tuning=tuning)
    await desk.status(run, "completed")
    assert (first.runs, second.runs) == (1, 2), "what is recorded does not run again; what is not, does"
    assert desk.coordinator.of(run, "rejected") == []


async def test_row_15_a_wiped_server_gets_what_nobody_confirmed(own_desk: Desk, own_nats: EmbeddedNats) -> None:
    """CORRECTNESS.md row 15: results in JetStream, no coordinator took them, the server is killed and its files deleted."""
    desk, step = own_desk, Counted()

    @agent
    async def pays(ctx: Context) -> int:
        total = await ctx.step(step, name="pay") + await ctx.step(step, name="pay")
        await ctx.signal("go", str)
        return total

    desk.coordinator.accepting = False
    worker = await desk.hire(pays)
    run = desk.start(pays)
    await desk.advances(run, 2, "lost")
    await own_nats.kill()
    await own_nats.wipe()
    await own_nats.start()
    desk.coordinator.accepting = True
    await wait_until(desk.coordinator.make_streams_again)
    await desk.advances(run, 2, "accepted")
    run.worker = worker.id
    desk.coordinator.signal(run, "go", "x")
    await desk.status(run, "completed")
    assert bytes(run.result.result) == b"3"
    assert step.runs == 2


async def test_a_restarted_server_goes_unnoticed(own_desk: Desk, own_nats: EmbeddedNats) -> None:
    desk, step = own_desk, Counted()
    step.release.clear()

    @agent
    async def works(ctx: Context) -> int:
        number = await ctx.step(step, name="work")
        await ctx.signal("go", str)
        return number

    worker = await desk.hire(works)
    run = desk.start(works)
    await desk.advances(run, 1)
    announced = len(desk.coordinator.announced)
    await own_nats.kill()
    step.release.set()  # it ends while there is no server
    await asyncio.sleep(0)
    await own_nats.start()
    await wait_until(lambda: run.of_type("signal_awaited"), message=lambda: desk.history(run))
    await wait_until(lambda: len(desk.coordinator.announced) > announced, message="it announces itself again")
    desk.coordinator.signal(run, "go", "x")
    await desk.status(run, "completed")
    assert step.runs == 1
    assert worker.ready()
