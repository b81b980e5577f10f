"""Two of each service as real processes with the settings that users get, on embedded servers. Owns their life and death."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import asyncpg

from tests.bench.platform import temporary_folder
from tests.chaos.takeover import agents
from tests.waiting import wait_until
from waypost_io.servers import EmbeddedNats, EmbeddedPostgres, free_port
from waypost_io.store.migrate import migrate

SERVICES = ("coordinator", "worker", "gateway")
REPLICAS = 2
PARTITIONS = 8
MODULE = agents.__file__


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One process. `name` is its service and a number that is never used twice."""

    name: str
    service: str
    process: asyncio.subprocess.Process
    port: int

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def ended(self, *, seconds: float = 40.0) -> int:
        return await asyncio.wait_for(self.process.wait(), seconds)

    async def ready(self) -> bool:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            return (await reader.read()).startswith(b"HTTP/1.1 200")
        finally:
            writer.close()


@dataclass
class Fleet:
    """`members` are those that should be alive, oldest first."""

    environment: dict[str, str]
    database: str
    folder: Path
    members: list[Member] = field(default_factory=list)
    _numbers: count[int] = field(default_factory=lambda: count(1))

    def of(self, service: str) -> list[Member]:
        return [member for member in self.members if member.service == service]

    async def start(self, service: str, **environment: str) -> Member:
        """Start one and wait until it is ready."""
        port = free_port()
        name = f"{service}-{next(self._numbers)}"
        command = [sys.executable, "-m", f"waypost_{service}", *([] if service == "coordinator" else [MODULE])]
        full = {**os.environ, **self.environment, "WAYPOST_OPS_ADDR": f"127.0.0.1:{port}", **environment}
        with (self.folder / f"{name}.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(*command, env=full, stdout=log, stderr=log)
        member = Member(name=name, service=service, process=process, port=port)
        self.members.append(member)
        await wait_until(member.ready, seconds=60, ignore=(OSError,), message=lambda: f"{name} is not ready: {self.log(member)}")
        return member

    def remove(self, member: Member) -> None:
        """It was killed or asked to end: no longer one of the fleet."""
        self.members.remove(member)

    def log(self, member: Member) -> str:
        return (self.folder / f"{member.name}.log").read_text(errors="replace")[-4_000:]

    async def complete(self) -> None:
        """Start what is missing, and wait until the partitions are shared out evenly among the coordinators."""
        for service in SERVICES:
            for _ in range(REPLICAS - len(self.of(service))):
                await self.start(service)

        async def shared() -> bool:
            found = await self._owned()
            return len(found) == REPLICAS and sum(found) == PARTITIONS and max(found) - min(found) <= 1

        await wait_until(shared, seconds=60, message="partitions are not shared out")

    async def _owned(self) -> list[int]:
        """Partitions of each owner whose lease runs."""
        connection = await asyncpg.connect(self.database)
        try:
            rows = await connection.fetch("SELECT count(*) FROM partitions WHERE expires_at > now() AND owner <> '' GROUP BY owner")
        finally:
            await connection.close()
        return [row[0] for row in rows]

    async def end(self) -> None:
        """Kill what runs, paused or not."""
        for member in self.members:
            if member.process.returncode is None:
                member.process.kill()
        for member in self.members:
            await member.process.wait()


@asynccontextmanager
async def fleet() -> AsyncIterator[Fleet]:
    """The whole fleet, ready; everything is ended and removed afterwards."""
    async with (
        temporary_folder() as folder,
        EmbeddedNats(folder / "nats") as nats,
        EmbeddedPostgres(folder / "postgres") as postgres,
    ):
        database = await postgres.create_database("takeover")
        await migrate(database)
        environment = {"WAYPOST_NATS_URL": nats.url, "WAYPOST_POSTGRES_URL": database, "WAYPOST_BUILD": "one", "WAYPOST_LOG_FORMAT": "json"}
        made = Fleet(environment, database, folder)
        try:
            await made.complete()
            yield made
        finally:
            await made.end()
