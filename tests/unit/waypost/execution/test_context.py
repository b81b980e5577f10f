"""What else the context offers: signals, state, the run's time and its random numbers; and how a run can end badly."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec import Raw

from tests.unit.waypost.execution.rig import RUN, START, Rig
from waypost import Context, agent
from waypost_proto import commands as cmd
from waypost_proto import events as ev
from waypost_proto.errors import BadInput
from waypost_proto.values import Failure

# -- signals


def test_signals_wait_until_they_are_asked_for_and_are_given_once() -> None:
    @agent
    async def listener(ctx: Context) -> list[Any]:
        await ctx.signal("start", str)
        return [await ctx.signal("n", int), await ctx.signal("n", int), await ctx.signal("n", int)]

    rig = Rig(listener)
    rig.signal("n", 1)
    rig.signal("n", 2)
    waits = rig.signal("start", "x")
    assert [item.name for item in waits] == ["n", "n", "n"]
    rig.signal("n", 3)
    assert rig.result == [1, 2, 3]
    assert rig.again().items == []


def test_a_payload_that_does_not_fit_raises() -> None:
    @agent
    async def listener(ctx: Context) -> str:
        try:
            await ctx.signal("n", int)
        except BadInput as error:
            return str(error)
        return ""

    rig = Rig(listener)
    rig.signal("n", "many")
    assert rig.result == "the payload of signal 'n' does not fit: Expected `int`, got `str` at $: 'many'"


def test_a_signal_that_comes_in_the_moment_of_cancellation_is_kept() -> None:
    @agent
    async def listener(ctx: Context) -> Any:
        wait = asyncio.create_task(ctx.signal("n", int))
        await ctx.signal("first")
        asyncio.get_running_loop().call_soon(wait.cancel)
        both = asyncio.create_task(ctx.signal("n", int))
        await asyncio.wait([wait])
        return [wait.cancelled(), await both]

    rig = Rig(listener)
    rig.signal("first", None)
    rig.signal("n", 5)
    assert rig.result == [True, 5]


# -- state, time, randomness


def test_state_is_shown() -> None:
    @agent
    async def shows(ctx: Context) -> None:
        ctx.set_state({"phase": "one"})
        with pytest.raises(BadInput, match="show a summary"):
            ctx.set_state("x" * 300_000)

    state, ending = Rig(shows).items
    assert bytes(state.value) == b'{"phase":"one"}'
    assert isinstance(ending, cmd.CompleteRun)


def test_the_context_knows_its_run_and_its_time() -> None:
    @agent
    async def who(ctx: Context) -> list[Any]:
        before = ctx.now()
        await asyncio.sleep(60)
        assert ctx.time() == asyncio.get_running_loop().time()
        keys = [ctx.idempotency_key]
        return [ctx.run_id, ctx.correlation_id, ctx.tenant, (ctx.now() - before).total_seconds(), before.tzname(), *keys]

    rig = Rig(who)
    rig.happens(_fired("0:1"), at=START + 5)  # a clock that is behind: the run's never is
    assert rig.result == [RUN, "case-7", "acme", 60, "UTC", f"{RUN}/run"]


def _fired(call_id: str) -> Any:
    from waypost_proto.events import TimerFired

    return TimerFired(call_id=call_id)  # type: ignore[arg-type]


def test_random_numbers_and_uuids_are_the_same_on_replay_and_differ_between_tasks() -> None:
    @agent
    async def chance(ctx: Context) -> list[Any]:
        async def draw() -> list[Any]:
            return [ctx.random().random(), ctx.random().randint(0, 10**9), str(ctx.uuid()), str(ctx.uuid())]

        drawn = await asyncio.gather(draw(), draw())
        await ctx.signal("go")
        return [*drawn, await draw()]

    rig = Rig(chance)
    other = rig.again()
    rig.signal("go", None)
    first = rig.result
    other.execution.feed(rig.recorder.log)
    other.take()
    assert other.result == first
    flat = [value for draws in first for value in draws]
    assert len(set(flat)) == len(flat)


def test_a_result_that_is_not_json_fails_the_run() -> None:
    @agent
    async def odd(ctx: Context) -> Any:
        return {object()}

    assert Rig(odd).failure.type == "ResultNotEncodable"


def test_code_that_spins_fails_the_run() -> None:
    @agent
    async def spins(ctx: Context) -> None:
        while True:
            await asyncio.sleep(0)

    rig = Rig(spins)
    assert rig.failure.type == "AgentSpins"
    assert rig.execution.finished


def test_exiting_fails_the_run_and_not_the_worker() -> None:
    @agent
    async def exits(ctx: Context) -> None:
        raise SystemExit(3)

    assert Rig(exits).failure.type == "SystemExit"


# -- where what the code was given came from


def test_labels_grow_with_what_the_code_is_given_and_are_the_same_on_replay() -> None:
    @agent
    async def reader(ctx: Context) -> list[list[str]]:
        seen = [sorted(ctx.taint)]
        for name in ("a", "b"):
            await ctx.signal(name)
            seen.append(sorted(ctx.taint))
        return seen

    rig = Rig(reader)
    rig.happens(ev.ChildCompleted(call_id="x", child_run_id=RUN, result=Raw(b"1"), taint=("web",)))
    rig.signal("a", 1)
    rig.happens(ev.ToolCallFailed(call_id="y", tool="t", attempt=1, error=Failure(type="X", message=""), taint=("mail",)))
    rig.signal("b", 1)
    assert rig.result == [[], ["web"], ["mail", "web"]]
    assert rig.again().items == []
