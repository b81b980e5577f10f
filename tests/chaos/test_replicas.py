"""Two coordinators share the partitions; one that joins, leaves or dies changes who owns what, and nothing else."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import asyncpg
import pytest

from tests.chaos.stack import Stack, hosted, stack
from tests.waiting import wait_until

RUNS = 12


async def owners(database: str) -> dict[str, int]:
    """Owner → partitions whose lease is running."""
    connection = await asyncpg.connect(database)
    try:
        rows = await connection.fetch("SELECT owner, count(*) FROM partitions WHERE expires_at > now() AND owner <> '' GROUP BY owner")
        return {row[0]: row[1] for row in rows}
    finally:
        await connection.close()


async def until_owned_by(database: str, replicas: int, services: Stack) -> None:
    async def shared() -> bool:
        found = await owners(database)
        return len(found) == replicas and sum(found.values()) == 8

    await wait_until(shared, seconds=20, message=services.log)


@pytest.mark.crash
async def test_replicas_share_the_work_and_take_over_from_each_other(tmp_path: Path, nats_url: str, database: str) -> None:
    async with stack(tmp_path, nats_url=nats_url, postgres_url=database) as services, services.client() as client:
        await hosted(client)
        walkers = [(await client.start("walker", 60)).run_id for _ in range(RUNS)]
        await services.start("coordinator", key="second")
        await until_owned_by(database, 2, services)
        assert sorted((await owners(database)).values()) == [4, 4]
        clerks = [(await client.start("clerk", f"n{number}")).run_id for number in range(RUNS)]
        await services.kill("coordinator")
        await until_owned_by(database, 1, services)
        await services.start("coordinator")
        await until_owned_by(database, 2, services)
        services.processes["second"].send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(services.processes["second"].wait(), 20) == 0
        for run_id in walkers:
            assert await client.result(run_id, timeout=60) == 60, services.log()
        for number, run_id in enumerate(clerks):
            assert await client.result(run_id, timeout=60) == f"N{number} N{number}X CHILD paid 2", services.log()
        for run_id in (*walkers, *clerks):
            events = [event async for event in client.events(run_id)]
            assert [event.seq for event in events] == list(range(1, len(events) + 1))
        keys = services.effects()
        assert len(keys) == len(set(keys)) == RUNS
