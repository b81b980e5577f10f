"""Mode `execute` with a healthy ledger: policy, arguments, effects, answers. Everything in memory."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.unit.waypost_gateway.rig import AGENT, Desktop, Rig
from tests.waiting import wait_until
from waypost import DoNotRetry, NotExecuted, RetryLater, ToolContext
from waypost_proto.codec import encode
from waypost_proto.ids import digest_of
from waypost_proto.limits import CLAIM_CHECK_BYTES, MAX_PAYLOAD_BYTES
from waypost_proto.mailbox import ToolFailed, ToolRefused, ToolSucceeded, ToolUncertain
from waypost_proto.values import BlobRef, Effect
from waypost_proto.work import Stop

TOOLS = ["look", "put", "post"]


@pytest.mark.parametrize("name", TOOLS)
async def test_a_call_is_executed_once_and_answered(rig: Rig, name: str) -> None:
    desktop = Desktop()
    async with rig.gateway(desktop) as running:
        call = rig.call(name)
        answer = await rig.run(call)
        await rig.settled()
    assert isinstance(answer, ToolSucceeded)
    assert (bytes(answer.result), answer.via, answer.attempt) == (b'"ok"', "call", 1)
    assert answer.gateway == running.peer
    assert desktop.effects == {call.idempotency_key: 1}
    if call.permit:
        row = await rig.row(call)
        assert (row.state, row.result) == ("done", encode(answer))


async def test_the_context_says_which_call_it_is(rig: Rig) -> None:
    desktop = Desktop()
    async with rig.gateway(desktop):
        call = rig.call("put", correlation_id="c-7", tenant="acme", attempt=3)
        await rig.run(call)
    ctx = desktop.began[0]
    assert (ctx.run_id, ctx.call_id, ctx.attempt, ctx.agent) == (call.run_id, call.call_id, 3, AGENT)
    assert (ctx.idempotency_key, ctx.correlation_id, ctx.tenant) == (call.idempotency_key, "c-7", "acme")
    assert ctx.deadline is not None


# -- policy and arguments


async def test_a_tool_that_the_agent_does_not_list_is_denied_and_a_newly_listed_one_is_not(rig: Rig) -> None:
    desktop = Desktop()
    await rig.allow(["look"], agent="guest")
    async with rig.gateway(desktop):
        denied = await rig.run(rig.call("post", agent="guest"))
        assert isinstance(denied, ToolRefused)
        assert denied.error.type == "ToolDenied"
        assert isinstance(await rig.run(rig.call("post", agent="nobody")), ToolRefused)
        await rig.allow(["post"], agent="guest", build="b2")
        assert isinstance(await rig.run(rig.call("post", agent="guest")), ToolSucceeded)
        assert isinstance(await rig.run(rig.call("look", agent="guest")), ToolSucceeded), "listed by an older build that may still run"
    assert desktop.total_effects == 2


@pytest.mark.parametrize("name", TOOLS)
async def test_forged_arguments_are_refused(rig: Rig, name: str) -> None:
    desktop = Desktop()
    async with rig.gateway(desktop):
        forged = rig.call(name, b'{"amount":1000000}', args_digest=digest_of(b'{"amount":1}'))
        answer = await rig.run(forged)
    assert isinstance(answer, ToolRefused)
    assert answer.error.type == "ArgumentsAltered"
    assert desktop.began == []


async def test_other_arguments_with_a_digest_of_their_own_meet_the_permit(rig: Rig) -> None:
    desktop = Desktop()
    async with rig.gateway(desktop):
        honest = rig.call("post")
        await rig.permit(honest)
        forged = rig.call("post", b'{"amount":1000000}', run_id=honest.run_id, call_id=honest.call_id)
        await rig.send(forged)
        answer = await rig.answer(honest)
        assert isinstance(answer, ToolRefused)
        assert answer.error.type == "KeyReused"
        assert desktop.began == []
        await rig.send(honest)
        assert isinstance(await rig.answer(honest, 2), ToolSucceeded)


@pytest.mark.parametrize("name", ["look", "post"])
async def test_invalid_arguments_fail_for_good_with_path_and_value_before_anything_starts(rig: Rig, name: str) -> None:
    desktop = Desktop()
    async with rig.gateway(desktop):
        call = rig.call(name, b'{"amount":"ten"}')
        answer = await rig.run(call)
    assert isinstance(answer, ToolFailed)
    assert (answer.error.type, answer.retryable) == ("ArgumentsInvalid", False)
    assert "$.amount" in answer.error.message
    assert "'ten'" in answer.error.message
    assert desktop.began == []
    if call.permit:
        assert (await rig.row(call)).state == "permitted"


async def test_large_arguments_come_from_the_database(rig: Rig) -> None:
    desktop = Desktop()
    args = b'{"amount":' + b" " * 300_000 + b"7}"
    async with rig.gateway(desktop):
        ref = BlobRef(sha256=await rig.store.blobs.put(args), size=len(args))
        assert isinstance(await rig.run(rig.call("look", args, args_ref=ref)), ToolSucceeded)
        missing = BlobRef(sha256=digest_of(b"nowhere"), size=7)
        answer = await rig.run(rig.call("look", b"nowhere", args_ref=missing))
    assert isinstance(answer, ToolRefused)
    assert answer.error.type == "ArgumentsMissing"


@pytest.mark.parametrize(
    "more", [{"permit": False}, {"permit": False, "effect": Effect.READ}], ids=["without a permit", "as if it were a read"]
)
async def test_an_unsafe_tool_never_runs_without_a_permit(rig: Rig, more: dict[str, Any]) -> None:
    desktop = Desktop()
    async with rig.gateway(desktop):
        answer = await rig.run(rig.call("post", **more))
    assert isinstance(answer, ToolRefused)
    assert answer.error.type == "PermitMissing"
    assert desktop.began == []


async def test_a_message_without_a_row_in_the_ledger_is_refused(rig: Rig) -> None:
    desktop = Desktop()
    async with rig.gateway(desktop):
        call = rig.call("post")
        await rig.send(call)
        answer = await rig.answer(call)
    assert isinstance(answer, ToolRefused)
    assert answer.error.type == "PermitMissing"
    assert desktop.began == []


async def test_nothing_starts_after_the_deadline_of_its_run(rig: Rig) -> None:
    desktop = Desktop()
    async with rig.gateway(desktop):
        past = await rig.store.leases.now() - 60
        for name in TOOLS:
            answer = await rig.run(rig.call(name, deadline_at=past))
            assert isinstance(answer, ToolFailed)
            assert (answer.error.type, answer.retryable) == ("DeadlineExceeded", False)
    assert desktop.began == []


# -- how tools fail


def _raising(error: BaseException) -> Any:
    async def behave(ctx: ToolContext) -> None:
        raise error

    return behave


@pytest.mark.parametrize("name", TOOLS)
@pytest.mark.parametrize(
    ("error", "retryable", "retry_after"),
    [(NotExecuted("busy", retry_after=4.5), True, 4.5), (NotExecuted("busy"), True, None), (DoNotRetry("no such account"), False, None)],
)
async def test_what_surely_had_no_effect_is_a_failed_attempt(
    rig: Rig, name: str, error: BaseException, retryable: bool, retry_after: float | None
) -> None:
    desktop = Desktop()
    desktop.behaviour[name] = _raising(error)
    async with rig.gateway(desktop):
        call = rig.call(name)
        answer = await rig.run(call)
        assert isinstance(answer, ToolFailed)
        assert (answer.error.message, answer.retryable, answer.retry_after_seconds) == (str(error), retryable, retry_after)
        if call.permit:
            assert (await rig.row(call)).state == "failed"
        del desktop.behaviour[name]
        again = rig.call(name, run_id=call.run_id, call_id=call.call_id, attempt=2)
        if call.permit:
            await rig.permit(again)
        await rig.send(again)
        assert isinstance(await rig.answer(again, 2), ToolSucceeded)
    assert desktop.effects == {call.idempotency_key: 1}


@pytest.mark.parametrize(
    ("error", "kind"),
    [(ValueError("broken"), "ValueError"), (RetryLater("slow down", retry_after=9), "RetryLater"), (SystemExit(3), "SystemExit")],
)
async def test_any_other_error_is_a_failed_attempt_for_reads_and_doubt_for_unsafe_calls(rig: Rig, error: BaseException, kind: str) -> None:
    desktop = Desktop()
    desktop.behaviour = {name: _raising(error) for name in TOOLS}
    async with rig.gateway(desktop):
        for name in ("look", "put"):
            answer = await rig.run(rig.call(name))
            assert isinstance(answer, ToolFailed)
            assert (answer.error.type, answer.retryable) == (kind, True)
            assert answer.retry_after_seconds == (9 if kind == "RetryLater" else None)
        call = rig.call("post")
        doubt = await rig.run(call)
    assert isinstance(doubt, ToolUncertain)
    assert doubt.error.type == kind
    assert doubt.settle_seconds > 4.0, "not before timeout, grace and settle time are over"
    assert (await rig.row(call)).state == "doubt"


async def test_timeouts(rig: Rig) -> None:
    desktop = Desktop(timeout=60)

    async def hang(ctx: ToolContext) -> None:
        await asyncio.Event().wait()

    desktop.behaviour = dict.fromkeys(TOOLS, hang)
    async with rig.gateway(desktop):
        calls = [rig.call(name, timeout_seconds=0.05) for name in TOOLS]
        look, put, post = await asyncio.gather(*(rig.run(call) for call in calls))
    for answer in (look, put):
        assert isinstance(answer, ToolFailed)
        assert (answer.error.type, answer.retryable) == ("Timeout", True)
        assert "0.05 s" in answer.error.message
    assert isinstance(post, ToolUncertain)
    assert post.error.type == "Timeout"


async def test_a_tool_that_awaits_something_cancelled_is_answered(rig: Rig) -> None:
    desktop = Desktop()

    async def trip(ctx: ToolContext) -> None:
        inner = asyncio.get_running_loop().create_future()
        inner.cancel()
        await inner

    desktop.behaviour["look"] = trip
    async with rig.gateway(desktop):
        answer = await rig.run(rig.call("look"))
    assert isinstance(answer, ToolFailed)
    assert answer.error.type == "CancelledError"


async def test_a_failure_carries_no_arguments_and_no_credentials(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BANK_PASSWORD", "hunter2-hunter2")
    desktop = Desktop()
    desktop.behaviour["look"] = _raising(ConnectionError("https://clerk:hunter2-hunter2@bank.example refused hunter2-hunter2"))
    async with rig.gateway(desktop):
        answer = await rig.run(rig.call("look", b'{"amount":987654321}'))
    assert isinstance(answer, ToolFailed)
    body = encode(answer)
    assert b"hunter2" not in body
    assert b"987654321" not in body
    assert b"Traceback" not in body


# -- results


async def test_large_results_travel_by_reference(rig: Rig) -> None:
    desktop = Desktop()
    text = "x" * CLAIM_CHECK_BYTES

    async def write(ctx: ToolContext) -> str:
        return text

    desktop.behaviour["post"] = write
    async with rig.gateway(desktop):
        answer = await rig.run(rig.call("post"))
    assert isinstance(answer, ToolSucceeded)
    assert isinstance(answer.result_ref, BlobRef)
    assert await rig.store.blobs.get(answer.result_ref.sha256) == f'"{text}"'.encode()


@pytest.mark.parametrize("result", [object(), "x" * MAX_PAYLOAD_BYTES], ids=["not JSON", "too large"])
async def test_a_result_that_cannot_be_carried_is_final_for_a_read_and_doubt_for_an_unsafe_call(rig: Rig, result: object) -> None:
    desktop = Desktop()

    async def give(ctx: ToolContext) -> object:
        desktop.effect(ctx)
        return result

    desktop.behaviour = {"look": give, "post": give}
    async with rig.gateway(desktop):
        read = await rig.run(rig.call("look"))
        call = rig.call("post")
        unsafe = await rig.run(call)
    assert isinstance(read, ToolFailed)
    assert not read.retryable
    assert isinstance(unsafe, ToolUncertain)
    assert (await rig.row(call)).state == "doubt"


# -- stop notices


async def test_a_read_of_an_ended_run_is_stopped_and_an_effect_is_not(rig: Rig) -> None:
    desktop = Desktop()
    go_on = asyncio.Event()

    async def wait(ctx: ToolContext) -> str:
        await go_on.wait()
        desktop.effect(ctx)
        return "done"

    desktop.behaviour = dict.fromkeys(TOOLS, wait)
    async with rig.gateway(desktop):
        look = rig.call("look")
        put, post, other = (rig.call(name, run_id=look.run_id) for name in ("put", "post", "look"))
        for call in (put, post):
            await rig.permit(call)
        for call in (look, put, post):
            await rig.send(call)
        await wait_until(lambda: len(desktop.began) == 3)
        rig.bus.send(rig.subjects.stop(), encode(Stop(run_id=look.run_id, why="paused")))
        rig.bus.send(rig.subjects.stop(), encode(Stop(run_id=look.run_id, why="ended")))
        await wait_until(lambda: _tools_left(rig, 2))
        await rig.send(other)
        await wait_until(lambda: _tools_left(rig, 2))
        go_on.set()
        await rig.answer(put)
        await rig.answer(post)
        await rig.settled()
        assert rig.of(look) == []
        assert rig.of(other) == []
    assert desktop.effects == {put.idempotency_key: 1, post.idempotency_key: 1}


async def _tools_left(rig: Rig, number: int) -> bool:
    return await rig.count_tools() == number


async def test_one_cancelled_call_leaves_the_others_alone(rig: Rig) -> None:
    desktop = Desktop()
    go_on = asyncio.Event()

    async def wait(ctx: ToolContext) -> str:
        await go_on.wait()
        return "done"

    desktop.behaviour["look"] = wait
    async with rig.gateway(desktop):
        first = rig.call("look")
        second = rig.call("look", run_id=first.run_id)
        await rig.send(first)
        await rig.send(second)
        await wait_until(lambda: len(desktop.began) == 2)
        rig.bus.send(rig.subjects.stop(), encode(Stop(run_id=first.run_id, why="cancelled_call", call_id=first.call_id)))
        await wait_until(lambda: _tools_left(rig, 1))
        go_on.set()
        assert isinstance(await rig.answer(second), ToolSucceeded)
        assert rig.of(first) == []
