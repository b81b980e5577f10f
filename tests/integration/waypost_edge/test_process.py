"""The edge as a process on real servers: it serves, says whether it is ready, needs only the reader's role, and ends in order."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg

from tests.conformance.store.rows import PARTITIONS, Owner
from tests.waiting import wait_until
from waypost_io.servers import EmbeddedPostgres, free_port
from waypost_io.store import PostgresStore


class Process:
    """`python -m waypost_edge`."""

    def __init__(self, process: asyncio.subprocess.Process, http: int, ops: int) -> None:
        self.process, self._http, self._ops = process, http, ops

    async def get(self, path: str) -> tuple[int, bytes]:
        return await asyncio.to_thread(_fetch, f"http://127.0.0.1:{self._http}{path}")

    async def ops(self, path: str) -> tuple[int, bytes]:
        return await asyncio.to_thread(_fetch, f"http://127.0.0.1:{self._ops}{path}")


def _fetch(url: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


@asynccontextmanager
async def edge(folder: Path, url: str, nats_url: str, **more: str) -> AsyncIterator[Process]:
    http, ops = free_port(), free_port()
    environment = {
        **os.environ,
        "WAYPOST_POSTGRES_URL": url,
        "WAYPOST_NATS_URL": nats_url,
        "WAYPOST_HTTP_ADDR": f"127.0.0.1:{http}",
        "WAYPOST_OPS_ADDR": f"127.0.0.1:{ops}",
        "WAYPOST_LOG_FORMAT": "json",
        **more,
    }
    with (folder / "edge.log").open("ab") as log:
        process = await asyncio.create_subprocess_exec(sys.executable, "-m", "waypost_edge", env=environment, stderr=log)
    try:
        yield Process(process, http, ops)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _reader(postgres: EmbeddedPostgres, url: str) -> str:
    """The URL of a login that has the reader's role and nothing else."""
    admin = await asyncpg.connect(postgres.url)
    try:
        await admin.execute(
            "DO $$ BEGIN CREATE ROLE edge_login LOGIN IN ROLE waypost_reader; EXCEPTION WHEN duplicate_object THEN NULL; END $$"
        )
    finally:
        await admin.close()
    return url.replace("postgres@", "edge_login@")


async def test_it_serves_with_the_readers_role_and_ends_in_order(
    tmp_path: Path, postgres: EmbeddedPostgres, postgres_url: str, nats_url: str
) -> None:
    async with PostgresStore(postgres_url) as store:
        await store.leases.ensure_partitions(PARTITIONS)
        leases = await store.leases.acquire("me", at_most=PARTITIONS, lease_seconds=60)
        run_id = await Owner(store, "me", {lease.partition: lease for lease in leases}).run()
        async with edge(tmp_path, await _reader(postgres, postgres_url), nats_url) as running:

            async def ready() -> bool:
                return (await running.ops("/readyz"))[0] == 200

            await wait_until(ready, ignore=(OSError,))
            assert await running.get("/tempo/api/echo") == (200, b"echo")
            status, body = await running.get("/tempo/api/search?q=%7B%7D&limit=20&spss=3&start=0&end=4000000000")
            assert status == 200, body
            assert json.loads(body)["metrics"]["inspectedTraces"] == 1
            assert (await running.get("/tempo/api/v2/search/tags"))[0] == 200
            assert (await running.get("/tempo/api/v2/search/tag/span.gen_ai.tool.name/values"))[0] == 200
            status, body = await running.get(f"/tempo/api/traces/{run_id.replace('-', '')}")
            assert (status, json.loads(body)["title"]) == (500, "Internal Server Error"), (
                "the log of this run is no log: its bytes are no event"
            )
            assert (await running.get("/nothing"))[0] == 404
            assert b"waypost_edge_requests_total" in (await running.ops("/metrics"))[1]
            running.process.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(running.process.wait(), 20) == 0, (tmp_path / "edge.log").read_text()


async def test_an_address_that_is_open_to_others_is_refused_without_identities(tmp_path: Path, postgres_url: str, nats_url: str) -> None:
    async with edge(tmp_path, postgres_url, nats_url, WAYPOST_HTTP_ADDR="0.0.0.0:0") as running:
        assert await asyncio.wait_for(running.process.wait(), 20) == 2
    assert "WAYPOST_API_TOKENS_FILE" in (tmp_path / "edge.log").read_text()
