"""kill -9 of coordinator and worker at every boundary while a fork with recorded answers is lived: the same result, and no effect."""

from __future__ import annotations

import asyncio

import pytest

from tests.chaos.stack import Stack
from tests.chaos.test_boundaries import POINTS, RESULT
from waypost.client import Client
from waypost_core.forking import boundaries

OF_A_FORK = [point for point in POINTS if not point.startswith(("gateway", "coordinator.intake"))]
QUICK = ("coordinator.commit.after", "worker.publish.before")
"""The public test command dies only here, CI everywhere."""


@pytest.mark.crash
@pytest.mark.parametrize("point", [pytest.param(point, marks=() if point in QUICK else pytest.mark.slow) for point in OF_A_FORK])
async def test_a_kill_at_this_boundary_of_a_fork_changes_only_the_time(point: str, services: Stack, client: Client) -> None:
    source = await client.start("clerk", "bob")
    assert await client.result(source.run_id, timeout=40) == RESULT
    before = services.effects()
    places = boundaries([event async for event in client.events(source.run_id)])
    service = point.split(".", 1)[0]
    await services.arm(service, f"{point}:2")
    async with asyncio.TaskGroup() as group:  # a request that dies with its coordinator is repeated under the same id
        asked = [group.create_task(client.fork(source.run_id, at)) for at in places[:2]]
        await services.died(service)
        await services.start(service)
    for fork in [task.result() for task in asked]:
        assert await client.result(fork.run_id, timeout=40) == RESULT, services.log()
        events = [event async for event in client.events(fork.run_id)]
        assert [event.seq for event in events] == list(range(1, len(events) + 1))
    assert services.effects() == before
