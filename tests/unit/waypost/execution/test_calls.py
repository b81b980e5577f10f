"""What an agent's code can call, and what comes back: tools, children, signals, timers, state, errors."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from msgspec import Struct

from tests.unit.waypost.execution.rig import START, Rig
from waypost import (
    Approval,
    ApprovalDenied,
    Budget,
    Context,
    Retry,
    ToolContext,
    ToolDenied,
    ToolFailed,
    agent,
    remote_tool,
    tool,
)
from waypost_proto import commands as cmd
from waypost_proto.errors import BadInput


class Case(Struct):
    id: str
    account: str


@tool(effect="read", retry=Retry(max_attempts=8), timeout=10)
async def core_banking(account: str) -> dict[str, Any]:
    raise AssertionError("tools run in the gateway")


@tool(effect="read")
async def sanctions(account: str) -> list[str]:
    raise AssertionError


@tool(effect="unsafe")
async def file_report(ctx: ToolContext, case: Case, risk: float) -> str:
    raise AssertionError


@tool(effect="read")
async def unlisted() -> None:
    raise AssertionError


@agent
async def scoring(ctx: Context, case: Case) -> float:
    raise AssertionError("children run elsewhere")


@agent(tools=[core_banking, sanctions, file_report], budget=Budget(max_steps=50, max_cost_usd=2))
async def compliance(ctx: Context, case: Case) -> str:
    account, hits = await asyncio.gather(ctx.call(core_banking, case.account), ctx.call(sanctions, case.account))
    risk = 0.9 if hits else account["risk"]
    gate = Approval(role="officer", expires=timedelta(hours=48)) if risk > 0.7 else None
    return await ctx.call(file_report.using(approval=gate), case, risk)


CASE = {"id": "c1", "account": "a1"}


def test_the_example_of_the_design() -> None:
    rig = Rig(compliance, CASE)
    first, second = rig.items
    assert (first.id, first.tool, bytes(first.args)) == ("0.1:1", "core-banking", b'{"account":"a1"}')
    assert (second.id, second.tool, second.seen) == ("0.2:1", "sanctions", 1)
    assert rig.answer("0.2:1", ["list of names"]) == []
    (report,) = rig.answer("0.1:1", {"risk": 0.1})
    assert report.id == "0:1"
    assert bytes(report.args) == b'{"case":{"id":"c1","account":"a1"},"risk":0.9}'
    assert (report.approval.role, report.approval.expires_seconds) == ("officer", 48 * 3600)
    rig.answer("0:1", "filed")
    assert rig.result == "filed"
    assert rig.execution.finished


@pytest.mark.parametrize(
    ("value", "path", "found"),
    [({"id": "c1"}, "account", "c1"), ({"id": 7, "account": "a"}, "$.id", "7"), (None, "$", "None"), ([1], "$", "[1]")],
)
def test_input_that_does_not_fit_fails_the_run_with_path_and_value(value: object, path: str, found: str) -> None:
    rig = Rig(compliance, value)
    assert rig.failure.type == "InputInvalid"
    assert path in rig.failure.message
    assert found in rig.failure.message
    assert rig.execution.finished


def test_a_failed_call_raises_where_it_was_made() -> None:
    raised: list[Exception] = []

    @agent(tools=[core_banking])
    async def careful(ctx: Context) -> str:
        for _ in range(3):
            try:
                await ctx.call(core_banking, "a")
            except (ToolFailed, ToolDenied) as error:
                raised.append(error)
        return "went on"

    rig = Rig(careful)
    rig.refuse("0:1", "Timeout", "after 10 s")
    rig.refuse("0:2", "ToolDenied")
    rig.refuse("0:3", "ApprovalDenied")
    assert rig.result == "went on"
    assert [type(e) for e in raised] == [ToolFailed, ToolDenied, ApprovalDenied]
    assert str(raised[0]) == "tool 'core-banking' (call 0:1): Timeout: after 10 s"
    assert isinstance(raised[0], ToolFailed)
    assert (raised[0].type, raised[0].tool, raised[0].call_id) == ("Timeout", "core-banking", "0:1")


def test_an_error_nobody_catches_fails_the_run() -> None:
    @agent(tools=[core_banking])
    async def careless(ctx: Context) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(ctx.call(core_banking, "a"))

    rig = Rig(careless)
    rig.refuse("0.1:1", "Timeout", "after 10 s")
    assert rig.failure.type == "ExceptionGroup"
    assert "ToolFailed: tool 'core-banking' (call 0.1:1): Timeout: after 10 s" in rig.failure.message
    assert b"traceback" in bytes(rig.failure.details)  # type: ignore[arg-type]


def test_what_is_not_listed_is_denied_at_the_call() -> None:
    denied: list[str] = []

    @agent(tools=[core_banking])
    async def curious(ctx: Context) -> None:
        for call in (lambda: ctx.call(unlisted), lambda: ctx.call(scoring, Case("", ""))):
            try:
                await call()
            except ToolDenied as error:
                denied.append(str(error))
        try:
            ctx.start(scoring, Case("", ""))
        except ToolDenied as error:
            denied.append(str(error))

    rig = Rig(curious)
    assert [type(item) for item in rig.items] == [cmd.CompleteRun]
    assert "add it to its tools=[…]" in denied[0]
    assert "agent 'curious' may not call 'scoring': add it to its agents=[…]" in denied[1]
    assert denied[2] == denied[1]


def test_arguments_are_checked_like_a_call() -> None:
    @agent(tools=[core_banking])
    async def clumsy(ctx: Context) -> list[str]:
        messages = []
        bad: Any = ctx.call
        for args, kwargs in [((), {}), (("a", "b"), {}), (("a",), {"acount": "b"}), ((object(),), {})]:
            try:
                await bad(core_banking, *args, **kwargs)
            except (TypeError, BadInput) as error:
                messages.append(str(error))
        return messages

    rig = Rig(clumsy)
    missing, many, unknown, not_json = rig.result
    assert "misses 'account'" in missing
    assert "takes 1 positional arguments, 2 were given" in many
    assert "no parameter 'acount'" in unknown
    assert "cannot be written as JSON" in not_json


def test_a_result_that_is_not_what_was_declared_raises_at_the_call() -> None:
    @agent(tools=[sanctions])
    async def strict(ctx: Context) -> str:
        try:
            await ctx.call(sanctions, "a")
        except BadInput as error:
            return str(error)
        return ""

    rig = Rig(strict)
    rig.answer("0:1", ["a", 2])
    assert rig.result == "the result of tool 'sanctions' does not fit: Expected `str`, got `int` at $[1]: 2"


def test_results_come_back_as_the_declared_type() -> None:
    class Answer(Struct):
        risk: float

    @tool(effect="read")
    async def assess(case: Case) -> Answer:
        raise AssertionError

    elsewhere = remote_tool("elsewhere", Case, Answer)

    @agent(tools=[assess, elsewhere])
    async def typed(ctx: Context) -> float:
        one = await ctx.call(assess, Case("1", "a"))
        two = await ctx.call(elsewhere, Case("2", "b"))
        assert isinstance(one, Answer)
        assert isinstance(two, Answer)
        return one.risk + two.risk

    rig = Rig(typed)
    assert bytes(rig.items[0].args) == b'{"case":{"id":"1","account":"a"}}'
    (second,) = rig.answer("0:1", {"risk": 1})
    assert bytes(second.args) == b'{"account":"b","id":"2"}' or bytes(second.args) == b'{"id":"2","account":"b"}'
    rig.answer("0:2", {"risk": 0.5})
    assert rig.result == 1.5


def test_options_of_one_call() -> None:
    @agent(tools=[core_banking], agents=[scoring])
    async def options(ctx: Context) -> None:
        await asyncio.gather(
            ctx.call(core_banking.using(timeout=timedelta(minutes=1), retry=Retry(max_attempts=2)), "a"),
            ctx.call(scoring.using(budget=Budget(max_steps=3), timeout=9), Case("", "")),
        )

    call, child = Rig(options).items
    assert (call.timeout_seconds, call.retry.max_attempts, call.approval) == (60, 2, None)
    assert (child.timeout_seconds, child.budget.max_steps) == (9, 3)


def test_a_call_that_is_no_longer_awaited_is_cancelled() -> None:
    @agent(tools=[core_banking])
    async def impatient(ctx: Context) -> str:
        try:
            async with asyncio.timeout(5):
                await ctx.call(core_banking, "a")
        except TimeoutError:
            return "gave up"
        return "got it"

    rig = Rig(impatient)
    timer, call = rig.items
    assert isinstance(timer, cmd.StartTimer)
    assert timer.fire_at == START + 1 + 5
    cancel, ending = rig.fire(timer.id)
    assert isinstance(cancel, cmd.CancelCall)
    assert cancel.target == call.id
    assert rig.result == "gave up"
    assert isinstance(ending, cmd.CompleteRun)


def test_the_answer_of_a_cancelled_call_has_no_effect() -> None:
    @agent(tools=[core_banking])
    async def impatient(ctx: Context) -> str:
        task = asyncio.create_task(ctx.call(core_banking, "a"))
        await ctx.signal("go on")
        task.cancel()
        await ctx.signal("end")
        return "ended"

    rig = Rig(impatient)
    assert [type(i) for i in rig.signal("go on", None)] == [cmd.AwaitSignal, cmd.CancelCall]
    assert rig.answer("0.1:1", {}) == []
    rig.signal("end", None)
    assert rig.result == "ended"
