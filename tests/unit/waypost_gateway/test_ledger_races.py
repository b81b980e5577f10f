"""Permits, leases and doubt when things go wrong: every race on the ledger that a gateway can lose (CORRECTNESS.md rows 6 and 7)."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

import pytest

from tests.unit.waypost_gateway.rig import Desktop, Gate, Rig, approval_id
from tests.waiting import wait_until
from waypost import ToolContext
from waypost_io.store.ports import Ledger
from waypost_proto.errors import PublishTimeout, Unreachable
from waypost_proto.ids import digest_of
from waypost_proto.mailbox import ToolFailed, ToolRefused, ToolSucceeded

# -- what is settled is repeated, never run again


@pytest.mark.parametrize("name", ["put", "post"])
async def test_a_repeated_message_gets_the_stored_answer(rig: Rig, name: str) -> None:
    desktop = Desktop()
    async with rig.gateway(desktop):
        call = rig.call(name)
        first = await rig.run(call)
        await rig.send(call)
        again = await rig.answer(call, 2)
        await rig.settled()
    assert isinstance(first, ToolSucceeded)
    assert isinstance(again, ToolSucceeded)
    assert (again.result, again.via) == (first.result, "ledger")
    assert desktop.effects == {call.idempotency_key: 1}


async def test_a_stored_failure_is_repeated_and_its_attempt_is_over(rig: Rig) -> None:
    desktop = Desktop()

    async def fail(ctx: ToolContext) -> None:
        raise ValueError("once")

    desktop.behaviour["put"] = fail
    async with rig.gateway(desktop):
        call = rig.call("put")
        await rig.run(call)
        await rig.send(call)
        again = await rig.answer(call, 2)
        assert isinstance(again, ToolFailed)
        later = rig.call("put", run_id=call.run_id, call_id=call.call_id, attempt=2)
        await rig.permit(later)
        await rig.send(call)
        await rig.settled()
        assert len(rig.of(call)) == 2, "attempt 2 has replaced attempt 1: the old message is acked and not answered"
    assert len(desktop.began) == 1


async def test_a_message_that_comes_again_while_its_call_runs_joins_it(rig: Rig) -> None:
    desktop = Desktop()
    gate = desktop.behaviour["look"] = Gate(desktop)
    async with rig.gateway(desktop):
        call = rig.call("look")
        await rig.send(call)
        await wait_until(lambda: desktop.began)
        await rig.send(rig.call("look", run_id=call.run_id, call_id=call.call_id, emission=1))
        await rig.send(call)
        gate.open.set()
        await rig.answer(call)
        await rig.settled()
    assert len(desktop.began) == 1


# -- revocation


async def test_a_revoked_call_has_no_effect_and_no_answer(rig: Rig) -> None:
    desktop = Desktop()
    call = rig.call("post")
    await rig.permit(call)
    await rig.send(call)
    await rig.revoke(call.run_id)
    async with rig.gateway(desktop):
        await rig.settled()
        assert rig.of(call) == []
        assert desktop.began == []
        await rig.permit(call)  # resumed: the permit is renewed, the call derived again
        await rig.send(rig.call("post", run_id=call.run_id, call_id=call.call_id, emission=1))
        assert isinstance(await rig.answer(call), ToolSucceeded)


class HeldLedger:
    """Keeps the first refusal of `start` back until the test opens it: the moment between the ledger's word and the ack."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.refused = asyncio.Event()
        self.open = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)

    async def start(self, *args: Any, **kwargs: Any) -> Any:
        found = await self._ledger.start(*args, **kwargs)
        if not found[0]:
            self.refused.set()
            await self.open.wait()
        return found


@pytest.mark.parametrize("name", ["put", "post"])
async def test_a_call_permitted_again_while_its_revoked_message_is_in_hand_runs_once(rig: Rig, name: str) -> None:
    desktop = Desktop()
    held = HeldLedger(rig.store.ledger)
    rig.store.ledger = held  # type: ignore[assignment]
    call = rig.call(name)
    await rig.permit(call)
    await rig.send(call)
    await rig.revoke(call.run_id)
    async with rig.gateway(desktop) as running:
        await held.refused.wait()
        await rig.permit(call)  # resumed, while the gateway still has the message in hand that it may not carry out
        for emission in (1, 2):
            await rig.send(rig.call(name, run_id=call.run_id, call_id=call.call_id, emission=emission))
        joined = f'waypost_gateway_calls_total{{tool="{name}",outcome="joined"}} 2'
        await wait_until(lambda: joined in running.metrics.registry.render().decode(), message="two messages that joined the first")
        held.open.set()
        assert isinstance(await rig.answer(call), ToolSucceeded)
        await rig.settled()
        assert len(rig.of(call)) == 1
    assert desktop.effects == {call.idempotency_key: 1}


async def test_a_started_call_is_not_stopped_by_a_revocation(rig: Rig) -> None:
    desktop = Desktop()
    gate = desktop.behaviour["post"] = Gate(desktop)
    async with rig.gateway(desktop):
        call = rig.call("post")
        await rig.permit(call)
        await rig.send(call)
        await wait_until(lambda: desktop.total_effects)
        await rig.revoke(call.run_id)
        gate.open.set()
        assert isinstance(await rig.answer(call), ToolSucceeded)
    assert (await rig.row(call)).state == "done"


# -- approvals


