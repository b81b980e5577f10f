"""Replay by hand: what is taken from the journal, what is sent again, and what is a divergence (CORRECTNESS.md row 5)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
import structlog
from msgspec import Raw
from structlog.testing import capture_logs

from tests.unit.waypost.execution.rig import RUN, START, Rig, entry
from tests.unit.waypost.execution.world import started
from waypost import Agent, Context, agent, tool
from waypost.execution import EffectResult, Execution, LocalEffect, refs_of
from waypost_proto import commands as cmd
from waypost_proto import events as ev
from waypost_proto.errors import ContractError, NotFound
from waypost_proto.ids import digest_of
from waypost_proto.values import BlobRef


@tool(effect="read")
async def look(what: str) -> str:
    raise AssertionError


@tool(effect="unsafe")
async def act(what: str) -> str:
    raise AssertionError


def work(what: str) -> str:
    return what


@agent(tools=[look, act], name="racer")
async def racer(ctx: Context) -> str:
    """Takes another branch according to which of its two results came first."""
    first: list[str] = []

    async def note(name: str, awaitable: Any) -> None:
        await awaitable
        first.append(name)

    await asyncio.gather(note("tool", ctx.call(look, "a")), note("step", ctx.step(work, "b")))
    return await ctx.call(act, first[0])


def test_row_5_a_local_result_that_was_seen_first_is_replayed_first() -> None:
    """The log orders the tool's result before the step's, but the code saw its own result first."""
    rig = Rig(racer)
    # the tool's result is committed as event 3; the worker has not been given it when its step ends
    late = rig.recorder.append(ev.ToolCallCompleted(call_id="0.1:1", tool="look", attempt=1, result=Raw(b'"a"')))  # type: ignore[arg-type]
    rig.recorder.open.clear()
    rig.execution.finish_effect(EffectResult(call_id="0.2:1", at=START, result=b'"b"'))  # type: ignore[arg-type]
    (step,) = rig.execution.take_items()
    assert step.seen == 1
    rig.recorder.accept([step], 1)
    rig.execution.feed([late])
    (call,) = rig.take()
    assert bytes(call.args) == b'{"what":"step"}'
    assert [e.type for e in rig.recorder.log][2:] == ["tool_call_completed", "step_completed", "tool_call_requested"]

    other = rig.again()
    assert other.items == []
    assert not other.execution.diverged
    other.answer("0:1", "done")
    assert other.result == "done"


def variant(body: Any, *, tools: Any = (look, act)) -> Agent[..., Any]:
    return agent(tools=list(tools), name="variant")(body)


async def two_calls(ctx: Context) -> str:
    await ctx.call(look, "a")
    return await ctx.call(act, "b")


async def other_argument(ctx: Context) -> str:
    await ctx.call(look, "another")
    return await ctx.call(act, "b")


async def other_tool(ctx: Context) -> str:
    await ctx.call(act, "a")
    return await ctx.call(act, "b")


async def inserted(ctx: Context) -> str:
    await ctx.call(look, "a")
    await ctx.signal("new")
    return await ctx.call(act, "b")


async def removed(ctx: Context) -> str:
    await ctx.call(look, "a")
    return "nothing more"


async def step_instead(ctx: Context) -> str:
    await ctx.step(work, "a")
    return await ctx.call(act, "b")


async def timer_first(ctx: Context) -> str:
    await asyncio.sleep(1)
    return await ctx.call(act, "b")


async def raises(ctx: Context) -> str:
    raise ValueError("new")


@pytest.mark.parametrize(
    ("code", "expected", "found"),
    [
        (other_argument, "tool call 0:1 'look' with arguments", "tool call 0:1 'look' with arguments"),
        (other_tool, "tool call 0:1 'look'", "tool call 0:1 'act'"),
        (inserted, "tool call 0:2 'act'", "wait for signal 0:2 'new'"),
        (removed, "tool call 0:2 'act' with arguments", "code that does not ask for it"),
        (step_instead, "tool call 0:1 'look'", "local step 0:1 'work'"),
        (timer_first, "tool call 0:1 'look'", "timer 0:1"),
        (raises, "tool call 0:1 'look'", "code that does not ask for it"),
    ],
)
def test_other_code_diverges_readably(code: Any, expected: str, found: str) -> None:
    rig = Rig(variant(two_calls))
    rig.answer("0:1", "x")
    other = rig.again(variant(code))
    assert other.execution.diverged
    assert other.items[0].seen >= other.recorder.seen, "the coordinator takes no item that has seen less than it knows of"
    assert not other.execution.finished
    said = other.difference
    assert expected in said[0]
    assert "(event " in said[0]
    assert found in said[1]
    assert other.answer("0:2", "y") == []
    assert other.effects == {}


def test_a_recorded_step_that_nobody_asks_for_diverges() -> None:
    async def with_step(ctx: Context) -> None:
        await ctx.step(work, "a")
        await ctx.signal("end")

    async def without(ctx: Context) -> None:
        await ctx.signal("end")

    async def renamed(ctx: Context) -> None:
        await ctx.step(work, "a", name="other")
        await ctx.signal("end")

    rig = Rig(variant(with_step))
    rig.finish("0:1", "a")
    assert "wait for signal 0:1 'end'" in rig.again(variant(without)).difference[1]
    expected, found = rig.again(variant(renamed)).difference
    assert "local step 0:1 'work'" in expected
    assert "local step 0:1 'other'" in found


def test_a_missing_cancellation_diverges() -> None:
    async def gives_up(ctx: Context) -> None:
        task = asyncio.create_task(ctx.call(look, "a"))
        await ctx.signal("stop")
        task.cancel()
        await ctx.signal("end")

    async def keeps_on(ctx: Context) -> None:
        task = asyncio.create_task(ctx.call(look, "a"))
        await ctx.signal("stop")
        await ctx.signal("end")
        await task

    rig = Rig(variant(gives_up))
    rig.signal("stop", None)
    assert rig.again().items == []
    expected, _ = rig.again(variant(keeps_on)).difference
    assert "cancellation of 0.1:1" in expected


def test_options_and_durations_may_change() -> None:
    async def before(ctx: Context) -> None:
        await asyncio.gather(asyncio.sleep(5), ctx.call(look, "a"))

    async def after(ctx: Context) -> None:
        await asyncio.gather(asyncio.sleep(7), ctx.call(look.using(timeout=3), "a"))

    other = Rig(variant(before)).again(variant(after))
    assert other.items == []
    assert not other.execution.diverged


def test_something_new_beside_what_is_recorded_is_asked_for() -> None:
    async def before(ctx: Context) -> None:
        await asyncio.gather(ctx.call(look, "a"))

    async def after(ctx: Context) -> None:
        await asyncio.gather(ctx.call(look, "a"), ctx.call(look, "b"))

    other = Rig(variant(before)).again(variant(after))
    (call,) = other.items
    assert (call.id, bytes(call.args)) == ("0.2:1", b'{"what":"b"}')


def test_state_is_not_sent_again_unless_it_was_lost() -> None:
    async def shows(ctx: Context) -> None:
        ctx.set_state(1)
        await ctx.signal("more")
        ctx.set_state(2)
        await ctx.signal("end")

    rig = Rig(variant(shows))
    assert rig.again().items == []
    lost = rig.recorder.receive("more", Raw(b"null"))
    other = rig.again()
    assert [type(i) for i in other.items] == [cmd.SetState, cmd.AwaitSignal]
    assert other.execution.seen == lost.seq


def test_a_finished_run_asks_for_nothing() -> None:
    rig = Rig(variant(two_calls))
    rig.answer("0:1", "x")
    rig.answer("0:2", "y")
    other = rig.again()
    assert other.execution.finished
    assert other.items == []


def test_the_log_is_silent_while_it_replays() -> None:
    async def talks(ctx: Context) -> None:
        ctx.log.info("first")
        await ctx.call(look, "a")
        ctx.log.bind(part=2).warning("second", more=1)
        await ctx.signal("end")

    structlog.reset_defaults()
    with capture_logs() as live:
        rig = Rig(variant(talks))
        rig.answer("0:1", "x")
    assert [line["event"] for line in live] == ["first", "second"]
    assert live[1]["run_id"] == RUN
    assert (live[1]["part"], live[1]["more"], live[1]["log_level"]) == (2, 1, "warning")
    with capture_logs() as replayed:
        rig.again()
    assert replayed == []


def test_a_closed_run_does_nothing_more() -> None:
    cleaned: list[str] = []

    async def cleans_up(ctx: Context) -> None:
        try:
            await ctx.call(look, "a")
        finally:
            cleaned.append("here")
            ctx.log.info("never")
            await ctx.call(act, "undo")
            cleaned.append("never")

    rig = Rig(variant(cleans_up))
    with capture_logs() as lines:
        rig.execution.close()
        rig.execution.close()
    assert cleaned == ["here"]
    assert lines == []
    assert rig.take() == []
    assert rig.answer("0:1", "x") == []


@pytest.mark.parametrize("end", ["close", "diverge"])
def test_code_that_catches_everything_does_not_hang_the_worker(end: str) -> None:
    async def stubborn(ctx: Context) -> None:
        while True:
            try:
                await ctx.call(look, "a")
                await asyncio.sleep(1)
            except BaseException:  # noqa: BLE001 - that is what is tested
                continue

    async def even_so(ctx: Context) -> None:
        while True:
            try:
                await ctx.call(look, "b")
                await ctx.step(work, "c")
            except BaseException:  # noqa: BLE001 - that is what is tested
                continue

    rig = Rig(variant(stubborn))
    if end == "close":
        rig.execution.close()
        assert rig.take() == []
    else:
        assert rig.again(variant(even_so)).execution.diverged
        rig.execution.close()


def test_dropping_a_run_closes_it() -> None:
    cleaned: list[str] = []

    async def cleans_up(ctx: Context) -> None:
        try:
            await asyncio.gather(ctx.call(look, "a"), ctx.step(work, "b"))
        finally:
            cleaned.append("here")
            ctx.set_state("never")
            cleaned.append("never")

    effects: list[LocalEffect] = []
    execution = Execution(variant(cleans_up), RUN, start_effect=effects.append)
    execution.feed([started(b"null")])
    (effect,) = effects
    del execution
    assert cleaned == ["here"]
    assert not effect.wanted


def test_a_context_of_another_run_is_refused() -> None:
    kept: list[Context] = []

    async def keeps(ctx: Context) -> None:
        kept.append(ctx)
        await ctx.signal("end")

    async def borrows(ctx: Context) -> None:
        await kept[0].call(look, "a")

    other = Rig(variant(keeps))
    assert "outside the agent's own code" in Rig(variant(borrows)).failure.message
    other.execution.close()
    assert "outside the agent's own code" in Rig(variant(borrows)).failure.message, "nor is that of a run that was let go"


def test_replay_comes_first() -> None:
    rig = Rig(variant(two_calls))
    with pytest.raises(ContractError, match="make a new Execution"):
        rig.execution.replay(rig.recorder.log, seen=1)


# -- large values


def test_large_values_are_passed_as_blobs() -> None:
    body = b'"a large answer"'
    ref = BlobRef(sha256=digest_of(body), size=len(body))
    rig = Rig(variant(two_calls))
    answer = entry(3, ev.ToolCallCompleted(call_id="0:1", tool="look", attempt=1, result_ref=ref), START)  # type: ignore[arg-type]
    assert refs_of([answer]) == [ref]
    with pytest.raises(NotFound, match=ref.sha256):
        rig.execution.feed([answer])
    assert rig.execution.seen == 1
    rig.execution.feed([answer], {ref.sha256: body})
    (call,) = rig.take()
    assert call.id == "0:2"

    other = Execution(variant(two_calls), RUN, start_effect=print)
    other.replay([*rig.recorder.log[:2], answer, *rig.recorder.log[2:]], seen=3, blobs={ref.sha256: body})
    assert not other.diverged


def test_arguments_that_were_sent_by_reference_are_compared_by_digest() -> None:
    rig = Rig(variant(two_calls))
    request = entry(
        2,
        ev.ToolCallRequested(
            seen=1,
            call_id="0:1",  # type: ignore[arg-type]
            tool="look",
            args_ref=BlobRef(sha256=digest_of(b'{"what":"a"}'), size=12),
            args_digest=digest_of(b'{"what":"a"}'),
            idempotency_key="k",
        ),
        START,
    )
    other = Execution(variant(two_calls), RUN, start_effect=print)
    other.replay([rig.recorder.log[0], request], seen=1)
    assert not other.diverged
    assert other.take_items() == []
