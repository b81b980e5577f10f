"""One service process of `waypost dev`: started, watched, restarted when it ends, with a growing pause between tries.

Ends of a process that we asked for (stop, restart) are no crashes. A process that never became ready and ends with the code for bad
settings cannot be helped by restarting: `start` raises then.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from waypost_cli.dev.notices import Notice, Notify
from waypost_io.lifecycle import EXIT_SETTINGS
from waypost_io.servers import ChildProcess, NotReady, ProcessSpec, http
from waypost_io.servers.process import tail

POLL_SECONDS = 0.05
MAX_TRIES_AT_START = 3
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 5.0
HEALTHY_SECONDS = 10.0
"""After living so long a process's next crash counts as its first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSpec:
    """A service to run."""

    name: str
    command: tuple[str, ...]
    ops_port: int
    """Its `WAYPOST_OPS_ADDR` on loopback: `/readyz` there says when it is ready."""
    log_path: Path
    environment: Mapping[str, str]
    """The whole environment of the process."""
    reloads: bool = False
    """Whether it hosts the user's code."""
    ready_seconds: float = 30.0
    stop_seconds: float = 10.0


class ServiceProcess:
    """A supervised service. `run` keeps it alive until cancelled; the other methods may be called meanwhile."""

    def __init__(self, spec: ServiceSpec, notify: Notify) -> None:
        self.spec = spec
        self.restarts = 0
        """Restarts after an end that nobody asked for."""
        self._notify = notify
        self._child: ChildProcess | None = None
        self._ready = asyncio.Event()
        self._hurry = asyncio.Event()
        self._wanted_end = False
        self._was_ready = False
        """Once in its life: from then on an end with bad settings is the user's code in the middle of an edit."""

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def pid(self) -> int:
        """Pid of the running (or last) process, 0 before the first."""
        return self._child.pid if self._child is not None else 0

    @property
    def running(self) -> bool:
        return self._child is not None and self._child.running

    @property
    def ready(self) -> bool:
        """Whether it answered `/readyz` since it was last started."""
        return self.running and self._ready.is_set()

    def resident_bytes(self) -> int:
        """Resident memory now, 0 when it does not run (Linux)."""
        try:
            pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        except (OSError, IndexError):
            return 0
        return pages * os.sysconf("SC_PAGESIZE")

    async def wait_ready(self, seconds: float | None = None) -> None:
        """Wait until the running or the next process is ready. Raises `NotReady` after `seconds` (default: of the spec)."""
        limit = self.spec.ready_seconds if seconds is None else seconds
        try:
            async with asyncio.timeout(limit):
                while not self.ready:
                    await self._ready.wait()
                    await asyncio.sleep(0 if self.running else POLL_SECONDS)
        except TimeoutError:
            raise NotReady(f"{self.name} was not ready within {limit:g} s; its log {self.spec.log_path} ends:\n{self.log_tail()}") from None

    async def kill(self) -> None:
        """SIGKILL, as a crash; `run` starts it again. Does nothing when it does not run."""
        if self._child is not None and self._child.running:
            self._notify(Notice(self.name, "killed", f"pid {self.pid}"))
            self._ready.clear()
            await self._child.kill()

    async def restart(self, reason: str = "") -> None:
        """End it in order; `run` starts it again at once, also out of a pause between tries."""
        self._notify(Notice(self.name, "reloading" if reason else "restarting", reason))
        self._ready.clear()
        self._hurry.set()
        if self._child is not None and self._child.running:
            self._wanted_end = True
            await self._child.stop()

    def log_tail(self) -> str:
        return tail(self.spec.log_path)

    async def run(self) -> None:
        """Start it, and again whenever it ends. Cancelling ends the process in order, within a bound.

        Raises `NotReady` when it cannot become ready the first time.
        """
        tries = 0
        try:
            while True:
                started = time.monotonic()
                code = await self._run_once()
                self._ready.clear()
                if self._wanted_end:
                    self._wanted_end, tries = False, 0
                    continue
                tries = 1 if time.monotonic() - started > HEALTHY_SECONDS else tries + 1
                if not self._was_ready and (code == EXIT_SETTINGS or tries >= MAX_TRIES_AT_START):
                    raise NotReady(f"{self.name} ended with code {code} before it was ready:\n{self.log_tail()}")
                await self._pause(code, tries)
        finally:
            if self._child is not None and self._child.running:
                await self._stop(self._child)

    async def _stop(self, child: ChildProcess) -> None:
        try:
            await child.stop()
        except asyncio.CancelledError:  # a second Ctrl-C
            await child.kill()
            raise
        finally:
            self._notify(Notice(self.name, "stopped"))

    async def _run_once(self) -> int:
        self._hurry.clear()
        self._notify(Notice(self.name, "starting"))
        self._child = await ChildProcess.start(
            ProcessSpec(
                name=self.name,
                command=self.spec.command,
                log_path=self.spec.log_path,
                environment=self.spec.environment,
                stop_seconds=self.spec.stop_seconds,
            )
        )
        async with asyncio.TaskGroup() as tasks:
            probe = tasks.create_task(self._watch_ready(self._child, time.monotonic()))
            code = await self._child.wait()
            probe.cancel()
        return code

    async def _watch_ready(self, child: ChildProcess, started: float) -> None:
        while child.running:
            answer = await http.get(self.spec.ops_port, "/readyz")
            if answer is not None and answer[0] == 200 and child.running:
                self._ready.set()
                self._was_ready = True
                self._notify(Notice(self.name, "ready", f"pid {child.pid}, {time.monotonic() - started:.1f} s"))
                return
            await asyncio.sleep(POLL_SECONDS)

    async def _pause(self, code: int, tries: int) -> None:
        pause = min(FIRST_PAUSE_SECONDS * 2 ** (tries - 1), LONGEST_PAUSE_SECONDS)
        self.restarts += 1
        self._notify(Notice(self.name, "ended", f"{_meaning(code)}; again in {pause:.1f} s (try {tries + 1})"))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await self._hurry.wait()


def _meaning(code: int) -> str:
    return f"killed by signal {-code}" if code < 0 else f"exit code {code}"
