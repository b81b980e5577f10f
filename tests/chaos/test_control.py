"""Cancel, pause, approvals and doubt on real processes: what people do to runs, and what must not happen afterwards."""

from __future__ import annotations

import pytest

from tests.chaos.stack import Stack
from tests.waiting import wait_until
from waypost.client import Client
from waypost_proto.errors import Conflict, RunFailed
from waypost_proto.values import Budget


async def until_status(client: Client, run_id: str, status: str) -> None:
    async def reached() -> bool:
        return (await client.get(run_id)).status == status

    await wait_until(reached, seconds=20, message=f"{run_id} is not {status}")


@pytest.mark.crash
async def test_nothing_queued_takes_effect_after_a_confirmed_cancel(services: Stack, client: Client) -> None:
    """The payment is queued for a gateway that is away; the run is cancelled; the gateway comes back (CORRECTNESS.md row 7)."""
    await services.kill("gateway")
    run_id = (await client.start("waiter", 9)).run_id
    await client.signal(run_id, "go", "x")

    async def asked() -> bool:
        return any(call.name == "pay" for call in (await client.get(run_id)).open_calls)

    await wait_until(asked, seconds=20, message=services.log)
    await client.cancel(run_id, reason="changed my mind", by="ann")
    await until_status(client, run_id, "cancelled")
    await services.start("gateway")
    other = (await client.start("waiter", 1)).run_id
    await client.signal(other, "go", "y")
    assert await client.result(other, timeout=30) == "y paid 1"
    assert [key for key in services.effects() if key.startswith(run_id)] == []
    with pytest.raises(RunFailed):
        await client.result(run_id)


@pytest.mark.crash
async def test_a_paused_run_holds_its_calls_and_goes_on_exactly_there(services: Stack, client: Client) -> None:
    run_id = (await client.start("waiter", 4)).run_id
    await until_status(client, run_id, "waiting")
    await client.pause(run_id, reason="audit", by="ann")
    await client.signal(run_id, "go", "hello")
    assert (await client.get(run_id)).status == "paused"
    assert services.effects() == []
    await client.resume(run_id, by="ann")
    assert await client.result(run_id, timeout=30) == "hello paid 4"
    assert len(services.effects()) == 1


@pytest.mark.crash
async def test_at_max_steps_the_run_pauses_and_goes_on_with_a_raised_limit(services: Stack, client: Client) -> None:
    run_id = (await client.start("walker", 10, budget=Budget(max_steps=4))).run_id
    await until_status(client, run_id, "paused")
    with pytest.raises(Conflict, match="max_steps"):
        await client.resume(run_id)
    await client.resume(run_id, budget=Budget(max_steps=20))
    assert await client.result(run_id, timeout=30) == 10
    types = [event.type async for event in client.events(run_id)]
    assert types.count("breaker_tripped") == 1
    assert types.count("tool_call_completed") == 10


@pytest.mark.crash
async def test_an_approval_is_bound_to_its_call_and_denial_is_raised_there(services: Stack, client: Client) -> None:
    granted = (await client.start("asker", 1)).run_id
    denied = (await client.start("asker", 2)).run_id
    await until_status(client, granted, "waiting_approval")
    await until_status(client, denied, "waiting_approval")
    assert services.effects() == []
    by_run = {approval.run_id: approval for approval in await client.approvals()}
    assert by_run[granted].args_digest != by_run[denied].args_digest
    await client.approve(by_run[granted].approval_id, by="olga", roles=["officer"])
    await client.deny(by_run[denied].approval_id, by="olga", roles=["officer"], reason="too much")
    assert await client.result(granted, timeout=30) == "paid 1"
    with pytest.raises(RunFailed, match="too much"):
        await client.result(denied, timeout=30)
    assert len(services.effects()) == 1
    with pytest.raises(Conflict):
        await client.approve(by_run[denied].approval_id, by="olga", roles=["officer"])


@pytest.mark.crash
async def test_an_unsafe_call_without_a_hook_waits_for_a_person(services: Stack, client: Client) -> None:
    """The gateway dies in the middle: it is never run again by itself (CORRECTNESS.md row 6)."""
    await services.arm("gateway", "gateway.execute.after:2")
    run_id = (await client.start("slow-payer", 3)).run_id
    await services.died("gateway", seconds=30)
    await services.start("gateway")

    async def in_doubt() -> bool:
        return any(call.state == "doubt" for call in (await client.get(run_id)).open_calls)

    await wait_until(in_doubt, seconds=60, message=services.log)
    call = (await client.get(run_id)).open_calls[0]
    await client.resolve(run_id, call.call_id, "completed", result="paid 3", by="ann")
    assert await client.result(run_id, timeout=30) == "paid 3"
    assert len(services.effects()) == 1
