"""The audit logger as a process, on real NATS and Postgres: killed, doubled, cut off; the log has no gap and no duplicate."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Self

import pytest

from tests.unit.waypost_audit.events import Scribe, check_log, taken
from tests.waiting import wait_until
from waypost_core.audit.heads import parse_head
from waypost_core.audit.kept import read_heads
from waypost_io.audit.keyfile import ensure_key
from waypost_io.audit.verifying import Wanted, verify
from waypost_io.bus.jetstream import JetStreamBus
from waypost_io.servers import EmbeddedPostgres
from waypost_io.store.migrate import migrate
from waypost_io.store.postgres import PostgresStore
from waypost_proto.errors import Unreachable

Start = Callable[..., "AuditProcess"]


class AuditProcess:
    """`python -m waypost_audit`; leaving kills what still runs."""

    def __init__(self, folder: Path, *, nats_url: str, prefix: str, postgres_url: str, ops_port: int = 0, **env: str) -> None:
        self._log = folder / "audit.log"
        self._ops_port = ops_port
        self._env = {
            **os.environ,
            "WAYPOST_NATS_URL": nats_url,
            "WAYPOST_POSTGRES_URL": postgres_url,
            "WAYPOST_PREFIX": prefix,
            "WAYPOST_AUDIT_POLL_SECONDS": "0.2",
            "WAYPOST_AUDIT_BATCH_MAX": "20",
            "WAYPOST_AUDIT_LEASE_SECONDS": "1",
            "WAYPOST_LOG_FORMAT": "json",
            **({"WAYPOST_OPS_ADDR": f"127.0.0.1:{ops_port}"} if ops_port else {}),
            **env,
        }

    async def __aenter__(self) -> Self:
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "waypost_audit", env=self._env, stderr=self._log.open("ab")
        )
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.kill()

    async def kill(self) -> None:
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()

    @property
    def log(self) -> str:
        return self._log.read_text()

    async def ready(self) -> tuple[int, dict[str, str]]:
        """Status and checks of `/readyz`."""
        return await asyncio.to_thread(_ready, self._ops_port)


def _ready(port: int) -> tuple[int, dict[str, str]]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as response:
            return response.status, json.loads(response.read())["checks"]
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())["checks"]


@pytest.fixture
async def scribe(postgres: object, postgres_template: str) -> AsyncIterator[Scribe]:
    """On a database of this test alone: the audit log is one for all runs of a database."""
    assert isinstance(postgres, EmbeddedPostgres)
    name = f"a{os.urandom(6).hex()}"
    url = await postgres.create_database(name, template=postgres_template)
    async with PostgresStore(url) as store:
        scribe = await Scribe(store).start()
        scribe.url = url
        yield scribe
    await postgres.drop_database(name)


@pytest.fixture
def start(scribe: Scribe, nats_url: str, prefix: str, tmp_path: Path) -> Start:
    return partial(AuditProcess, tmp_path, nats_url=nats_url, prefix=prefix, postgres_url=scribe.url)


async def test_it_takes_over_what_was_there_and_what_comes(scribe: Scribe, start: Start, free_port: int) -> None:
    await scribe.write({0: 30, 1: 5})
    async with start(ops_port=free_port) as process:
        await wait_until(partial(taken, scribe))
        for _ in range(10):
            await scribe.write({0: 3, 2: 4})
        await wait_until(partial(taken, scribe))

        async def caught_up() -> bool:
            return await process.ready() == (200, {"log": "ok: 0 events behind"})

        await wait_until(caught_up, ignore=(OSError,))
        process.process.send_signal(signal.SIGTERM)
        assert await process.process.wait() == 0, process.log
    await check_log(scribe.store, scribe.written)


async def test_a_ring_on_nats_wakes_it(scribe: Scribe, start: Start, nats_url: str, prefix: str) -> None:
    async with JetStreamBus(nats_url, name="test") as bus, start(WAYPOST_AUDIT_POLL_SECONDS="60"):
        for number in range(3):
            await scribe.write({number: 2})

            async def rung(number: int = number) -> bool:
                bus.send(f"{prefix}.events.clerk.r.e{number}", b"{}")
                return await taken(scribe)

            await wait_until(rung)
    await check_log(scribe.store, scribe.written)


async def _write_on(scribe: Scribe, until: asyncio.Event) -> None:
    """A busy platform: commits until told to stop."""
    while not until.is_set():
        await scribe.write({0: 3, 1: 1, 2: 2})
        await asyncio.sleep(0.002)


@pytest.mark.crash
@pytest.mark.parametrize("fault", ["audit.append.before:2", "audit.append.after:2"])
async def test_killed_around_an_append(scribe: Scribe, start: Start, fault: str) -> None:
    await scribe.write({0: 50, 1: 50})
    async with start(WAYPOST_FAULTS=fault) as first:
        assert await first.process.wait() == -signal.SIGKILL, first.log
    assert not await taken(scribe)
    async with start():
        await wait_until(partial(taken, scribe))
    await check_log(scribe.store, scribe.written)


@pytest.mark.crash
@pytest.mark.parametrize("fault", ["audit.key.before", "audit.key.after", "audit.head.before", "audit.head.after:2", "audit.anchor.after"])
async def test_killed_around_what_is_signed_and_anchored(scribe: Scribe, start: Start, tmp_path: Path, fault: str) -> None:
    key_file, heads, anchors = tmp_path / "audit.key", tmp_path / "heads.jsonl", tmp_path / "anchors.toml"
    (key,) = ensure_key(key_file)
    anchors.write_text(f'[[anchor]]\nkind = "file"\nname = "worm"\npath = "{heads}"\nevery_seconds = 0\n')
    env = {"WAYPOST_AUDIT_KEY_FILE": str(key_file), "WAYPOST_AUDIT_ANCHORS_FILE": str(anchors), "WAYPOST_AUDIT_HEAD_SECONDS": "0.05"}
    await scribe.write({0: 50, 1: 50})
    stop = asyncio.Event()
    writing = asyncio.create_task(_write_on(scribe, stop))
    async with start(WAYPOST_FAULTS=fault, **env) as first:
        assert await first.process.wait() == -signal.SIGKILL, first.log
    stop.set()
    await writing
    async with start(**env) as second:
        await wait_until(partial(_signed, scribe))
        second.process.send_signal(signal.SIGTERM)
        assert await second.process.wait() == 0, second.log
    await check_log(scribe.store, scribe.written)
    kept = read_heads(heads.read_text(), str(heads))
    report = await verify(scribe.store.audit, Wanted(trusted=[key.verifier], heads=kept))
    assert report.ok, report.findings
    assert report.signed_size == len(scribe.written)
    assert parse_head(kept[-1])[0].size == len(scribe.written)  # at the stop


async def _signed(scribe: Scribe) -> bool:
    newest = await scribe.store.audit.newest_head()
    return newest is not None and newest.size == len(scribe.written)


@pytest.mark.crash
@pytest.mark.slow
async def test_killed_again_and_again_while_two_of_them_run(scribe: Scribe, start: Start) -> None:
    stop = asyncio.Event()
    writing = asyncio.create_task(_write_on(scribe, stop))
    async with start():
        for _ in range(3):
            before = len(scribe.written)
            async with start() as second:

                async def moved(before: int = before) -> bool:
                    return (await scribe.store.audit.state()).size > before + 20

                await wait_until(moved)
                await second.kill()
        stop.set()
        await writing
        await wait_until(partial(taken, scribe))
    await check_log(scribe.store, scribe.written)


@pytest.mark.crash
async def test_a_killed_database_is_waited_for(own_postgres: EmbeddedPostgres, nats_url: str, prefix: str, tmp_path: Path) -> None:
    await migrate(own_postgres.url)
    async with (
        PostgresStore(own_postgres.url) as store,
        AuditProcess(tmp_path, nats_url=nats_url, prefix=prefix, postgres_url=own_postgres.url) as process,
    ):
        scribe = await Scribe(store).start()
        await scribe.write({0: 10})
        await wait_until(partial(taken, scribe))
        await own_postgres.kill()
        await wait_until(lambda: "trying again" in process.log)
        await own_postgres.start()
        await wait_until(lambda: _write_one(scribe), message="the database is back")
        await wait_until(partial(taken, scribe))
        assert process.process.returncode is None
        await check_log(store, scribe.written)


async def _write_one(scribe: Scribe) -> bool:
    try:
        await scribe.store.leases.now()
    except Unreachable:
        return False
    await scribe.write({0: 5})
    return True
