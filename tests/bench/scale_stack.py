"""Servers and services that can be killed all at once and started again: nobody restarts them unasked.

`Servers` are an embedded NATS and Postgres; a `Stack` is coordinator, worker and gateway in streams and a database of their own on them.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench import scale_work
from tests.bench.driver import Stalled
from waypost.client import Client
from waypost_io.servers import ChildProcess, EmbeddedNats, EmbeddedPostgres, ProcessSpec
from waypost_io.store.migrate import migrate
from waypost_proto.errors import WaypostError

MODULE = Path(scale_work.__file__)
ROOT = Path(__file__).resolve().parents[2]
COMMANDS = {
    "coordinator": ("-m", "waypost_coordinator"),
    "worker": ("-m", "waypost_worker", str(MODULE)),
    "gateway": ("-m", "waypost_gateway", str(MODULE)),
}
READY_SECONDS = 60.0
POLL_SECONDS = 0.05
PATIENCE_SECONDS = 60.0
TOOLS = 3
AGENTS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Servers:
    """One of each."""

    folder: Path
    nats: EmbeddedNats
    postgres: EmbeddedPostgres


@dataclass(slots=True, kw_only=True)
class Stack:
    """The services under one prefix."""

    servers: Servers
    prefix: str
    postgres_url: str
    processes: dict[str, ChildProcess] = field(default_factory=dict)

    @property
    def pids(self) -> dict[str, int]:
        return {name: process.pid for name, process in self.processes.items()}

    async def start(self) -> None:
        """Start the services and wait until worker and gateway are known. Raises `Stalled`."""
        environment = {
            **os.environ,
            "WAYPOST_NATS_URL": self.servers.nats.url,
            "WAYPOST_POSTGRES_URL": self.postgres_url,
            "WAYPOST_PREFIX": self.prefix,
            "WAYPOST_BUILD": "scale",
            "WAYPOST_LOG_FORMAT": "json",
        }
        for name, command in COMMANDS.items():
            self.processes[name] = await ChildProcess.start(
                ProcessSpec(
                    name=name,
                    command=(sys.executable, *command),
                    log_path=self.servers.folder / f"{self.prefix}-{name}.log",
                    environment=environment,
                    folder=ROOT,
                )
            )
        async with Client(url=self.servers.nats.url, prefix=self.prefix, patience_seconds=1.0) as client:
            try:
                async with asyncio.timeout(READY_SECONDS):
                    while not await _hosted(client):
                        await asyncio.sleep(POLL_SECONDS)
            except TimeoutError:
                logs = "\n".join(f"{name}: {process.log_tail()}" for name, process in self.processes.items())
                raise Stalled(f"worker and gateway were not known within {READY_SECONDS:g} s\n{logs}") from None

    async def revive(self) -> None:
        """Start those that do not run and return at once. Whoever keeps them running calls it again and again, as an init system does:
        a coordinator that finds Postgres still starting ends."""
        for name, process in list(self.processes.items()):
            if not process.running:
                self.processes[name] = await ChildProcess.start(process.spec)

    async def kill(self) -> None:
        """SIGKILL to each of them; they have no time to do anything about it."""
        await asyncio.gather(*(process.kill() for process in self.processes.values()))


@asynccontextmanager
async def running_servers(folder: Path) -> AsyncIterator[Servers]:
    """Embedded servers with their files in `folder`; ended afterwards."""
    async with EmbeddedNats(folder / "nats") as nats, EmbeddedPostgres(folder / "postgres") as postgres:
        yield Servers(folder=folder, nats=nats, postgres=postgres)


@asynccontextmanager
async def running_stack(servers: Servers, prefix: str, postgres_url: str = "") -> AsyncIterator[Stack]:
    """Services that are ready, in a database of their own unless one is given; killed afterwards."""
    if not postgres_url:
        postgres_url = await new_database(servers, prefix)
    stack = Stack(servers=servers, prefix=prefix, postgres_url=postgres_url)
    try:
        await stack.start()
        yield stack
    finally:
        await stack.kill()


async def new_database(servers: Servers, name: str) -> str:
    """A migrated database; its URL."""
    url = await servers.postgres.create_database(name)
    await migrate(url)
    return url


async def _hosted(client: Client) -> bool:
    try:
        agents, tools = await client.agents(), await client.tools()
    except WaypostError:
        return False
    return sum(bool(view.workers) for view in agents) == AGENTS and sum(bool(view.gateways) for view in tools) == TOOLS