async def test_an_approval_counts_once_for_the_arguments_it_was_given_for(rig: Rig) -> None:
    desktop = Desktop()
    async with rig.gateway(desktop):
        call = rig.call("post", approval_id=approval_id())
        await rig.approval(call)
        assert isinstance(await rig.run(call), ToolSucceeded)
        approval = await rig.store.approvals.get(call.approval_id or "")
        assert approval is not None
        assert approval.state == "used"
        second = rig.call("post", approval_id=call.approval_id, run_id=call.run_id)
        await rig.permit(second)
        await rig.send(second)
        answer = await rig.answer(second)
    assert isinstance(answer, ToolRefused)
    assert answer.error.type == "ApprovalInvalid"
    assert desktop.total_effects == 1


@pytest.mark.parametrize(
    ("approval", "reason"),
    [
        ({"args_digest": digest_of(b'{"amount":2}')}, "other arguments"),
        ({"state": "denied"}, "is denied"),
        ({"state": "open"}, "is open"),
        ({"expires_at": 1.0}, "has expired"),
        (None, "no approval"),
    ],
)
async def test_an_approval_that_does_not_fit_is_named(rig: Rig, approval: dict[str, Any] | None, reason: str) -> None:
    desktop = Desktop()
    call = rig.call("post", approval_id=approval_id())
    if approval is not None:
        await rig.approval(call, **approval)
    async with rig.gateway(desktop):
        answer = await rig.run(call)
    assert isinstance(answer, ToolRefused)
    assert answer.error.type == "ApprovalInvalid"
    assert reason in answer.error.message
    assert desktop.began == []


async def test_a_read_that_needs_approval_is_held_to_it(rig: Rig) -> None:
    desktop = Desktop()
    async with rig.gateway(desktop):
        call = rig.call("look", approval_id=approval_id(), permit=True)
        assert isinstance(await rig.run(call), ToolRefused)
        granted = rig.call("look", approval_id=approval_id(), permit=True)
        await rig.approval(granted)
        assert isinstance(await rig.run(granted), ToolSucceeded)
    assert len(desktop.began) == 1


async def test_two_gateways_and_one_approved_call(rig: Rig) -> None:
    desktop = Desktop()
    call = rig.call("post", approval_id=approval_id())
    await rig.approval(call)
    await rig.permit(call)
    async with rig.gateway(desktop), rig.gateway(desktop):
        for _ in range(8):
            await rig.send(call)
        await rig.answer(call)
        await rig.settled()
    assert desktop.effects == {call.idempotency_key: 1}
    assert {type(answer) for answer in rig.of(call)} == {ToolSucceeded}


# -- servers that fail in between


class FlakyLedger:
    """Raises `Unreachable` around chosen statements, before or after they took effect."""

    def __init__(self, ledger: Ledger, fail: dict[str, tuple[Literal["before", "after"], int]]) -> None:
        self._ledger = ledger
        self._fail = fail

    def __getattr__(self, name: str) -> Any:
        statement = getattr(self._ledger, name)

        async def call(*args: Any, **kwargs: Any) -> Any:
            when, times = self._fail.get(name, ("before", 0))
            if times <= 0:
                return await statement(*args, **kwargs)
            self._fail[name] = (when, times - 1)
            if when == "after":
                await statement(*args, **kwargs)
            raise Unreachable(f"{name} was cut {when}")

        return call


@pytest.mark.parametrize("name", ["put", "post"])
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("statement", ["start", "settle"])
async def test_a_statement_of_unknown_outcome_is_repeated_safely(
    rig: Rig, name: str, statement: str, when: Literal["before", "after"]
) -> None:
    desktop = Desktop()
    rig.store.ledger = FlakyLedger(rig.store.ledger, {statement: (when, 2)})  # type: ignore[assignment]
    async with rig.gateway(desktop):
        call = rig.call(name)
        answer = await rig.run(call)
        await rig.settled()
    assert isinstance(answer, ToolSucceeded)
    assert desktop.effects == {call.idempotency_key: 1}
    assert (await rig.row(call)).state == "done"


async def test_an_answer_is_published_until_it_is_confirmed(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    desktop = Desktop()
    real = rig.bus.publish
    refusals = 3

    def publish(subject: str, *args: Any, **kwargs: Any) -> Any:
        nonlocal refusals
        sent = real(subject, *args, **kwargs)
        if ".mailbox." not in subject or refusals == 0:
            return sent
        refusals -= 1

        async def timed_out() -> None:
            await sent
            raise PublishTimeout("no confirmation")

        return timed_out()

    monkeypatch.setattr(rig.bus, "publish", publish)
    async with rig.gateway(desktop):
        call = rig.call("post")
        await rig.run(call)
        await rig.settled()
    assert refusals == 0
    assert len(rig.of(call)) == 1, "the same answer under the same id is stored once"
    assert desktop.total_effects == 1


@pytest.mark.parametrize("name", ["put", "post"])
async def test_the_same_key_with_other_arguments_is_refused_and_gives_no_old_answer(rig: Rig, name: str) -> None:
    desktop = Desktop()
    async with rig.gateway(desktop):
        first = rig.call(name, b'{"amount":1}')
        assert isinstance(await rig.run(first), ToolSucceeded)
        forged = rig.call(name, b'{"amount":2}', run_id=first.run_id, call_id=first.call_id)
        await rig.send(forged)
        answer = await rig.answer(forged, 2)
    assert isinstance(answer, ToolRefused)
    assert answer.error.type == "KeyReused"
    assert "other arguments" in answer.error.message
    assert desktop.total_effects == 1
