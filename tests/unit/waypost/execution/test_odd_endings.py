"""Whatever an agent's code raises or returns, the run ends with something that can be recorded and read."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec import Raw

from tests.unit.waypost.execution.rig import RUN, START, Rig, entry
from waypost import Context, agent, tool
from waypost.execution import Execution, failure_of
from waypost_proto import commands as cmd
from waypost_proto import events as ev
from waypost_proto.codec import encode
from waypost_proto.errors import BadInput
from waypost_proto.limits import CLAIM_CHECK_BYTES, MAX_NESTING, MAX_PAYLOAD_BYTES


@tool(effect="read")
async def look(what: str) -> str:
    return what


class Mute(Exception):
    def __str__(self) -> str:
        raise LookupError("no text")

    __repr__ = __str__


class Opaque:
    def __repr__(self) -> str:
        raise LookupError("no text")


def nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels - 1):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (Mute(), "cannot be shown: LookupError"),
        (ValueError("lone \ud800 surrogate"), "lone ? surrogate"),
        (ValueError("x" * 5_000_000), "5000000 characters"),
        (ExceptionGroup("several", [Mute(), ValueError("\ud800")]), "ValueError: ?"),
    ],
    ids=["unprintable", "surrogate", "long", "group"],
)
def test_any_exception_fails_the_run_in_words_that_can_be_recorded(error: Exception, says: str) -> None:
    @agent
    async def raises(ctx: Context) -> None:
        raise error

    (failed,) = Rig(raises).items
    assert isinstance(failed, cmd.FailRun)
    assert failed.error.type == type(error).__name__
    assert says in failed.error.message
    assert len(encode(failed)) < CLAIM_CHECK_BYTES


def test_the_failure_of_a_step_can_always_be_recorded() -> None:
    assert "cannot be shown" in failure_of(Mute()).message
    assert encode(failure_of(ValueError("\ud800")))


@pytest.mark.parametrize(
    ("value", "says"),
    [(nested(MAX_NESTING + 1), "nested deeper than 64"), ("x" * MAX_PAYLOAD_BYTES, str(MAX_PAYLOAD_BYTES)), (Opaque(), "cannot be shown")],
    ids=["deep", "large", "opaque"],
)
def test_a_result_that_cannot_be_carried_fails_the_run(value: object, says: str) -> None:
    @agent
    async def returns(ctx: Context) -> Any:
        return value

    (failed,) = Rig(returns).items
    assert isinstance(failed, cmd.FailRun)
    assert failed.error.type == "ResultNotEncodable"
    assert says in failed.error.message


def test_a_result_at_the_limit_of_nesting_is_carried() -> None:
    @agent
    async def returns(ctx: Context) -> Any:
        return nested(MAX_NESTING)

    assert Rig(returns).result == nested(MAX_NESTING)


def test_what_cannot_be_carried_is_an_error_at_the_call_that_code_can_catch() -> None:
    @agent
    async def sends(ctx: Context, value: Any = None) -> str:
        try:
            await ctx.call(sends, nested(MAX_NESTING + 1))
        except BadInput as error:
            return str(error)
        return "carried"

    assert "nested deeper than 64" in Rig(sends).result


async def test_a_step_that_raises_stop_iteration_ends_and_one_that_is_too_deep_too() -> None:
    @agent
    async def steps(ctx: Context) -> None:
        await ctx.step(next, iter(()))

    @agent
    async def deep(ctx: Context) -> None:
        await ctx.step(nested, MAX_NESTING + 1)

    with pytest.raises(RuntimeError, match="StopIteration"):
        await Rig(steps).effects["0:1"].run()
    with pytest.raises(BadInput, match="nested deeper"):
        await Rig(deep).effects["0:1"].run()


@pytest.mark.parametrize("plain", [True, False], ids=["in a thread", "on the loop"])
async def test_a_generator_exit_of_a_step_is_its_failure_and_not_the_end_of_who_runs_it(plain: bool) -> None:
    def sync() -> None:
        raise GeneratorExit

    async def on_loop() -> None:
        raise GeneratorExit

    @agent
    async def steps(ctx: Context) -> None:
        await ctx.step(sync if plain else on_loop)

    with pytest.raises(RuntimeError, match="raised GeneratorExit"):
        await Rig(steps).effects["0:1"].run()


def test_a_finished_history_in_which_the_end_gave_calls_up_fits_its_own_code() -> None:
    """The end of a run cancels what its code had just asked for; nobody asked for that cancellation."""

    async def leaves_one(ctx: Context) -> str:
        await ctx.call(look, "a")
        asyncio.create_task(ctx.call(look, "b"))  # type: ignore[arg-type]  # noqa: RUF006
        await asyncio.sleep(0)
        return "done"

    leaving = agent(tools=[look], name="leaving")(leaves_one)
    rig = Rig(leaving)
    rig.answer("0:1", "A")
    ended = len(rig.recorder.log)
    assert rig.recorder.log[-1].type == "run_completed"
    cancelled = ev.ToolCallCancelled(seen=3, call_id="0.1:1", tool="look")  # type: ignore[arg-type]
    history = [*rig.recorder.log[: ended - 1], entry(ended, cancelled, START)]
    whole = [*history, entry(ended + 1, ev.RunCompleted(seen=3, result=Raw(b'"done"')), START)]

    other = Execution(leaving, RUN, start_effect=print)
    other.replay(whole, seen=3)
    assert not other.diverged
    assert other.take_items() == []

    other = Execution(leaving, RUN, start_effect=print)
    other.replay(history, seen=3)  # without the end the code must have asked for it
    assert other.diverged
