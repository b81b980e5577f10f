"""A whole deployment of real processes: NATS, Postgres, two coordinators, workers and gateways, the audit logger, the provider.

Every service reaches each server through a link of its own. Owns making it and taking it down; `faults` strikes it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import shutil
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.storm.clocks import Clocks
from tests.chaos.storm.disks import SmallDisk
from tests.chaos.storm.links import Link, Mischief
from tests.chaos.storm.plan import SERVICES
from tests.chaos.storm.processes import Program, Server, Service
from tests.chaos.storm.programs import TOOLS
from tests.waiting import wait_until
from waypost import Client
from waypost_io.servers import EmbeddedNats, EmbeddedPostgres, NatsOptions, PostgresOptions
from waypost_io.store.migrate import migrate
from waypost_proto.errors import WaypostError

ROOT = Path(__file__).resolve().parents[3]
MODULE = "tests.chaos.storm.programs"
PREFIX = "storm"
NATS_DISK_BYTES = 1 << 30
POSTGRES_DISK_BYTES = 3 << 30
CUSTOMERS = "customers"
Start = Callable[[Coroutine[None, None, None]], None]
SETTINGS = {
    # leases and waits shorter than the defaults, so that many recoveries fit into a minute; the mechanisms are the same
    "WAYPOST_COORDINATOR_LEASE_SECONDS": "2",
    "WAYPOST_COORDINATOR_SWEEP_SECONDS": "1",
    "WAYPOST_COORDINATOR_HEARTBEAT_SECONDS": "3",
    "WAYPOST_GATEWAY_ACK_WAIT_SECONDS": "2",
    "WAYPOST_GATEWAY_LEASE_SECONDS": "2",
    "WAYPOST_GATEWAY_SETTLE_SECONDS": "1.5",
    "WAYPOST_GATEWAY_HEARTBEAT_SECONDS": "0.5",
    "WAYPOST_WORKER_ACK_WAIT_SECONDS": "2",
    "WAYPOST_WORKER_HEARTBEAT_SECONDS": "0.5",
    "WAYPOST_WORKER_RESEND_SECONDS": "1",
    "WAYPOST_DRAIN_SECONDS": "5",
}


@dataclass
class Deployment:
    """What can be struck, and where it lies."""

    folder: Path
    nats: Server
    postgres: Server
    database: str
    """URL for whoever looks from outside, past all links."""
    clocks: Clocks
    mischief: Mischief
    disks: dict[str, SmallDisk] = field(default_factory=dict)
    """By `nats` and `postgres`; empty where there can be none."""
    nats_links: dict[str, Link] = field(default_factory=dict)
    postgres_links: dict[str, Link] = field(default_factory=dict)
    services: dict[str, Service] = field(default_factory=dict)
    impossible: dict[str, str] = field(default_factory=dict)
    """Kinds of faults that cannot be made here, and why."""

    @property
    def customers_url(self) -> str:
        return f"nats://127.0.0.1:{self.nats_links[CUSTOMERS].port}"

    @property
    def effects_file(self) -> Path:
        return self.folder / "effects.jsonl"

    @property
    def nats_server(self) -> EmbeddedNats:
        assert isinstance(self.nats.server, EmbeddedNats)
        return self.nats.server


@contextlib.asynccontextmanager
async def deployed(folder: Path, seed: int, *, mounts: str = "", settings: dict[str, str] | None = None) -> AsyncIterator[Deployment]:
    """A deployment in this folder, ready for work; all of it is gone afterwards, but for its files.

    `mounts`: why there can be no small disks, "" if there can be. `settings` instead of the quick ones.
    """
    folder.mkdir(parents=True, exist_ok=True)
    async with contextlib.AsyncExitStack() as stack:
        made = await _servers(stack, folder, seed, mounts)
        for name in (*SERVICES, CUSTOMERS):
            made.nats_links[name] = await _link(stack, made.nats_server.port, made.mischief)
            if not name.startswith(("worker", CUSTOMERS)):
                made.postgres_links[name] = await _link(stack, made.postgres.server.port)
        start = await stack.enter_async_context(_supervisors())
        await _start_provider(start, made, seed)
        for name in SERVICES:
            made.services[name] = service = Service(_program(made, name, SETTINGS if settings is None else settings))
            start(service.supervise())
        for server in (made.nats, made.postgres):
            start(server.supervise())
        await _known(made)
        yield made


async def _servers(stack: contextlib.AsyncExitStack, folder: Path, seed: int, mounts: str) -> Deployment:
    disks, problem = _disks(folder, mounts)
    nats = EmbeddedNats(_home(folder, disks, "nats"), options=NatsOptions(max_file_bytes=1 << 40, max_memory_bytes=1 << 38))
    postgres = EmbeddedPostgres(_home(folder, disks, "postgres"), options=PostgresOptions(max_wal_mib=192, shared_buffers_mib=64))
    for server in (nats, postgres):  # their logs must not lie on the disk that is full
        server.log_path = folder / "logs" / f"{server.name}.log"
        await stack.enter_async_context(server)
    database = await postgres.create_database("storm")
    await migrate(database)
    clocks = Clocks(folder)
    impossible = {kind: problem for kind in ("nats-disk-full", "postgres-disk-full") if problem}
    if clocks.reason:
        impossible["clock"] = clocks.reason
    mischief = Mischief(f"{PREFIX}.".encode(), chance=random.Random(seed))
    return Deployment(folder, Server(nats), Server(postgres), database, clocks, mischief, disks, impossible=impossible)


def _disks(folder: Path, mounts: str) -> tuple[dict[str, SmallDisk], str]:
    if mounts:
        return {}, mounts
    disks = {
        "nats": SmallDisk(folder / "nats-disk", NATS_DISK_BYTES),
        "postgres": SmallDisk(folder / "postgres-disk", POSTGRES_DISK_BYTES),
    }
    for disk in disks.values():
        if problem := disk.mount():
            return {}, problem
    return disks, ""


def _home(folder: Path, disks: dict[str, SmallDisk], name: str) -> Path:
    return disks[name].folder / "data" if disks else folder / name


async def _link(stack: contextlib.AsyncExitStack, port: int, mischief: Mischief | None = None) -> Link:
    link = Link("127.0.0.1", port, mischief)
    await link.open()
    stack.push_async_callback(link.close)
    return link


@contextlib.asynccontextmanager
async def _supervisors() -> AsyncIterator[Start]:
    """What starts tasks that run for ever: they are cancelled at the end, and an error of one ends everything."""
    tasks: list[asyncio.Task[None]] = []
    async with asyncio.TaskGroup() as group:

        def start(supervisor: Coroutine[None, None, None]) -> None:
            tasks.append(group.create_task(supervisor))

        try:
            yield start
        finally:
            for task in tasks:
                task.cancel()


async def _start_provider(start: Start, made: Deployment, seed: int) -> None:
    socket = made.folder / "provider.sock"
    command = [sys.executable, "-m", "tests.chaos.storm.provider", str(socket), str(made.effects_file), str(seed)]
    provider = Service(
        Program(name="provider", command=command, environment=_environment(), log_path=made.folder / "logs/provider.log", folder=ROOT)
    )
    start(provider.supervise())
    await wait_until(socket.exists, message="the provider does not start")


def _program(made: Deployment, name: str, settings: dict[str, str]) -> Program:
    kind = name.partition("-")[0]
    environment = _environment() | settings | made.clocks.environment(name)
    environment |= {
        "WAYPOST_NATS_URL": f"nats://127.0.0.1:{made.nats_links[name].port}",
        "WAYPOST_PREFIX": PREFIX,
        "WAYPOST_LOG_LEVEL": "INFO",
        "WAYPOST_BUILD": "storm",
        "CHAOS_PROVIDER": str(made.folder / "provider.sock"),
    }
    if name in made.postgres_links:
        environment["WAYPOST_POSTGRES_URL"] = f"postgresql://postgres@127.0.0.1:{made.postgres_links[name].port}/storm"
    hosts = [MODULE] if kind in ("worker", "gateway") else []
    command = [sys.executable, "-m", f"waypost_{kind}", *hosts]
    return Program(name=name, command=command, environment=environment, log_path=made.folder / f"logs/{name}.log", folder=ROOT)


def _environment() -> dict[str, str]:
    """Ours without any setting of Waypost's, and with our own root among the places of modules."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("WAYPOST_", "CHAOS_"))}
    return kept | {"PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))}


async def _known(made: Deployment) -> None:
    """Wait until workers and gateways are known: customers come to a system that is whole."""
    async with Client(url=made.nats_server.url, prefix=PREFIX, patience_seconds=5) as client:

        async def whole() -> bool:
            agents, tools = await client.agents(), await client.tools()
            return (
                all(view.workers for view in agents) and {view.definition.name for view in tools if view.gateways} >= TOOLS and bool(agents)
            )

        await wait_until(whole, seconds=60, ignore=(WaypostError,), message=f"the services do not come up; logs in {made.folder}/logs")


def keep(made: Deployment, target: Path) -> None:
    """Copy what is worth examining to a folder that stays. The servers must be down."""
    for name in ("logs", "customers.log", "effects.jsonl"):
        source = made.folder / name
        if source.is_dir():
            shutil.copytree(source, target / name, dirs_exist_ok=True)
        elif source.exists():
            shutil.copy2(source, target / name)
    shutil.copytree(made.postgres.server.data_dir, target / "postgres", dirs_exist_ok=True)
