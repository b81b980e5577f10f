"""An installation that is well, and doctor's look at it, in this process."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from tests.integration.api.test_command_line import Shell
from tests.unit.waypost_coordinator.api.rig import Desk
from waypost_cli import connect
from waypost_cli.doctor import doctor
from waypost_io.bus.jetstream import JetStreamBus
from waypost_io.bus.topology import stream_specs
from waypost_io.servers import EmbeddedNats, EmbeddedPostgres
from waypost_io.store.postgres import PostgresStore
from waypost_proto.api import AgentView, ToolView
from waypost_proto.registry import AgentDefinition, ToolDefinition
from waypost_proto.values import Effect


class Look:
    """What doctor found: `code`, and the findings by check; of several the one that is worst."""

    def __init__(self, code: int, findings: list[dict[str, Any]]) -> None:
        self.code = code
        self.all = findings

    def __getitem__(self, check: str) -> dict[str, Any]:
        found = [finding for finding in self.all if finding["check"] == check]
        assert found, f"{check}: not among {[(f['check'], f['level']) for f in self.all]}"
        return max(found, key=lambda finding: ("skipped", "ok", "warning", "failure").index(finding["level"]))

    @property
    def bad(self) -> dict[str, str]:
        return {f["check"]: f["level"] for f in self.all if f["level"] in ("warning", "failure")}


Examine = Callable[..., Any]


@pytest.fixture
def examine(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Examine:
    """`await examine(WAYPOST_…=…)`: doctor with exactly these variables."""
    monkeypatch.setattr(connect, "PATIENCE_SECONDS", 0.5)
    monkeypatch.chdir(tmp_path)

    async def look(**env: object) -> Look:
        with monkeypatch.context() as patch:
            for name, value in env.items():
                patch.setenv(name, str(value))
            code = await doctor(json=True)
        findings = json.loads(capsys.readouterr().out)
        assert all(f.get("mend") for f in findings if f["level"] in ("warning", "failure")), "whatever is wrong says how to mend it"
        return Look(code, findings)

    return look


@pytest.fixture
async def desk(nats_url: str, prefix: str) -> AsyncIterator[Desk]:
    """An API with an agent and a tool, hosted, on streams as they must be."""
    async with JetStreamBus(nats_url, name="desk") as bus, Desk(bus, prefix) as desk:
        for spec in stream_specs(desk.subjects, partitions=1):
            await bus.ensure_stream(spec)
        desk.hosts.agents = [AgentView(definition=AgentDefinition(name="desk", build="b1"), workers=["w-1"])]
        desk.hosts.tools = [ToolView(definition=ToolDefinition(name="mail", effect=Effect.READ), gateways=["g-1"])]
        yield desk


@pytest.fixture(scope="module")
async def synced(postgres: EmbeddedPostgres) -> AsyncIterator[None]:
    """The session's Postgres does not sync, for speed; here it does, because doctor would say so."""
    connection = await asyncpg.connect(postgres.url)
    for value in ("on", "off"):
        for setting in ("fsync", "full_page_writes"):
            await connection.execute(f"ALTER SYSTEM SET {setting} = {value}")
        await connection.execute("SELECT pg_reload_conf()")
        if value == "on":
            yield
    await connection.close()


@pytest.fixture
async def env(nats_url: str, desk: Desk, postgres_url: str, synced: None) -> dict[str, str]:
    """The environment of an installation that is well."""
    async with PostgresStore(postgres_url) as store:
        await store.leases.ensure_partitions(1)
        await store.leases.acquire("c-1", at_most=1, lease_seconds=600)
    return {
        "WAYPOST_NATS_URL": nats_url,
        "WAYPOST_PREFIX": desk.subjects.prefix,
        "WAYPOST_POSTGRES_URL": postgres_url,
        "WAYPOST_PARTITIONS": "1",
    }


@pytest.fixture
def shell(env: dict[str, str], tmp_path: Path) -> Shell:
    """The command as a process, in that environment."""
    shell = Shell(env["WAYPOST_NATS_URL"], env["WAYPOST_PREFIX"], tmp_path)
    shell.environment |= env
    return shell


class OddNats(EmbeddedNats):
    """A NATS server with more in its configuration, or (None) with less."""

    def __init__(self, data_dir: Path, **more: object) -> None:
        super().__init__(data_dir)
        self.more = more

    def _config(self) -> dict[str, object]:
        return {name: value for name, value in {**super()._config(), **self.more}.items() if value is not None}
