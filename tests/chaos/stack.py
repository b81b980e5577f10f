"""The services as real processes on real servers, with fault points, for tests that kill them."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.waiting import wait_until
from waypost.client import Client

MODULE = Path(__file__).with_name("desk_module.py")
COMMANDS = {
    "coordinator": ["-m", "waypost_coordinator"],
    "worker": ["-m", "waypost_worker", str(MODULE)],
    "gateway": ["-m", "waypost_gateway", str(MODULE)],
}
QUICK = {
    # leases and waits as short as the settings allow, so that recovery is quick; the mechanisms are the same
    "WAYPOST_COORDINATOR_LEASE_SECONDS": "1",
    "WAYPOST_COORDINATOR_SWEEP_SECONDS": "0.5",
    "WAYPOST_GATEWAY_ACK_WAIT_SECONDS": "1",
    "WAYPOST_GATEWAY_LEASE_SECONDS": "1",
    "WAYPOST_GATEWAY_SETTLE_SECONDS": "0",
    "WAYPOST_WORKER_ACK_WAIT_SECONDS": "1",
    "WAYPOST_WORKER_HEARTBEAT_SECONDS": "0.3",
    "WAYPOST_WORKER_RESEND_SECONDS": "0.5",
    "WAYPOST_GATEWAY_HEARTBEAT_SECONDS": "0.3",
    "WAYPOST_COORDINATOR_HEARTBEAT_SECONDS": "1.5",
    "WAYPOST_LOG_LEVEL": "INFO",
    "WAYPOST_BUILD": "test",
}


@dataclass
class Stack:
    """Three services under one prefix and database; each restarted by hand, so that a test decides when."""

    environment: dict[str, str]
    effects_file: Path
    log_file: Path
    commands: dict[str, list[str]] = field(default_factory=lambda: COMMANDS)
    processes: dict[str, asyncio.subprocess.Process] = field(default_factory=dict)
    _started: list[asyncio.subprocess.Process] = field(default_factory=list)
    _former: int = 0
    """Effects of tests before this one."""

    async def start(
        self, name: str, *, faults: str = "", key: str | None = None, module: Path = MODULE, build: str = "test"
    ) -> asyncio.subprocess.Process:
        """Start a service (again), with fault points armed."""
        environment = {**os.environ, **self.environment, "WAYPOST_FAULTS": faults, "WAYPOST_BUILD": build}
        command = [str(module) if part == str(MODULE) else part for part in self.commands[name]]
        with self.log_file.open("ab") as log:
            process = await asyncio.create_subprocess_exec(sys.executable, *command, env=environment, stdout=log, stderr=log)
        self.processes[key or name] = process
        self._started.append(process)
        return process

    async def arm(self, name: str, faults: str) -> None:
        """Put a service with fault points in the place of the one that runs, which leaves in order, so that nobody waits for its leases."""
        process = self.processes[name]
        process.terminate()
        async with asyncio.timeout(20.0):
            await process.wait()
        await self.start(name, faults=faults)

    async def renew(self) -> None:
        """For the next test: all services run, none besides them, and what has taken effect so far is forgotten."""
        for name in [name for name in self.processes if name not in self.commands]:
            await self.kill(name)
            del self.processes[name]
        for name in self.commands:
            if self.processes[name].returncode is not None:
                await self.start(name)
        self._former += len(self.effects())

    async def kill(self, name: str) -> None:
        """SIGKILL, and wait for the end."""
        process = self.processes[name]
        if process.returncode is None:
            process.send_signal(signal.SIGKILL)
        await process.wait()

    async def died(self, name: str, *, seconds: float = 20.0) -> None:
        """Wait until a fault point has killed it."""
        async with asyncio.timeout(seconds):
            code = await self.processes[name].wait()
        assert code == -signal.SIGKILL, f"{name} ended with {code}, not by its fault point:\n{self.log()}"

    async def stop(self) -> None:
        """Kill all that was ever started, paused or not."""
        for process in self._started:
            if process.returncode is None:
                process.kill()
        for process in self._started:
            await process.wait()

    def effects(self) -> list[str]:
        """The keys of what took effect in this test, in order."""
        return self.effects_file.read_text(encoding="utf-8").split()[self._former :] if self.effects_file.exists() else []

    def log(self) -> str:
        return self.log_file.read_text(encoding="utf-8", errors="replace")[-6_000:]

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Client]:
        async with Client(url=self.environment["WAYPOST_NATS_URL"], prefix=self.environment["WAYPOST_PREFIX"]) as client:
            yield client


@asynccontextmanager
async def stack(
    tmp_path: Path,
    *,
    nats_url: str,
    postgres_url: str,
    environment: Mapping[str, str] | None = None,
    commands: dict[str, list[str]] | None = None,
    **faults: str,
) -> AsyncIterator[Stack]:
    """All three services up and known to each other; `faults` by service name. Everything is killed at the end."""
    effects_file = tmp_path / f"effects-{uuid.uuid4().hex[:6]}"
    full = {
        **QUICK,
        **(environment or {}),
        "WAYPOST_NATS_URL": nats_url,
        "WAYPOST_POSTGRES_URL": postgres_url,
        "WAYPOST_PREFIX": f"c{uuid.uuid4().hex[:8]}",
        "EFFECTS_FILE": str(effects_file),
    }
    made = Stack(full, effects_file, tmp_path / "services.log", commands or COMMANDS)
    try:
        for name in made.commands:
            await made.start(name, faults=faults.get(name, ""))
        yield made
    finally:
        await made.stop()


async def hosted(client: Client, *, seconds: float = 20) -> None:
    """Wait until worker and gateway are known, so that a test starts from a whole system. Modules that import much take longer."""

    async def known() -> bool:
        agents, tools = await client.agents(), await client.tools()
        return any(view.workers for view in agents) and any(view.gateways for view in tools)

    await wait_until(known, seconds=seconds, ignore=(Exception,))
