"""Calls whose gateway died or whose outcome is unknown: leases, doubt, reconciliation (CORRECTNESS.md row 6)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from msgspec import Raw

from tests.unit.waypost_gateway.rig import Desktop, Gate, Rig, not_done
from tests.waiting import wait_until
from waypost import ToolContext
from waypost_proto.codec import encode
from waypost_proto.mailbox import ToolNotDone, ToolSucceeded, ToolUncertain, ToolUnknown

# -- a gateway that dies


async def test_an_unsafe_call_of_a_dead_gateway_is_in_doubt_after_its_hard_deadline_and_runs_once(rig: Rig) -> None:
    desktop = Desktop(timeout=0.8)
    gate = desktop.behaviour["post"] = Gate(desktop)
    call = rig.call("post")
    async with rig.gateway(desktop) as first:
        await rig.permit(call)
        await rig.send(call)
        await wait_until(lambda: desktop.total_effects)
        await first.kill()
    row = await rig.row(call)
    assert row.state == "started"
    assert row.hard_deadline is not None
    gate.open.set()
    async with rig.gateway(desktop):
        answer = await rig.answer(call)
        assert await rig.store.leases.now() >= row.hard_deadline
        await rig.settled()
        assert isinstance(answer, ToolUncertain)
        assert answer.error.type == "GatewayLost"
        assert (await rig.row(call)).state == "doubt"
        await rig.send(call)
        assert isinstance(await rig.answer(call, 2), ToolUncertain), "asked again it is still in doubt, and not run"
    assert desktop.effects == {call.idempotency_key: 1}


async def test_an_unsafe_call_of_a_dead_gateway_is_in_doubt_also_after_the_deadline_of_its_run(rig: Rig) -> None:
    """It may have taken effect in time: "too late to start" would be a guess."""
    desktop = Desktop(timeout=0.2)
    gate = desktop.behaviour["post"] = Gate(desktop)
    call = rig.call("post", deadline_at=await rig.store.leases.now() + 0.5)
    async with rig.gateway(desktop) as first:
        await rig.permit(call)
        await rig.send(call)
        await wait_until(lambda: desktop.total_effects)
        await first.kill()
    gate.open.set()
    await passed(rig, call.deadline_at or 0.0)
    async with rig.gateway(desktop):
        assert isinstance(await rig.answer(call), ToolUncertain)
    assert desktop.effects == {call.idempotency_key: 1}


async def passed(rig: Rig, at: float) -> None:
    while await rig.store.leases.now() <= at:  # the clock is what is waited for
        await asyncio.sleep(0.05)


async def test_an_idempotent_call_of_a_dead_gateway_runs_again_under_the_same_key(rig: Rig) -> None:
    desktop = Desktop(timeout=60)
    gate = desktop.behaviour["put"] = Gate(desktop)
    call = rig.call("put")
    async with rig.gateway(desktop) as first:
        await rig.permit(call)
        await rig.send(call)
        await wait_until(lambda: desktop.total_effects)
        await first.kill()
    gate.open.set()
    async with rig.gateway(desktop) as second:
        answer = await rig.answer(call)
    assert isinstance(answer, ToolSucceeded)
    assert (answer.gateway, answer.attempt) == (second.peer, 1)
    assert desktop.effects == {call.idempotency_key: 2}


async def test_a_live_lease_is_left_alone_and_kept_alive(rig: Rig) -> None:
    desktop = Desktop(timeout=60)
    gate = desktop.behaviour["put"] = Gate(desktop)
    call = rig.call("put")
    async with rig.gateway(desktop) as first, rig.gateway(desktop) as second:
        await rig.permit(call)
        await rig.send(call)
        await wait_until(lambda: desktop.total_effects)
        started = await rig.row(call)
        await rig.send(rig.call("put", run_id=call.run_id, call_id=call.call_id, emission=1))
        await wait_until(lambda: _extended(rig, call, started.lease_until))
        await wait_until(lambda: _extended(rig, call, (started.lease_until or 0) + 0.6), message="the lease outlives its first length")
        gate.open.set()
        await rig.answer(call)
        await rig.settled()
    assert desktop.effects == {call.idempotency_key: 1}
    assert first.peer != second.peer


async def _extended(rig: Rig, call: Any, since: float | None) -> bool:
    row = await rig.row(call)
    return row.lease_until is not None and since is not None and row.lease_until > since


async def test_a_gateway_that_lost_its_lease_does_not_settle(rig: Rig) -> None:
    desktop = Desktop(timeout=60)
    gate = desktop.behaviour["put"] = Gate(desktop)
    async with rig.gateway(desktop):
        call = rig.call("put")
        await rig.permit(call)
        await rig.send(call)
        await wait_until(lambda: desktop.total_effects)
        row = await rig.row(call)
        await rig.store.ledger.extend(call.run_id, call.call_id, gateway=row.gateway, lease_seconds=0)
        taken = await rig.store.ledger.take_over(call.run_id, call.call_id, attempt=1, gateway="another", lease_seconds=60, hard_seconds=60)
        assert taken
        gate.open.set()
        await wait_until(lambda: len(desktop.began) == 1)
        await rig.store.ledger.settle(call.run_id, call.call_id, attempt=1, state="done", result=_success(call, b'"by another"'))
        answer = await rig.answer(call)
    assert isinstance(answer, ToolSucceeded)
    assert bytes(answer.result) == b'"by another"', "what another gateway settled is the answer, not ours"
    assert (await rig.row(call)).gateway == "another"


def _success(call: Any, result: bytes) -> bytes:
    return encode(ToolSucceeded(run_id=call.run_id, call_id=call.call_id, attempt=call.attempt, gateway="another", result=Raw(result)))


# -- reconciliation


async def _in_doubt(rig: Rig, desktop: Desktop) -> Any:
    """An unsafe call that raised after its effect."""

    async def half(ctx: ToolContext) -> None:
        desktop.effect(ctx)
        raise ConnectionError("reset")

    desktop.behaviour["post"] = half
    call = rig.call("post")
    assert isinstance(await rig.run(call), ToolUncertain)
    return call


async def test_the_hook_settles_a_call_that_took_effect(rig: Rig) -> None:
    desktop = Desktop(timeout=0.3)

    async def find(ctx: ToolContext) -> int:
        return desktop.effects[ctx.idempotency_key]

    desktop.hook = find
    async with rig.gateway(desktop):
        call = await _in_doubt(rig, desktop)
        row = await rig.row(call)
        await rig.send(rig.call("post", run_id=call.run_id, call_id=call.call_id, mode="reconcile"))
        answer = await rig.answer(call, 2)
        assert row.hard_deadline is not None
        assert await rig.store.leases.now() >= row.hard_deadline + 0.1, "not before the settle time is over"
        await rig.settled()
        assert isinstance(answer, ToolSucceeded)
        assert (answer.via, bytes(answer.result)) == ("reconcile", b"1")
        assert (await rig.row(call)).state == "done"
        await rig.send(call)
        again = await rig.answer(call, 3)
        assert isinstance(again, ToolSucceeded)
    assert desktop.effects == {call.idempotency_key: 1}


async def test_what_surely_did_not_happen_may_be_tried_again(rig: Rig) -> None:
    desktop = Desktop(timeout=0.3)
    desktop.hook = not_done
    async with rig.gateway(desktop):
        call = await _in_doubt(rig, desktop)
        await rig.send(rig.call("post", run_id=call.run_id, call_id=call.call_id, mode="reconcile"))
        assert isinstance(await rig.answer(call, 2), ToolNotDone)
        assert (await rig.row(call)).state == "failed"
        del desktop.behaviour["post"]
        again = rig.call("post", run_id=call.run_id, call_id=call.call_id, attempt=2)
        await rig.permit(again)
        await rig.send(again)
        assert isinstance(await rig.answer(call, 3), ToolSucceeded)


@pytest.mark.parametrize("how", ["raises", "hangs", "too large"])
async def test_a_hook_that_cannot_tell_settles_nothing(rig: Rig, how: str) -> None:
    desktop = Desktop(timeout=0.3)

    async def cannot(ctx: ToolContext) -> object:
        if how == "raises":
            raise LookupError("no answer from the regulator")
        if how == "hangs":
            await asyncio.Event().wait()
        return object()

    desktop.hook = cannot
    async with rig.gateway(desktop):
        call = await _in_doubt(rig, desktop)
        await rig.send(rig.call("post", run_id=call.run_id, call_id=call.call_id, mode="reconcile"))
        assert isinstance(await rig.answer(call, 2), ToolUnknown)
        assert (await rig.row(call)).state == "doubt"


async def test_a_hook_that_cannot_tell_is_heard_each_time_it_is_asked(rig: Rig) -> None:
    desktop = Desktop(timeout=0.3)

    async def cannot(ctx: ToolContext) -> object:
        raise LookupError("no answer from the regulator")

    desktop.hook = cannot
    async with rig.gateway(desktop):
        call = await _in_doubt(rig, desktop)
        ask = rig.call("post", run_id=call.run_id, call_id=call.call_id, mode="reconcile")
        for number in (2, 3):
            await rig.send(ask)
            assert isinstance(await rig.answer(call, number), ToolUnknown)


async def test_a_hook_that_cannot_tell_is_heard_by_who_asked_again_meanwhile(rig: Rig) -> None:
    """The confirmation of the first answer was lost: while its publish is repeated, its coordinator has it, and asks again. The answer to
    that question has to be a new one, or the run waits for ever."""
    desktop = Desktop(timeout=5)
    asked, tell = 0, asyncio.Event()

    async def cannot(ctx: ToolContext) -> object:
        nonlocal asked
        asked += 1
        await tell.wait()
        raise LookupError("no answer from the regulator")

    desktop.hook = cannot
    async with rig.gateway(desktop) as running:
        call = await _in_doubt(rig, desktop)
        ask = rig.call("post", run_id=call.run_id, call_id=call.call_id, mode="reconcile")
        await rig.send(ask)
        await wait_until(lambda: asked == 1)
        await rig.send(ask)
        joined = 'waypost_gateway_calls_total{tool="post",outcome="joined"} 1'
        await wait_until(lambda: joined in running.metrics.registry.render().decode())
        tell.set()
        assert [type(await rig.answer(call, number)) for number in (2, 3)] == [ToolUnknown, ToolUnknown]
        await rig.settled()
    assert asked == 2


async def test_reconciling_waits_for_a_gateway_that_may_still_send(rig: Rig) -> None:
    desktop = Desktop(timeout=60)
    gate = desktop.behaviour["post"] = Gate(desktop)
    asked = False

    async def find(ctx: ToolContext) -> object:
        nonlocal asked
        asked = True
        return await not_done(ctx)

    desktop.hook = find
    async with rig.gateway(desktop), rig.gateway(desktop):
        call = rig.call("post")
        await rig.permit(call)
        await rig.send(call)
        await wait_until(lambda: desktop.total_effects)
        await rig.send(rig.call("post", run_id=call.run_id, call_id=call.call_id, mode="reconcile"))
        await asyncio.sleep(0)
        gate.open.set()
        assert isinstance(await rig.answer(call), ToolSucceeded)
        late = await rig.answer(call, 2)
        await rig.settled()
    assert isinstance(late, ToolSucceeded), "the reconcile request finds it done"
    assert not asked
