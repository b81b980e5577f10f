"""A worker, a gateway or the coordinator dies or is stopped for good; others take over."""

from __future__ import annotations

import pytest

from tests.chaos.stack import Stack
from tests.waiting import wait_until
from waypost.client import Client


@pytest.mark.crash
async def test_a_lost_workers_runs_go_to_another(services: Stack, client: Client) -> None:
    """The coroutine waits in the memory of a worker that dies; another one replays the journal (CORRECTNESS.md row 22)."""
    waiting = [(await client.start("waiter", number)).run_id for number in range(5)]

    async def all_wait() -> bool:
        return all([(await client.get(run_id)).status == "waiting" for run_id in waiting])

    await wait_until(all_wait, seconds=20, message=services.log)
    await services.kill("worker")
    for run_id in waiting:
        await client.signal(run_id, "go", "late")
    await services.start("worker")
    for number, run_id in enumerate(waiting):
        assert await client.result(run_id, timeout=40) == f"late paid {number}", services.log()


@pytest.mark.crash
async def test_another_coordinator_takes_over(services: Stack, client: Client) -> None:
    """Two replicas; the one that owns the partitions is killed, and the other goes on within its lease."""
    await services.start("coordinator", key="second")
    run_id = (await client.start("walker", 100)).run_id
    await services.kill("coordinator")
    assert await client.result(run_id, timeout=40) == 100, services.log()
    events = [event async for event in client.events(run_id)]
    assert [event.seq for event in events] == list(range(1, len(events) + 1))


@pytest.mark.crash
async def test_a_run_without_a_worker_is_pending_and_starts_when_one_comes(services: Stack, client: Client) -> None:
    await services.kill("worker")

    async def gone() -> bool:
        return not any(view.workers for view in await client.agents())

    await wait_until(gone, seconds=20)
    run_id = (await client.start("walker", 3)).run_id
    view = await client.get(run_id)
    assert view.status == "pending"
    assert "worker" in view.waiting_for
    await services.start("worker")
    assert await client.result(run_id, timeout=30) == 3
