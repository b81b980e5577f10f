"""Real services with agents that bring about all that dashboards show, and what their `/metrics` really says."""

from __future__ import annotations

import asyncio
import base64
import re
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import nats

from tests.waiting import wait_until
from waypost import Client
from waypost_cli.dev import DevOptions, Supervisor
from waypost_io.servers import free_port

MODULE = Path(__file__).with_name("agents_module.py")
POLICY = """
version = "1"
[[rules]]
name = "never"
decision = "deny"
tools = ["forbidden"]
"""
WEBHOOK = """
[[webhook]]
name = "crm"
url = "http://127.0.0.1:9/"
secret_env = "CRM_WEBHOOK_SECRET"
types = ["run_completed"]
attempts = 1
allow = ["127.0.0.1/32:9"]
"""
"""Nobody is there: it fails, and is given up."""
_SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


@dataclass
class Exported:
    """Metrics by name, with the labels that their samples really have, and the values that those take."""

    labels: dict[str, set[str]] = field(default_factory=dict)
    values: dict[tuple[str, str], set[str]] = field(default_factory=dict)
    declared: set[str] = field(default_factory=set)

    def add(self, text: str) -> None:
        """Take in one `/metrics`."""
        for line in text.splitlines():
            if line.startswith("# TYPE "):
                self.declared.add(line.split()[2])
            elif match := _SAMPLE.match(line):
                name, inner = match[1], match[2] or ""
                self.labels.setdefault(name, set())
                for label, value in _LABEL.findall(inner):
                    self.labels[name].add(label)
                    self.values.setdefault((name, label), set()).add(value)


@dataclass
class Site:
    """A deployment at work."""

    supervisor: Supervisor
    client: Client
    exported: Exported
    finished: str
    """A run that has ended well."""

    @property
    def ops_ports(self) -> dict[str, int]:
        return {name: process.spec.ops_port for name, process in self.supervisor.processes.items()}


async def http_get(port: int, path: str, accept: str = "*/*") -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\nAccept: {accept}\r\n\r\n".encode())
    answer = (await reader.read()).decode()
    writer.close()
    return answer.partition("\r\n\r\n")[2]


async def scrape(ports: Iterable[int]) -> Exported:
    """Everything that the services show now."""
    found = Exported()
    for port in ports:
        found.add(await http_get(port, "/metrics"))
    return found


async def everything_happens(supervisor: Supervisor, client: Client) -> str:
    """Bring about whatever a panel or an alert looks at; the run id of one that ended well."""
    finished = (await client.start("desk", "a")).run_id
    starts = ("gated", "gated", "doubtful", "circling", "limited", "failing", "failing", "homeless", "refused", "owing")
    runs = {f"{name}-{number}": (await client.start(name, f"k{number}")).run_id for number, name in enumerate(starts)}
    await client.start("waiting", "never", deadline=timedelta(seconds=4))
    await client.start("waiting", "never", deadline=timedelta(hours=1))
    connection = await nats.connect(supervisor.nats_url)
    await connection.publish("waypost.tasks.desk", b"this is no task")
    await connection.flush()
    await connection.close()
    approvals = await wait_until(lambda: _two(client))
    await client.approve(approvals[0].approval_id, by="ann", roles=["officer"])
    await client.result(finished)
    for name in ("circling-3", "limited-4"):
        await wait_until(lambda name=name: _has(client, runs[name], "paused"))  # type: ignore[misc]
    return finished


async def _two(client: Client) -> list:
    found = await client.approvals()
    return found if len(found) == 2 else []


async def _has(client: Client, run_id: str, status: str) -> bool:
    return (await client.get(run_id)).status == status


SHOWN = (
    ("waypost_calls_in_doubt", "tool"),
    ("waypost_approvals_waiting", "role"),
    ("waypost_runs_near_deadline", "agent"),
    ("waypost_deadlines_near_total", "agent"),
    ("waypost_tool_deferrals_total", "why"),
    ("waypost_dead_letters_total", "origin"),
    ("waypost_approvals_total", "outcome"),
    ("waypost_loops_total", "kind"),
    ("waypost_tool_attempts_failed_total", "error"),
    ("waypost_audit_anchor_failures_total", "anchor"),
    ("waypost_edge_webhooks_total", "webhook"),
)
"""Series that come late: once all of these are there, so is the rest."""


async def all_is_shown(supervisor: Supervisor) -> Exported:
    ports = [process.spec.ops_port for process in supervisor.processes.values()]
    found = Exported()
    for _ in range(100):
        for port in ports:
            found.add(await http_get(port, "/metrics"))
        missing = [name for name, label in SHOWN if label not in found.labels.get(name, ())]
        if not missing:
            return found
        await asyncio.sleep(0.2)
    raise AssertionError(f"never shown: {missing}")


@asynccontextmanager
async def at_work() -> AsyncIterator[Site]:
    """A whole deployment in which everything has happened."""
    folder = Path(tempfile.mkdtemp(prefix="waypost-grafana-"))
    folder.chmod(0o755)
    try:
        (folder / "policy.toml").write_text(POLICY)
        anchors = {"worm": folder / "heads.jsonl", "away": folder / "policy.toml" / "heads.jsonl"}  # no folder: it fails
        kept = "".join(f'[[anchor]]\nkind = "file"\nname = "{name}"\npath = "{path}"\n' for name, path in anchors.items())
        (folder / "anchors.toml").write_text(kept)
        (folder / "webhooks.toml").write_text(WEBHOOK)
        options = DevOptions(
            edge_addr=f"127.0.0.1:{free_port()}",
            modules=(str(MODULE),),
            data_dir=folder / "data",
            reload=False,
            environment={
                "WAYPOST_POLICY_FILE": str(folder / "policy.toml"),
                "WAYPOST_COORDINATOR_LOOK_SECONDS": "0.3",
                "WAYPOST_CAPTURE": "answers",
                "WAYPOST_GATEWAY_SETTLE_SECONDS": "0",
                "WAYPOST_AUDIT_ANCHORS_FILE": str(folder / "anchors.toml"),
                "WAYPOST_AUDIT_HEAD_SECONDS": "1",
                "WAYPOST_WEBHOOKS_FILE": str(folder / "webhooks.toml"),
                "CRM_WEBHOOK_SECRET": f"whsec_{base64.b64encode(bytes(32)).decode()}",
            },
            environment_of={"audit": {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:9/v1/traces"}},
        )
        async with Supervisor(options) as supervisor, Client(supervisor.nats_url) as client:
            port = int(options.edge_addr.rpartition(":")[2])
            await http_get(port, "/tempo/api/search")
            finished = await everything_happens(supervisor, client)
            yield Site(supervisor, client, await all_is_shown(supervisor), finished)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
