"""Several workers and gateways share the work: fairly, with one that joins, and without one that dies, is paused or leaves."""

from __future__ import annotations

import asyncio
import json
import signal
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest

from tests.chaos.stack import Stack, hosted, stack
from tests.waiting import wait_until
from waypost.client import Client

RUNS = 24
STEPS = 10_000
"""More than a run makes while a test lasts."""
PATIENT = {
    # nothing that leaves in order may be waited for: with these, whatever waits for a silence to end waits for ten minutes
    "WAYPOST_COORDINATOR_HEARTBEAT_SECONDS": "600",
    "WAYPOST_COORDINATOR_LEASE_SECONDS": "300",
    "WAYPOST_WORKER_ACK_WAIT_SECONDS": "600",
    "WAYPOST_GATEWAY_ACK_WAIT_SECONDS": "600",
}


class Ledger:
    """What Postgres says of who does what."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def workers(self) -> Counter[str]:
        """Open runs of each worker."""
        rows = await self._connection.fetch(
            "SELECT worker, count(*) FROM runs WHERE worker <> '' AND status NOT IN ('completed') GROUP BY 1"
        )
        return Counter({row[0]: row[1] for row in rows})

    async def gateways(self, *, after: int = 0) -> Counter[str]:
        """Results of each gateway, by its process id, but for the first so many."""
        query = "SELECT data FROM events WHERE type = 'tool_call_completed' ORDER BY recorded_at OFFSET $1"
        rows = await self._connection.fetch(query, after)
        return Counter(json.loads(row[0])["data"]["result"] for row in rows)

    async def results(self) -> int:
        count: int = await self._connection.fetchval("SELECT count(*) FROM events WHERE type = 'tool_call_completed'")
        return count

    async def steps(self) -> dict[str, int]:
        """Results of each run."""
        rows = await self._connection.fetch("SELECT run_id::text, count(*) FROM events WHERE type = 'tool_call_completed' GROUP BY 1")
        return {row[0]: row[1] for row in rows}

    async def check(self, run_ids: Sequence[str]) -> None:
        """Each log has no gap, and each request at most one result."""
        for run_id in run_ids:
            rows = await self._connection.fetch("SELECT seq, type FROM events WHERE run_id = $1 ORDER BY seq", run_id)
            assert [row["seq"] for row in rows] == list(range(1, len(rows) + 1))
            kinds = Counter(row["type"] for row in rows)
            assert 0 <= kinds["tool_call_requested"] - kinds["tool_call_completed"] <= 1, kinds
            assert not kinds["run_failed"] + kinds["run_paused"], kinds


@asynccontextmanager
async def ledger(database: str) -> AsyncIterator[Ledger]:
    connection = await asyncpg.connect(database)
    try:
        yield Ledger(connection)
    finally:
        await connection.close()


async def start_runs(client: Client, count: int = RUNS, steps: int = STEPS) -> list[str]:
    return [(await client.start("pacer", steps)).run_id for _ in range(count)]


async def all_go_on(found: Ledger, run_ids: Sequence[str], services: Stack, *, steps: int = 3) -> None:
    """Every run makes some more steps."""
    before = await found.steps()

    async def went_on() -> bool:
        now = await found.steps()
        return all(now.get(run_id, 0) >= before.get(run_id, 0) + steps for run_id in run_ids)

    await wait_until(went_on, seconds=30, message=services.log)


async def until_shared(found: Ledger, services: Stack, *, workers: int, least: int) -> None:
    """So many workers have at least so many runs each."""

    async def shared() -> bool:
        return sum(count >= least for count in (await found.workers()).values()) >= workers

    await wait_until(shared, seconds=30, message=services.log)


@pytest.mark.crash
@pytest.mark.slow
async def test_workers_and_gateways_share_take_over_and_join(tmp_path: Path, nats_url: str, database: str) -> None:
    async with (
        stack(tmp_path, nats_url=nats_url, postgres_url=database) as services,
        services.client() as client,
        ledger(database) as found,
    ):
        await hosted(client)
        run_ids = await start_runs(client)
        await all_go_on(found, run_ids, services)
        (first,) = await found.workers()

        await services.start("worker", key="second worker")  # it gets runs that are under way: there are no new ones
        await services.start("gateway", key="second gateway")
        await until_shared(found, services, workers=2, least=RUNS // 4)
        before = await found.results()
        await all_go_on(found, run_ids, services, steps=5)
        gateways = await found.gateways(after=before)
        assert len(gateways) == 2
        assert min(gateways.values()) >= sum(gateways.values()) / 5, gateways

        await services.kill("worker")  # the first
        await services.kill("gateway")
        before = await found.results()
        await all_go_on(found, run_ids, services, steps=5)
        assert first not in await found.workers()
        assert len(await found.gateways(after=before + RUNS)) == 1
        await asyncio.gather(*(client.cancel(run_id, by="test") for run_id in run_ids))
        await found.check(run_ids)


@pytest.mark.slow
@pytest.mark.crash
@pytest.mark.parametrize("service", ["worker", "gateway"])
async def test_a_paused_one_is_replaced_and_changes_nothing_when_it_wakes(
    tmp_path: Path, nats_url: str, database: str, service: str
) -> None:
    async with (
        stack(tmp_path, nats_url=nats_url, postgres_url=database) as services,
        services.client() as client,
        ledger(database) as found,
    ):
        await services.start(service, key="second")
        await hosted(client)
        run_ids = await start_runs(client)
        payers = [(await client.start("clerk", f"n{number}")).run_id for number in range(6)]
        await all_go_on(found, run_ids, services)
        services.processes[service].send_signal(signal.SIGSTOP)
        payers += [(await client.start("clerk", f"n{number}")).run_id for number in range(6, 12)]
        await all_go_on(found, run_ids, services, steps=20)
        services.processes[service].send_signal(signal.SIGCONT)
        await all_go_on(found, run_ids, services, steps=20)
        for number, run_id in enumerate(payers):
            assert await client.result(run_id, timeout=60) == f"N{number} N{number}X CHILD paid 2", services.log()
        await asyncio.gather(*(client.cancel(run_id, by="test") for run_id in run_ids))
        await found.check(run_ids)
        keys = services.effects()
        assert len(keys) == len(set(keys)) == len(payers)


@pytest.mark.crash
@pytest.mark.parametrize(
    "new_first", [pytest.param(True, id="new first", marks=pytest.mark.slow), pytest.param(False, id="old first", marks=pytest.mark.slow)]
)
async def test_a_rolling_restart_waits_for_no_silence(tmp_path: Path, nats_url: str, database: str, new_first: bool) -> None:
    """Every lease, ack wait and silence is ten minutes long: what is not handed over would stand still until the test fails."""
    async with (
        stack(tmp_path, nats_url=nats_url, postgres_url=database, environment=PATIENT) as services,
        services.client() as client,
        ledger(database) as found,
    ):
        for service in ("coordinator", "worker", "gateway"):
            await services.start(service, key=f"{service} 2")
        await hosted(client)
        run_ids = await start_runs(client)
        await all_go_on(found, run_ids, services)
        for service in ("coordinator", "worker", "gateway"):
            for key in (service, f"{service} 2"):
                old = services.processes[key]
                if new_first:
                    await services.start(service, key=key)
                    await all_go_on(found, run_ids, services, steps=1)
                old.send_signal(signal.SIGTERM)
                assert await asyncio.wait_for(old.wait(), 30) == 0, services.log()
                if not new_first:
                    await services.start(service, key=key)
                await all_go_on(found, run_ids, services, steps=2)
        await asyncio.gather(*(client.cancel(run_id, by="test") for run_id in run_ids))
        await found.check(run_ids)
