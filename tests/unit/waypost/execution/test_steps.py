"""Local steps: run outside the loop, recorded, counted against the allowance."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from msgspec import Struct

from tests.unit.waypost.execution.rig import START, Rig
from waypost import Context, StepFailed, Usage, agent, tool
from waypost.execution import failure_of
from waypost_proto import commands as cmd
from waypost_proto import usage as wire
from waypost_proto.errors import BadInput, ContractError
from waypost_proto.values import Failure


class Pair(Struct):
    left: int
    right: int


async def make_pair(left: int, right: int) -> Pair:
    return Pair(left, right)


def thread_name(prefix: str) -> str:
    return prefix + threading.current_thread().name


@agent
async def pairs(ctx: Context) -> int:
    pair = await ctx.step(make_pair, 1, 2)
    assert isinstance(pair, Pair)
    again = await ctx.step(make_pair, pair.right, 3, name="again")
    return again.left + again.right


@tool(effect="read")
async def any_tool() -> None:
    raise AssertionError


async def test_a_step_runs_outside_and_comes_back_as_its_type() -> None:
    rig = Rig(pairs)
    assert rig.items == []
    effect = rig.effects["0:1"]
    assert (effect.name, rig.execution.running) == ("make_pair", 1)
    assert await effect.run() == b'{"left":1,"right":2}'
    (step,) = rig.finish("0:1", {"left": 1, "right": 2}, at=START + 50)
    assert (step.id, step.name, step.at, bytes(step.result)) == ("0:1", "make_pair", START + 50, b'{"left":1,"right":2}')
    assert rig.effects["0:2"].name == "again"
    assert await rig.effects["0:2"].run() == b'{"left":2,"right":3}'
    rig.finish("0:2", {"left": 2, "right": 3})
    assert rig.result == 5
    assert rig.execution.running == 0


async def test_a_plain_function_runs_in_a_thread_and_a_lambda_has_a_name() -> None:
    @agent
    async def threads(ctx: Context) -> Any:
        return await asyncio.gather(ctx.step(thread_name, "in "), ctx.step(lambda: 3))

    rig = Rig(threads)
    name = await rig.effects["0.1:1"].run()
    assert name.startswith(b'"in ')
    assert threading.current_thread().name.encode() not in name
    assert rig.effects["0.2:1"].name == "<lambda>"
    assert await rig.effects["0.2:1"].run() == b"3"


def test_the_result_comes_before_what_it_causes_and_the_clock_never_goes_back() -> None:
    @agent
    async def steps(ctx: Context) -> None:
        await ctx.step(thread_name, "")
        ctx.set_state(ctx.time())
        await asyncio.sleep(1)

    rig = Rig(steps)
    step, state, timer = rig.finish("0:1", "x", at=3.0)
    assert isinstance(step, cmd.FinishStep)
    assert step.at == START + 1
    assert bytes(state.value) == b"1001.0"
    assert timer.fire_at == START + 2


def test_a_failed_step_raises_the_same_live_and_on_replay() -> None:
    @agent
    async def careful(ctx: Context) -> list[str]:
        try:
            await ctx.step(thread_name, "")
        except StepFailed as error:
            caught = [error.type, str(error)]
        await ctx.signal("go on")
        return caught

    rig = Rig(careful)
    rig.finish("0:1", error=failure_of(ValueError("no such name")))
    other = rig.again()
    assert other.items == []
    assert other.effects == {}
    signal = rig.recorder
    rig.signal("go on", None)
    other.execution.feed(signal.log)
    other.take()
    assert other.result == rig.result == ["ValueError", "step 'thread_name' (0:1): ValueError: no such name"]


async def test_errors_of_the_function_come_out_of_run() -> None:
    @agent
    async def odd(ctx: Context) -> None:
        await asyncio.gather(ctx.step(object), ctx.step(int, "x"))

    rig = Rig(odd)
    with pytest.raises(BadInput, match="result of step 'object' cannot be written as JSON"):
        await rig.effects["0.1:1"].run()
    with pytest.raises(ValueError, match="invalid literal"):
        await rig.effects["0.2:1"].run()


def test_what_is_no_function_is_refused() -> None:
    @agent(tools=[any_tool])
    async def wrong(ctx: Context) -> list[str]:
        messages = []
        bad: Any = ctx.step
        for argument in (any_tool, 3):
            try:
                await bad(argument)
            except TypeError as error:
                messages.append(str(error))
        return messages

    tool_message, value_message = Rig(wrong).result
    assert "await ctx.call" in tool_message
    assert "write ctx.step(f, x), not ctx.step(f(x))" in value_message


async def test_the_context_does_not_work_inside_a_step() -> None:
    @agent
    async def confused(ctx: Context) -> None:
        await ctx.step(lambda: ctx.set_state(1))

    rig = Rig(confused)
    with pytest.raises(ContractError, match="outside the agent's own code"):
        await rig.effects["0:1"].run()


# -- cancelling


def test_a_step_that_is_no_longer_wanted_is_told_and_its_result_dropped() -> None:
    @agent
    async def impatient(ctx: Context) -> str:
        try:
            await asyncio.wait_for(ctx.step(thread_name, ""), 5)
        except TimeoutError:
            await ctx.signal("end")
        return "gave up"

    rig = Rig(impatient)
    told: list[bool] = []
    effect = rig.effects["0:2"]
    effect.on_cancel = lambda: told.append(effect.wanted)
    (wait,) = rig.fire("0:1")
    assert isinstance(wait, cmd.AwaitSignal)
    assert told == [False]
    assert rig.execution.running == 1
    assert rig.finish("0:2", "late") == []
    assert rig.execution.running == 0
    other = rig.again()
    assert (other.items, other.effects) == ([], {})


def test_the_end_of_the_run_drops_what_still_runs() -> None:
    @agent
    async def hurried(ctx: Context) -> None:
        asyncio.create_task(ctx.step(thread_name, ""))  # noqa: RUF006 - nobody waits for it
        await ctx.signal("end")

    rig = Rig(hurried)
    effect = rig.effects["0.1:1"]
    rig.signal("end", None)
    assert rig.execution.finished
    assert not effect.wanted
    assert rig.finish("0.1:1") == []


# -- allowance


@agent
async def many(ctx: Context) -> Any:
    return await asyncio.gather(*(ctx.step(thread_name, str(n)) for n in range(3)))


def test_steps_beyond_the_allowance_ask_first() -> None:
    rig = Rig(many, steps_left=1)
    assert list(rig.effects) == ["0.1:1"]
    assert [(type(i), i.id) for i in rig.items] == [(cmd.RequestStep, "0.2:1"), (cmd.RequestStep, "0.3:1")]
    rig.execution.grant(0)
    assert list(rig.effects) == ["0.1:1", "0.2:1", "0.3:1"]
    assert rig.take() == []


def test_a_grant_counts_what_runs_without_having_asked() -> None:
    @agent
    async def two(ctx: Context) -> None:
        first = asyncio.create_task(ctx.step(thread_name, "a"))
        await ctx.signal("more")
        await asyncio.gather(first, ctx.step(thread_name, "b"))

    rig = Rig(two, steps_left=5)
    rig.execution.grant(1)  # the coordinator has one left, and does not know of the one that runs
    (request,) = rig.signal("more", None)[:1]
    assert isinstance(request, cmd.RequestStep)


def test_a_grant_is_not_for_what_was_asked_since(monkeypatch: pytest.MonkeyPatch) -> None:
    """An activation that was sent before the request comes while the advance before it is being stored: it knows nothing of the step."""

    @agent
    async def late(ctx: Context) -> None:
        await ctx.signal("more")
        await ctx.step(thread_name, "a")

    rig = Rig(late, steps_left=0)
    with monkeypatch.context() as patch:
        patch.setattr(rig, "take", list)
        rig.signal("more", None)
        rig.execution.grant(0)
        assert rig.effects == {}
    (request,) = [item for item in rig.take() if isinstance(item, cmd.RequestStep)]
    assert rig.effects == {}
    rig.execution.grant(0)
    assert list(rig.effects) == [request.id]


def test_replay_starts_what_was_counted_and_asks_for_the_rest() -> None:
    rig = Rig(many, steps_left=1)
    other = rig.again(steps_left=0)
    assert list(other.effects) == ["0.2:1", "0.3:1"]  # their requests are in the journal
    (request,) = other.items
    assert (type(request), request.id) == (cmd.RequestStep, "0.1:1")


@agent
async def spender(ctx: Context) -> Any:
    return await asyncio.gather(ctx.step(thread_name, "a", reserve=Usage(tokens=40, cost_usd="0.02")), ctx.step(thread_name, "b"))


def test_a_step_that_reserves_asks_first_where_that_is_limited() -> None:
    rig = Rig(spender, metered=True)
    assert list(rig.effects) == ["0.2:1"], "the other one reserves nothing"
    (request,) = rig.items
    assert (request.id, request.reserve, request.attempt) == ("0.1:1", wire.Usage(tokens=40, cost_micros=20_000), 1)
    rig.execution.metered(True, ["0.1:1"])
    rig.execution.grant(None)
    assert list(rig.effects) == ["0.2:1"], "it does not fit yet"
    rig.execution.metered(True)
    rig.execution.grant(None)
    assert list(rig.effects) == ["0.2:1", "0.1:1"]


def test_where_nothing_is_limited_a_reservation_costs_nothing() -> None:
    assert list(Rig(spender).effects) == ["0.1:1", "0.2:1"]


def test_tool_calls_take_from_the_allowance() -> None:
    @agent(tools=[any_tool])
    async def mixed(ctx: Context) -> None:
        call = asyncio.create_task(ctx.call(any_tool))
        await asyncio.sleep(0)
        await ctx.step(thread_name, "")
        await call

    rig = Rig(mixed, steps_left=1)
    assert [type(i) for i in rig.items] == [cmd.CallTool, cmd.RequestStep]


def test_a_cancelled_request_is_withdrawn() -> None:
    @agent
    async def impatient(ctx: Context) -> str:
        try:
            await asyncio.wait_for(ctx.step(thread_name, ""), 5)
        except TimeoutError:
            await ctx.signal("end")
        return "gave up"

    rig = Rig(impatient, steps_left=0)
    _, request = rig.items
    cancel, _ = rig.fire("0:1")
    assert isinstance(cancel, cmd.CancelCall)
    assert cancel.target == request.id
    rig.execution.grant(3)
    assert rig.effects == {}


def test_a_result_for_nothing_has_no_effect() -> None:
    rig = Rig(pairs)
    effect = rig.effects["0:1"]
    rig.finish("0:1", {"left": 1, "right": 2})
    rig.effects["0:1"] = effect
    assert rig.finish("0:1", {"left": 1, "right": 2}) == []


def test_a_failure_names_what_happened() -> None:
    assert failure_of(KeyError("x")) == Failure(type="KeyError", message="'x'")
    assert failure_of(ValueError()) == Failure(type="ValueError", message="ValueError()")
    group = ExceptionGroup("two", [ValueError("a"), KeyError("b")])
    assert failure_of(group).message == "two (2 sub-exceptions): ValueError: a; KeyError: 'b'"
