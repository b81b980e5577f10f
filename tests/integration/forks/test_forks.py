"""Forks on real services: recorded answers have no effect, whatever the agent asks for; live ones have their own."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.chaos.stack import Stack
from tests.waiting import wait_until
from waypost.client import Client
from waypost_core.forking import boundaries
from waypost_proto.api import RunView
from waypost_proto.errors import BadInput, Conflict, NotFound
from waypost_proto.events import Event

pytestmark = pytest.mark.slow  # services of their own; what is decided is tested in tests/unit/waypost_core and tests/programs


async def log_of(client: Client, run_id: str) -> list[Event]:
    return [event async for event in client.events(run_id)]


async def status(client: Client, run_id: str, wanted: str) -> RunView:
    async def reached() -> RunView | None:
        view = await client.get(run_id)
        return view if view.status == wanted else None

    found = await wait_until(reached, seconds=30)
    assert found is not None
    return found


@pytest.fixture(scope="module")
async def finished(services: Stack) -> str:
    """A run of `clerk` that has been through everything."""
    async with services.client() as client:
        run = await client.start("clerk", "fr", labels={"team": "a"})
        await client.signal(run.run_id, "go", "now")
        await approve(client, run.run_id)
        assert (await client.result(run.run_id, timeout=40))[-3] == "paid 2"
        return run.run_id


async def approve(client: Client, run_id: str) -> None:
    async def asked() -> Any:
        return await client.approvals(run_id=run_id)

    (approval,) = await wait_until(asked, seconds=30)
    await client.approve(approval.approval_id, by="ann", roles=["boss"])


async def test_a_fork_at_any_event_ends_as_its_source_and_does_nothing(client: Client, services: Stack, finished: str) -> None:
    expected = await client.result(finished)
    before = services.effects()
    places = boundaries(await log_of(client, finished))
    assert len(places) > 5
    forks = await asyncio.gather(*(client.fork(finished, at) for at in places))
    results = await asyncio.gather(*(client.result(fork.run_id, timeout=40) for fork in forks))
    assert results == [expected] * len(places)
    assert services.effects() == before, "nothing was executed, not even a read or a local step"
    compared = await client.compare(finished, forks[0].run_id)
    assert (compared.first_difference, compared.differs) == (None, [])
    assert compared.right.forked_from == finished
    view = await client.get(forks[0].run_id)
    assert view.fork is not None
    assert (view.fork.run_id, view.fork.seq, view.labels["waypost.forked_from"], view.labels["team"]) == (finished, 1, finished, "a")
    assert view.usage is None or view.usage.cost_micros == 0
    again = await client.fork(forks[0].run_id, places[2])
    assert await client.result(again.run_id, timeout=40) == expected, "a fork of a fork"
    assert services.effects() == before


async def test_a_worker_that_comes_new_to_a_fork_replays_it(client: Client, services: Stack, finished: str) -> None:
    places = boundaries(await log_of(client, finished))
    expected = await client.result(finished)
    before = services.effects()
    forks = [await client.fork(finished, at) for at in places[:3]]
    await services.kill("worker")
    await services.start("worker")
    assert [await client.result(fork.run_id, timeout=40) for fork in forks] == [expected] * 3
    assert services.effects() == before


async def test_another_input_stops_at_the_first_call_that_was_never_made(client: Client, services: Stack, finished: str) -> None:
    before = services.effects()
    fork = await client.fork(finished, 1, input="italy")
    view = await status(client, fork.run_id, "paused")
    assert "rate" in view.waiting_for
    assert "--tools live" in view.waiting_for
    assert services.effects() == before
    with pytest.raises(Conflict, match="pause again at once"):
        await client.resume(fork.run_id)
    for call in view.open_calls:
        if call.kind == "tool":
            await client.resolve(fork.run_id, call.call_id, "completed", result=99, by="ann")
    await client.resume(fork.run_id)
    view = await status(client, fork.run_id, "paused")
    assert "helper" in view.waiting_for
    await client.resume(fork.run_id, tools="deny")
    assert "helper was not started" in str((await status(client, fork.run_id, "failed")).error)
    assert services.effects() == before


async def test_a_fork_goes_live_and_takes_effect_under_its_own_key(client: Client, services: Stack, finished: str) -> None:
    before = services.effects()
    fork = await client.fork(finished, 1, input="peru")
    await status(client, fork.run_id, "paused")
    await client.resume(fork.run_id, tools="live")
    await client.signal(fork.run_id, "go", "again")
    await approve(client, fork.run_id)
    result = await client.result(fork.run_id, timeout=40)
    source = await client.result(finished)
    assert result[:2] == ["peru", 4]
    new = services.effects()[len(before) :]
    assert sum(line.startswith("pay:") for line in new) == 1
    assert next(line for line in new if line.startswith("pay:")).startswith(f"pay:{fork.run_id}/")
    assert result[-2] != source[-2], "random numbers after it went live are its own"
    with pytest.raises(Conflict):
        await client.resume(fork.run_id, tools="recorded")


async def test_calls_are_denied(client: Client, services: Stack, finished: str) -> None:
    before = services.effects()
    fork = await client.fork(finished, 1, tools="deny")
    assert (await client.result(fork.run_id, timeout=40))[1].startswith("denied")
    assert services.effects() == before


async def test_what_cannot_be_forked(client: Client, finished: str) -> None:
    log = await log_of(client, finished)
    with pytest.raises(NotFound):
        await client.fork("0192f0c1-7a3e-7c21-8f00-3b1d6a9c4e55", 1)
    with pytest.raises(BadInput, match=f"has {len(log)} events"):
        await client.fork(finished, len(log) + 1)
    with pytest.raises(BadInput, match="how the run ends"):
        await client.fork(finished, len(log))
    inside = next(seq for seq in range(1, len(log)) if seq not in boundaries(log))
    with pytest.raises(BadInput, match=r"nearest place to fork it is \d+ or \d+"):
        await client.fork(finished, inside)
    with pytest.raises(BadInput, match="fork at event 1"):
        await client.fork(finished, boundaries(log)[2], input="x")
    first = await client.fork(finished, 1)
    again = await client.fork(finished, 1, new_run_id=first.run_id)
    assert again.duplicate
    with pytest.raises(Conflict):
        await client.fork(finished, boundaries(log)[2], new_run_id=first.run_id)


async def test_a_reasoning_agent(client: Client, services: Stack) -> None:
    run = await client.start("thinker", "ann")
    expected = await client.result(run.run_id, timeout=40)
    asked = services.effects_file.with_name(services.effects_file.name + ".asked")
    effects, models = services.effects(), asked.read_text()
    places = boundaries(await log_of(client, run.run_id))
    forks = [await client.fork(run.run_id, at) for at in places]
    assert [await client.result(fork.run_id, timeout=40) for fork in forks] == [expected] * len(places)
    assert services.effects() == effects
    assert asked.read_text() == models, "no model call is paid for twice"
    other = await client.fork(run.run_id, 1, input="eve")
    await status(client, other.run_id, "paused") if (await ended(client, other.run_id)) is None else None
    assert asked.read_text() != models, "a request that the source never made is made: it has no effect"
    assert services.effects() == effects


async def ended(client: Client, run_id: str) -> RunView | None:
    async def settled() -> RunView | None:
        view = await client.get(run_id)
        return view if view.status in ("paused", "completed", "failed") else None

    view = await wait_until(settled, seconds=30)
    assert view is not None
    return None if view.status == "paused" else view


async def test_a_graph(client: Client, services: Stack) -> None:
    run = await client.start("surveyor", {"messages": [{"role": "user", "content": "all"}]})
    expected = await client.result(run.run_id, timeout=60)
    before = services.effects()
    for at in boundaries(await log_of(client, run.run_id)):
        fork = await client.fork(run.run_id, at)
        found = await client.result(fork.run_id, timeout=60)
        assert len(found["messages"]) == len(expected["messages"]), at
    assert services.effects() == before
