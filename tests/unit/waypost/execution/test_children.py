"""Child runs: called like tools, started and awaited later, cancelled."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec import Struct

from tests.unit.waypost.execution.rig import RUN, Rig
from waypost import ChildFailed, Context, agent
from waypost_proto import commands as cmd
from waypost_proto.ids import child_run_id
from waypost_proto.values import RunStatus


class Case(Struct):
    id: str
    account: str


CASE = {"id": "c1", "account": "a1"}


@agent
async def scoring(ctx: Context, case: Case) -> float:
    raise AssertionError("children run elsewhere")


def test_a_child_run_is_called_like_a_tool() -> None:
    @agent(tools=[scoring])
    async def parent(ctx: Context, case: Case) -> float:
        return await ctx.call(scoring, case)

    rig = Rig(parent, CASE)
    (child,) = rig.items
    assert (child.agent, bytes(child.input)) == ("scoring", b'{"id":"c1","account":"a1"}')
    rig.child_answers("0:1", 0.25)
    assert rig.result == 0.25


def test_a_started_child_is_awaited_later_or_cancelled() -> None:
    @agent(agents=[scoring])
    async def parent(ctx: Context, case: Case) -> list[Any]:
        kept, dropped = ctx.start(scoring, case), ctx.start(scoring, case)
        assert kept.run_id == child_run_id(RUN, "0:1")  # type: ignore[arg-type]
        await ctx.signal("later")
        dropped.cancel()
        dropped.cancel()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(kept.result(), 1)
        return [await kept, await kept.result()]

    rig = Rig(parent, CASE)
    assert [type(i) for i in rig.items] == [cmd.StartChild, cmd.StartChild, cmd.AwaitSignal]
    cancel, timer = rig.signal("later", None)
    assert cancel.target == "0:2"
    assert rig.fire(timer.id) == []
    rig.child_answers("0:1", 0.5)
    assert rig.result == [0.5, 0.5]


@pytest.mark.parametrize("status", [RunStatus.FAILED, RunStatus.CANCELLED])
def test_a_child_that_ends_without_a_result_raises(status: RunStatus) -> None:
    @agent(agents=[scoring])
    async def parent(ctx: Context, case: Case) -> list[str]:
        try:
            await ctx.call(scoring, case)
        except ChildFailed as error:
            return [error.status.value, str(error)]
        return []

    rig = Rig(parent, CASE)
    rig.child_fails("0:1", status)
    message = f"child run {child_run_id(RUN, '0:1')} of 'scoring' {status.value}: Broken: child broke"  # type: ignore[arg-type]
    assert rig.result == [status.value, message]


def test_an_agent_may_call_itself() -> None:
    @agent(name="countdown")
    async def countdown(ctx: Context, n: int) -> int:
        return 0 if n == 0 else await ctx.call(countdown, n - 1)

    (child,) = Rig(countdown, 2).items
    assert (child.agent, bytes(child.input)) == ("countdown", b"1")
