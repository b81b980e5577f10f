"""The two sides under one pair of servers: Waypost's services as `waypost dev` starts them, and the floor's three processes."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec

from tests.bench import floor, work
from tests.bench.driver import Stalled
from tests.bench.tape import Tape
from waypost_cli.dev import DevOptions, Supervisor
from waypost_io.bus.jetstream import JetStreamBus
from waypost_io.bus.topology import stream_specs
from waypost_io.servers import ChildProcess, EmbeddedNats, EmbeddedPostgres, ProcessSpec
from waypost_io.store.migrate import migrate
from waypost_proto.subjects import STREAMS, Subjects

WORK_FILE = Path(work.__file__)
FLOOR_ROLES = ("coordinator", "worker", "gateway")
ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Side:
    """Something that takes tasks under a prefix."""

    name: str
    prefix: str
    pids: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Waypost:
    """The running platform."""

    side: Side
    nats: EmbeddedNats
    postgres: EmbeddedPostgres
    postgres_url: str
    data_dir: Path


@asynccontextmanager
async def temporary_folder() -> AsyncIterator[Path]:
    """A folder that the embedded Postgres, another user when we are root, may pass through."""
    with tempfile.TemporaryDirectory(prefix="waypost-bench-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o755)
        yield Path(name)


@asynccontextmanager
async def waypost(data_dir: Path, services: tuple[str, ...]) -> AsyncIterator[Waypost]:
    """These services and embedded servers, ready; ended afterwards."""
    options = DevOptions(modules=(str(WORK_FILE),), data_dir=data_dir, services=services, reload=False)
    async with Supervisor(options) as supervisor:
        assert supervisor.nats is not None
        assert supervisor.postgres is not None
        pids = {name: process.pid for name, process in supervisor.processes.items()}
        side = Side(name="waypost", prefix=options.prefix, pids=pids)
        yield Waypost(
            side=side, nats=supervisor.nats, postgres=supervisor.postgres, postgres_url=supervisor.postgres_url, data_dir=data_dir
        )


@asynccontextmanager
async def floor_beside(platform: Waypost, tape: Tape) -> AsyncIterator[Side]:
    """The floor on the same servers, in streams and a database of its own; killed afterwards."""
    postgres_url = await platform.postgres.create_database(floor.PREFIX)
    await migrate(postgres_url)
    async with JetStreamBus(platform.nats.url, name="waypost-bench") as bus:
        for spec in stream_specs(Subjects(floor.PREFIX), partitions=floor.PARTITIONS):
            await bus.ensure_stream(spec)
    tape_file = platform.data_dir / "tape.json"
    tape_file.write_bytes(msgspec.json.encode(tape))
    environment = {**os.environ, "WAYPOST_NATS_URL": platform.nats.url, "WAYPOST_POSTGRES_URL": postgres_url}
    processes: dict[str, ChildProcess] = {}
    try:
        for role in FLOOR_ROLES:
            processes[role] = await ChildProcess.start(
                ProcessSpec(
                    name=f"floor-{role}",
                    command=(sys.executable, "-m", "tests.bench.floor", role, str(tape_file)),
                    log_path=platform.data_dir / f"floor-{role}.log",
                    environment=environment,
                    folder=ROOT,
                )
            )
        yield Side(name="floor", prefix=floor.PREFIX, pids={role: process.pid for role, process in processes.items()})
    except Stalled as error:
        logs = "\n".join(f"{role}: {process.log_tail()}" for role, process in processes.items() if not process.running)
        raise Stalled(f"{error}\n{logs}") from error
    finally:
        for process in processes.values():
            await process.kill()


async def stream_positions(nats_url: str, prefix: str) -> dict[str, int]:
    """The last sequence number of each stream: how many messages it ever took."""
    async with JetStreamBus(nats_url, name="waypost-bench") as bus:
        marks = {name: await bus.stream_mark(Subjects(prefix).stream(name)) for name in STREAMS}
    return {name: mark.last_seq for name, mark in marks.items() if mark is not None}
