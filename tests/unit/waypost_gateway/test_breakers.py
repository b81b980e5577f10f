"""Breakers and rates of gateways that work beside each other: what calls meet, and what the gateways tell each other."""

from __future__ import annotations

import asyncio

import pytest

from tests.unit.waypost_gateway.rig import Desktop, Gate, Rig
from tests.waiting import wait_until
from waypost import Breaker, DoNotRetry, ToolContext
from waypost_proto.mailbox import ToolDeferred, ToolFailed, ToolSucceeded, ToolUncertain

FRAGILE = Breaker(failures=3, window_seconds=60, open_seconds=60)
BRITTLE = Breaker(failures=1, window_seconds=60, open_seconds=0.4)


async def broken(_: ToolContext) -> object:
    raise RuntimeError("the other side is down")


@pytest.mark.parametrize("name", ["look", "put", "post"])
async def test_a_failing_tool_is_left_alone_from_the_next_call_on(rig: Rig, name: str) -> None:
    desktop = Desktop(breaker=FRAGILE)
    desktop.behaviour[name] = broken
    async with rig.gateway(desktop) as running:
        for _ in range(3):
            assert isinstance(await rig.run(rig.call(name)), ToolFailed | ToolUncertain)
        call = rig.call(name)
        answer = await rig.run(call)
        assert isinstance(answer, ToolDeferred)
        assert 59 < answer.retry_after_seconds < 70
        assert "RuntimeError" in answer.message
        assert len(desktop.began) == 3
        if call.permit:
            assert (await rig.row(call)).state == "permitted"  # nothing was started, the same attempt may be sent again
        await rig.settled()
        page = running.metrics.registry.render().decode()
    assert f'waypost_gateway_breaker_open{{tool="{name}"}} 1' in page
    assert f'outcome="deferred",tool="{name}"' in page or f'tool="{name}",outcome="deferred"' in page


async def test_another_gateway_hears_of_it_and_so_does_one_that_joins(rig: Rig) -> None:
    first, second, third = Desktop(breaker=FRAGILE), Desktop(breaker=FRAGILE), Desktop(breaker=FRAGILE)
    first.behaviour["look"] = broken
    async with rig.gateway(first) as one:
        for _ in range(3):
            await rig.run(rig.call("look"))
        async with rig.gateway(second):  # it joins: the others answer its hello
            await wait_until(lambda: rig.news_of("look"))
            await one.__aexit__(None, None, None)  # whatever comes now is for the second
            assert isinstance(await rig.run(rig.call("look")), ToolDeferred)
            async with rig.gateway(third):
                assert isinstance(await rig.run(rig.call("look")), ToolDeferred)
    assert second.began == []
    assert third.began == []


async def test_one_call_is_let_through_and_what_becomes_of_it_decides(rig: Rig) -> None:
    desktop = Desktop(breaker=BRITTLE)
    desktop.behaviour["put"] = broken
    async with rig.gateway(desktop):
        await rig.run(rig.call("put"))
        gate = Gate(desktop)
        desktop.behaviour["put"] = gate

        async def admitted() -> bool:
            await rig.run(rig.call("put")) if not desktop.effects else None
            return bool(desktop.effects)

        probing = asyncio.create_task(wait_until(admitted))
        await wait_until(lambda: desktop.effects)
        assert isinstance(await rig.run(rig.call("put")), ToolDeferred)  # while the one is under way
        gate.open.set()
        await probing
        assert isinstance(await rig.run(rig.call("put")), ToolSucceeded)


async def test_an_error_that_is_about_the_call_says_nothing_of_the_tool(rig: Rig) -> None:
    desktop = Desktop(breaker=Breaker(failures=1, ignore=("LookupError",)))

    async def wrong(ctx: ToolContext) -> object:
        raise KeyError("no such customer") if ctx.attempt == 1 else DoNotRetry("closed account")

    desktop.behaviour["look"] = wrong
    async with rig.gateway(desktop):
        for attempt in (1, 2):
            assert isinstance(await rig.run(rig.call("look", attempt=attempt)), ToolFailed)
        desktop.behaviour.clear()
        assert isinstance(await rig.run(rig.call("look")), ToolSucceeded)


async def test_gateways_without_such_tools_say_nothing(rig: Rig) -> None:
    async with rig.gateway(Desktop()):
        await rig.run(rig.call("look"))
    assert rig.news == []


async def test_calls_wait_for_their_rate_in_the_queue_and_not_in_a_slot(rig: Rig) -> None:
    desktop = Desktop(rate="2/h")
    async with rig.gateway(desktop) as running:
        calls = [rig.call("put") for _ in range(5)]
        for call in calls:
            await rig.permit(call)
            await rig.send(call)
        await wait_until(lambda: len(desktop.effects) == 2)
        await wait_until(lambda: running.metrics.running.value == 0)
        assert len(desktop.effects) == 2
        assert await rig.count_tools() == 3
        states = [(await rig.row(call)).state for call in calls]
        assert sorted(states) == ["done", "done", "permitted", "permitted", "permitted"]


async def test_two_gateways_share_a_rate(rig: Rig) -> None:
    first, second = Desktop(rate="4/h"), Desktop(rate="4/h")
    async with rig.gateway(first), rig.gateway(second):
        await wait_until(lambda: {news.gateway for news in rig.news if news.news == "here"} == {news.gateway for news in rig.news})
        for _ in range(12):
            call = rig.call("look")
            await rig.send(call)
        await wait_until(lambda: len(first.began) + len(second.began) == 4)
        await wait_until(lambda: len(rig.news) > 8)  # more beats go by
        assert (len(first.began), len(second.began)) == (2, 2)


async def test_what_is_refused_uses_nothing_of_the_rate(rig: Rig) -> None:
    desktop = Desktop(rate="2/h")
    async with rig.gateway(desktop):
        for _ in range(3):
            await rig.run(rig.call("look", agent="nobody"))
        for _ in range(2):
            assert isinstance(await rig.run(rig.call("look")), ToolSucceeded)


async def test_news_that_cannot_be_read_changes_nothing(rig: Rig) -> None:
    desktop = Desktop(breaker=FRAGILE)
    async with rig.gateway(desktop):
        rig.bus.send(rig.subjects.gateways(), b"{")
        assert isinstance(await rig.run(rig.call("look")), ToolSucceeded)
