"""The gateway as a whole: bounds, drain, bad messages, streams that disappear."""

from __future__ import annotations

import asyncio

from tests.unit.waypost_gateway.rig import PARTITIONS, Desktop, Rig
from tests.waiting import wait_until
from waypost import ToolContext
from waypost_io.bus.memory import MemoryBus
from waypost_io.bus.ports import ConsumerSpec
from waypost_io.bus.topology import stream_specs
from waypost_proto.mailbox import ToolSucceeded, ToolUncertain
from waypost_proto.notices import DEAD_ID_HEADER, DEAD_ORIGIN_HEADER, DEAD_REASON_HEADER


class Turnstile:
    """Counts how many run at once."""

    def __init__(self) -> None:
        self.inside = self.most = 0
        self.open = asyncio.Event()

    async def __call__(self, ctx: ToolContext) -> str:
        self.inside += 1
        self.most = max(self.most, self.inside)
        await self.open.wait()
        self.inside -= 1
        return "ok"


async def test_a_tool_runs_no_more_calls_at_once_than_it_may_and_pulls_no_more(rig: Rig) -> None:
    desktop = Desktop(concurrency=3)
    turnstile = desktop.behaviour["look"] = Turnstile()
    async with rig.gateway(desktop):
        calls = [rig.call("look") for _ in range(10)]
        for call in calls:
            await rig.send(call)
        await wait_until(lambda: turnstile.inside == 3)
        assert await rig.count_tools() == 10
        turnstile.open.set()
        for call in calls:
            assert isinstance(await rig.answer(call), ToolSucceeded)
    assert turnstile.most == 3


async def test_answers_of_one_moment_to_one_coordinator_share_a_message(rig: Rig) -> None:
    """Of one tool each: who may answer for one cannot answer for another."""
    desktop = Desktop()
    turnstile = desktop.behaviour["look"] = desktop.behaviour["put"] = Turnstile()
    async with rig.gateway(desktop):
        calls = [rig.call(name, sender=sender) for sender in ("c1", "c2", "") for name in ("look", "put") for _ in range(2)]
        for call in calls:
            if call.permit:
                await rig.permit(call)
            await rig.send(call)
        await wait_until(lambda: turnstile.inside == len(calls))
        turnstile.open.set()
        for call in calls:
            assert isinstance(await rig.answer(call), ToolSucceeded)
        await rig.settled()
        assert all(len(rig.of(call)) == 1 for call in calls)
    assert sorted(subject.split(".")[-2] for subject in rig.frames) == ["look", "look", "put", "put"]


async def test_all_tools_together_run_no_more_calls_than_the_gateway_may(rig: Rig) -> None:
    desktop = Desktop()
    turnstile = Turnstile()
    desktop.behaviour = {"look": turnstile, "put": turnstile}
    async with rig.gateway(desktop, concurrency=4):
        calls = [rig.call(name) for name in ("look", "put") for _ in range(6)]
        for call in calls:
            if call.permit:
                await rig.permit(call)
            await rig.send(call)
        await wait_until(lambda: turnstile.inside == 4)
        turnstile.open.set()
        for call in calls:
            await rig.answer(call)
    assert turnstile.most == 4


async def test_a_long_call_is_not_delivered_again_while_it_runs(rig: Rig) -> None:
    desktop = Desktop(timeout=30)
    turnstile = desktop.behaviour["look"] = Turnstile()
    async with rig.gateway(desktop, ack_wait_seconds=0.15) as first, rig.gateway(desktop, ack_wait_seconds=0.15):
        call = rig.call("look")
        await rig.send(call)
        await wait_until(lambda: turnstile.inside)
        ended = asyncio.get_running_loop().time() + 0.8
        await wait_until(lambda: asyncio.get_running_loop().time() > ended)
        turnstile.open.set()
        await rig.answer(call)
    assert len(desktop.began) == 1
    assert first.task.done()


async def test_drain_lets_running_calls_finish_and_takes_nothing_new(rig: Rig) -> None:
    desktop = Desktop()
    turnstile = desktop.behaviour["look"] = Turnstile()
    async with rig.gateway(desktop) as running:
        call = rig.call("look")
        await rig.send(call)
        await wait_until(lambda: turnstile.inside)
        running.stop.request("test")
        await wait_until(lambda: not running.gateway.pulling)
        late = rig.call("look")
        await rig.send(late)
        turnstile.open.set()
        await rig.answer(call)
        await running.task
    assert rig.of(late) == []
    assert await rig.count_tools() == 1


