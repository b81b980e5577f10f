"""Processes under a supervisor like that of any deployment: whatever ends is started again. Owns starting, signals and who ended why."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from waypost_io.servers import ChildProcess, EmbeddedNats, EmbeddedPostgres, NotReady, ProcessSpec
from waypost_proto.errors import WaypostError

RESTART_SECONDS = 0.3
POLL_SECONDS = 0.25
UNHEALTHY_SECONDS = 6.0
"""A server that runs but has not been healthy for so long is started again, as a liveness probe would have it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """How to run a service."""

    name: str
    command: Sequence[str]
    environment: dict[str, str]
    log_path: Path
    folder: Path


class Service:
    """One replica, started again whenever it ends. `ends` counts the return codes that no strike of ours explains."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.ends: Counter[int] = Counter()
        self._process: ChildProcess | None = None
        self._expected = False

    async def supervise(self) -> None:
        """For ever; cancelled, it kills the process."""
        program = self.program
        while True:
            spec = ProcessSpec(
                name=program.name,
                command=program.command,
                log_path=program.log_path,
                environment=program.environment,
                folder=program.folder,
            )
            self._expected = False
            self._process = process = await ChildProcess.start(spec)
            try:
                code = await process.wait()
            except asyncio.CancelledError:
                await asyncio.shield(process.kill())
                raise
            if not self._expected:
                self.ends[code] += 1
            await asyncio.sleep(RESTART_SECONDS)

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.running

    def send(self, number: signal.Signals) -> None:
        """Signal it, if it runs. An end by this signal counts as ours."""
        if self._process is None or not self._process.running:
            return
        self._expected = self._expected or number in (signal.SIGKILL, signal.SIGTERM)
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._process.pid, number)

    @contextlib.asynccontextmanager
    async def frozen(self) -> AsyncIterator[None]:
        """SIGSTOP until the context ends."""
        self.send(signal.SIGSTOP)
        try:
            yield
        finally:
            self.send(signal.SIGCONT)


class Server:
    """NATS or Postgres, started again whenever it has ended or is not healthy, unless a strike holds it. Strikes take turns."""

    def __init__(self, server: EmbeddedNats | EmbeddedPostgres) -> None:
        self.server = server
        self.turn = asyncio.Lock()
        self.restarts = 0
        """Starts that no strike asked for: it ended or was unhealthy by itself."""
        self._held = False

    async def supervise(self) -> None:
        """For ever."""
        unhealthy_since: float | None = None
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(POLL_SECONDS)
            if self._held:
                unhealthy_since = None
                continue
            if self.server.running and await self._healthy():
                unhealthy_since = None
                continue
            unhealthy_since = unhealthy_since or loop.time()
            if not self._held and (not self.server.running or loop.time() - unhealthy_since > UNHEALTHY_SECONDS):
                self.restarts += 1
                await self.server.kill()
                with contextlib.suppress(WaypostError):  # tried again: its disk may be full
                    await self.server.start()
                unhealthy_since = None

    async def _healthy(self) -> bool:
        return not isinstance(self.server, EmbeddedNats) or await self.server._ready()  # Postgres is healthy or gone

    @contextlib.asynccontextmanager
    async def struck(self) -> AsyncIterator[None]:
        """The supervisor keeps off; afterwards the server is started, if the strike left it down."""
        async with self.turn:
            self._held = True
            try:
                yield
            finally:
                with contextlib.suppress(NotReady):  # the supervisor goes on
                    await self.server.start()
                self._held = False

    def processes(self) -> list[int]:
        """The pids of the server and its children, the server first."""
        children = []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError, ValueError, IndexError):
                if int((entry / "stat").read_text().rpartition(")")[2].split()[1]) == self.server.pid:
                    children.append(int(entry.name))
        return [self.server.pid, *children]

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """SIGSTOP to every process of the server until the context ends."""
        stopped = []
        try:
            for pid in self.processes():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGSTOP)
                    stopped.append(pid)
            yield
        finally:
            for pid in stopped:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
