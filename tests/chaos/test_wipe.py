"""P2: Postgres is the record, JetStream is the road. Delete every JetStream file while runs are in flight, in every kind of wait."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.stack import hosted, stack
from tests.waiting import wait_until
from waypost.client import Client
from waypost_io.servers import EmbeddedNats

RUNS = 10


async def status(client: Client, run_id: str) -> str:
    return (await client.get(run_id)).status


@pytest.mark.crash
async def test_all_that_was_outstanding_is_dispatched_again_after_a_wipe(tmp_path: Path, own_nats: EmbeddedNats, database: str) -> None:
    """CORRECTNESS.md rows 2 and 16."""
    async with stack(tmp_path, nats_url=own_nats.url, postgres_url=database) as services, services.client() as client:
        await hosted(client)
        clerks = [(await client.start("clerk", f"n{number}", idempotency_key=f"k{number}")).run_id for number in range(RUNS)]
        walker = (await client.start("walker", 200)).run_id
        asker = (await client.start("asker", 7)).run_id
        waiter = (await client.start("waiter", 5)).run_id
        await wait_until(client.approvals, seconds=20)
        await own_nats.kill()
        await own_nats.wipe()
        await own_nats.start()
        for number, run_id in enumerate(clerks):
            assert await client.result(run_id, timeout=60) == f"N{number} N{number}X CHILD paid 2", services.log()
        approval = (await client.approvals())[0]
        await client.approve(approval.approval_id, by="olga", roles=["officer"])
        await client.signal(waiter, "go", "now")
        assert await client.result(asker, timeout=30) == "paid 7"
        assert await client.result(waiter, timeout=30) == "now paid 5"
        assert await client.result(walker, timeout=60) == 200
        keys = services.effects()
        assert len(keys) == len(set(keys)) == RUNS + 2


@pytest.mark.crash
async def test_everything_killed_at_once_recovers(tmp_path: Path, own_nats: EmbeddedNats, database: str) -> None:
    """All services and NATS are killed together, NATS loses its files; the runs end once the services are back."""
    async with stack(tmp_path, nats_url=own_nats.url, postgres_url=database) as services:
        async with services.client() as client:
            await hosted(client)
            run_ids = [(await client.start("clerk", f"n{number}")).run_id for number in range(RUNS)]
        for name in ("coordinator", "worker", "gateway"):
            await services.kill(name)
        await own_nats.kill()
        await own_nats.wipe()
        await own_nats.start()
        for name in ("coordinator", "worker", "gateway"):
            await services.start(name)
        async with services.client() as client:
            for number, run_id in enumerate(run_ids):
                assert await client.result(run_id, timeout=60) == f"N{number} N{number}X CHILD paid 2", services.log()
        keys = services.effects()
        assert len(keys) == len(set(keys)) == RUNS