async def test_what_does_not_finish_in_time_is_written_down_or_given_back(rig: Rig) -> None:
    desktop = Desktop(timeout=60)
    turnstile = Turnstile()
    desktop.behaviour = dict.fromkeys(("look", "put", "post"), turnstile)
    async with rig.gateway(desktop, drain_seconds=0.05, lease_seconds=30) as running:
        look, put, post = (rig.call(name) for name in ("look", "put", "post"))
        for call in (look, put, post):
            if call.permit:
                await rig.permit(call)
            await rig.send(call)
        await wait_until(lambda: turnstile.inside == 3)
        running.stop.request("test")
        await running.task
    doubt = await rig.answer(post)
    assert isinstance(doubt, ToolUncertain)
    assert doubt.error.type == "Interrupted"
    assert (await rig.row(post)).state == "doubt"
    given_back = await rig.row(put)
    assert given_back.state == "started"
    assert given_back.lease_until is not None
    assert given_back.lease_until <= await rig.store.leases.now()
    assert (rig.of(look), rig.of(put)) == ([], [])
    desktop.behaviour.clear()
    async with rig.gateway(desktop) as second:
        for call in (look, put):
            answer = await rig.answer(call)
            assert isinstance(answer, ToolSucceeded)
            assert answer.gateway == second.peer


async def test_what_is_no_tool_call_becomes_a_dead_letter(rig: Rig) -> None:
    dead = ConsumerSpec(stream=rig.subjects.stream("DEAD"), name="test", filter_subject=rig.subjects.all_dead())
    await rig.bus.ensure_consumer(dead)
    async with rig.gateway(Desktop()):
        await rig.bus.publish(rig.subjects.tool("look"), b'{"run_id":"\xff', msg_id="1")
        (letter,) = await rig.bus.pull(dead.stream, dead.name).next_batch(10)
        await rig.settled()
    assert letter.body == b'{"run_id":"\xff'
    assert letter.subject == rig.subjects.dead("tools")
    rows = [row for row in await rig.store.dead.list(limit=1_000) if str(row.dead_id) == letter.headers[DEAD_ID_HEADER]]
    assert [row.origin for row in rows] == ["tools"]
    assert letter.headers[DEAD_ORIGIN_HEADER] == rig.subjects.tool("look")
    assert "ToolCall" in letter.headers[DEAD_REASON_HEADER]


async def test_a_wiped_broker_is_survived(rig: Rig) -> None:
    assert isinstance(rig.bus, MemoryBus)
    desktop = Desktop()
    turnstile = desktop.behaviour["look"] = Turnstile()
    async with rig.gateway(desktop):
        call = rig.call("look")
        await rig.send(call)
        await wait_until(lambda: turnstile.inside)
        rig.bus.broker.wipe()
        turnstile.open.set()
        for spec in stream_specs(rig.subjects, partitions=PARTITIONS):
            await rig.bus.ensure_stream(spec)
        mailbox = ConsumerSpec(stream=rig.subjects.stream("MAILBOX"), name="after", filter_subject=f"{rig.subjects.prefix}.mailbox.>")
        await rig.bus.ensure_consumer(mailbox)
        (answer,) = await rig.bus.pull(mailbox.stream, mailbox.name).next_batch(10)
        assert b"tool_succeeded" in answer.body
        await rig.send(rig.call("look"))
        await wait_until(lambda: len(desktop.began) == 2)


async def test_a_gateway_that_is_cancelled_takes_nothing_more_while_its_calls_come_to_their_end(rig: Rig) -> None:
    desktop = Desktop()
    running, leaving, done = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def slow_to_leave(ctx: ToolContext) -> str:
        running.set()
        try:
            return await asyncio.get_running_loop().create_future()
        finally:
            leaving.set()
            await done.wait()

    desktop.behaviour["look"] = slow_to_leave
    async with rig.gateway(desktop) as gateway:
        await rig.send(rig.call("look"))
        await running.wait()
        gateway.task.cancel()
        await leaving.wait()
        await rig.send(rig.call("look"))
        await wait_until(lambda: not gateway.gateway.pulling)
        done.set()
        await asyncio.wait([gateway.task])
    assert gateway.task.cancelled()
    assert await rig.count_tools() == 2
