"""Limits on real processes: a hundred parallel calls at the edge, in one run and in a tree, also while services are killed."""

from __future__ import annotations

import pytest

from tests.chaos.stack import Stack
from tests.chaos.test_control import until_status
from tests.waiting import wait_until
from waypost.client import Client
from waypost_proto.errors import Conflict, TransientError
from waypost_proto.values import Budget

CHILDREN = 10
CALLS = 10 * CHILDREN
WHOLE = CHILDREN + CALLS
"""Steps of the whole tree: its children and their calls."""
AWAY = (TransientError,)
"""What a client says while the coordinator is started again."""
TOKENS, MICROS = 7 * CALLS, 4_000 * CALLS


async def steps_of(client: Client, run_id: str) -> int:
    """What the run and its children have used, as far as they have told."""
    usage = (await client.get(run_id)).usage
    assert usage is not None
    return usage.steps


async def finished_with_more(client: Client, services: Stack, run_id: str) -> None:
    """The tree is paused with its children; with a raised limit it goes on, and every call runs once."""
    assert len(services.effects()) < CALLS
    with pytest.raises(Conflict, match="max_"):
        await client.resume(run_id)
    await client.resume(run_id, budget=Budget(max_steps=2 * WHOLE, max_cost_usd=50, max_tokens=20 * CALLS))
    assert await client.result(run_id, timeout=40) == CALLS
    view = await client.get(run_id)
    assert view.usage is not None
    assert (view.usage.steps, view.usage.tokens, view.usage.cost_micros) == (WHOLE, TOKENS, MICROS)
    assert view.left is not None
    assert view.left.steps == WHOLE


@pytest.mark.crash
async def test_a_hundred_parallel_calls_of_one_run_at_the_edge(services: Stack, client: Client) -> None:
    run_id = (await client.start("leaf", 100, budget=Budget(max_cost_usd=0.5))).run_id
    await until_status(client, run_id, "paused")
    view = await client.get(run_id)
    assert view.reserved is not None
    assert view.reserved.cost_micros == 500_000, "fifty reservations of a cent fit, and no more"
    assert services.effects() == []
    await client.resume(run_id, extra=Budget(max_cost_usd=0.5))
    assert await client.result(run_id, timeout=30) == 100
    assert sorted(services.effects()) == sorted(set(services.effects()))
    assert len(services.effects()) == 100


@pytest.mark.crash
@pytest.mark.parametrize(
    "budget", [Budget(max_steps=60), Budget(max_tokens=400), Budget(max_cost_usd=0.35)], ids=["steps", "tokens", "cost"]
)
async def test_a_tree_stops_at_its_limit_and_goes_on(budget: Budget, services: Stack, client: Client) -> None:
    run_id = (await client.start("fan", CHILDREN, budget=budget)).run_id
    await until_status(client, run_id, "paused")
    assert 0 < await steps_of(client, run_id) <= 60 or budget.max_steps is None
    assert (
        len(services.effects())
        <= {"max_steps": 50, "max_tokens": 57, "max_cost_usd": 87}[next(name for name in budget.__struct_fields__ if getattr(budget, name))]
    )
    await finished_with_more(client, services, run_id)


@pytest.mark.crash
async def test_a_tree_stays_within_its_limit_while_services_are_killed(services: Stack, client: Client) -> None:
    run_id = (await client.start("fan", CHILDREN, budget=Budget(max_steps=60))).run_id
    for name in ("coordinator", "worker", "gateway", "coordinator"):
        before = len(set(services.effects()))
        assert before <= 50
        await services.kill(name)
        await services.start(name)
        await wait_until(lambda before=before: _further(client, services, run_id, before), seconds=40, ignore=AWAY, message=services.log)
    await wait_until(lambda: _paused(client, run_id), seconds=40, ignore=AWAY, message=services.log)
    assert len(set(services.effects())) <= 50
    assert await steps_of(client, run_id) <= 60
    await finished_with_more(client, services, run_id)
    assert len(set(services.effects())) == CALLS


async def _further(client: Client, services: Stack, run_id: str, before: int) -> bool:
    """More has taken effect than before the kill, or the tree has come to its limit."""
    return len(set(services.effects())) > before or await _paused(client, run_id)


async def _paused(client: Client, run_id: str) -> bool:
    return (await client.get(run_id)).status == "paused"


@pytest.mark.crash
async def test_an_agent_that_repeats_itself_is_stopped_and_follows_an_instruction(services: Stack, client: Client) -> None:
    run_id = (await client.start("thinker", 50, budget=Budget(max_tokens=1_000))).run_id
    await until_status(client, run_id, "paused")
    types = [event.type async for event in client.events(run_id, follow=False)]
    assert types.count("loop_detected") == 1
    await client.resume(run_id, instruction="stop thinking", by="ann")
    assert await client.result(run_id, timeout=30) == ["stop thinking"]
    view = await client.get(run_id)
    assert view.usage is not None
    assert 9 <= view.usage.tokens <= 26, "three a thought; one that may have begun when the run was stopped counts with all it reserved"
