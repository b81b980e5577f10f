"""What the embedded servers share: one supervised process, one lock, the same port over restarts.

A subclass says how to prepare, what to run and how to see that it is ready.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Self

from waypost_io.errors import NotReady
from waypost_io.servers.ports import can_bind, free_port
from waypost_io.servers.process import ChildProcess, ProcessSpec
from waypost_proto.errors import Misconfigured

_POLL_SECONDS = 0.02
_PORT_CHOICES = 5


class EmbeddedServer:
    """A server process on loopback. Use as an async context manager, or `start` and `stop` it.

    All methods are idempotent and exclude each other: a `start` during `wipe` waits for it.
    """

    name = "server"
    ready_seconds = 20.0
    """A start that takes longer has failed (recovery after a crash included)."""

    def __init__(self, data_dir: Path | str, port: int = 0) -> None:
        self.data_dir = Path(data_dir).absolute()
        self.log_path = self.data_dir.with_name(self.data_dir.name + ".log")
        self._asked_port = port
        self._port = port
        self._process: ChildProcess | None = None
        self._lock = asyncio.Lock()

    # -- for subclasses

    async def _prepare(self) -> None:
        """Make what the process needs on disk. Called before every start."""

    def _spec(self) -> ProcessSpec:
        raise NotImplementedError

    async def _ready(self) -> bool:
        """Whether it answers now. Must not block for long; may raise nothing."""
        raise NotImplementedError

    def _worth_another_try(self, log: str) -> bool:
        """Whether a process that ended with this log may start if tried again."""
        del log
        return False

    # -- public

    @property
    def port(self) -> int:
        """The port it listens on; chosen at the first start when none was given, then kept."""
        if not self._port:
            raise Misconfigured(f"{self.name} has no port yet; start it first")
        return self._port

    @property
    def pid(self) -> int:
        """Pid of the running (or last) process."""
        if self._process is None:
            raise Misconfigured(f"{self.name} was never started; start it first")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process lives (it may not be ready yet)."""
        return self._process is not None and self._process.running

    async def start(self) -> None:
        """Start and wait until it is ready. Does nothing when it runs.

        Raises `NotReady` with the end of its log, `Misconfigured` when a given port is taken. Cancelling ends the process.
        """
        async with self._lock:
            if self.running:
                return
            await self._prepare()
            await self._start_on_a_port()

    async def stop(self) -> None:
        """Shut down in order within a bound, then kill."""
        async with self._lock:
            if self._process is not None:
                await self._process.stop()

    async def kill(self) -> None:
        """SIGKILL, as a power failure of this process would; returns when it is gone."""
        async with self._lock:
            if self._process is not None:
                await self._process.kill()

    async def wait(self) -> int:
        """Wait until the running process ends, for whatever reason; its return code. For supervisors."""
        if self._process is None:
            raise Misconfigured(f"{self.name} was never started; start it first")
        return await self._process.wait()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()

    # -- starting

    async def _start_on_a_port(self) -> None:
        choices = 1 if self._port else _PORT_CHOICES
        for left in reversed(range(choices)):
            if choices > 1:
                self._port = free_port()
            try:
                await self._start_process()
            except NotReady:
                # between choosing a port and binding it somebody else may take it
                if can_bind(self._port):
                    raise
                if not left:
                    raise Misconfigured(
                        f"{self.name} cannot listen on port {self._port}: another process does; stop that one or choose another port"
                    ) from None
            else:
                return

    async def _start_process(self) -> None:
        deadline = asyncio.get_running_loop().time() + self.ready_seconds
        while True:
            process = await ChildProcess.start(self._spec())
            self._process = process
            async with _killed_on_failure(process):
                while asyncio.get_running_loop().time() < deadline:
                    if not process.running:
                        break
                    if await self._ready():
                        return
                    await asyncio.sleep(_POLL_SECONDS)
                else:
                    raise NotReady(
                        f"{self.name} was not ready within {self.ready_seconds} s; its log {self.log_path} ends:\n{process.log_tail()}"
                    )
            log = process.log_tail()
            if not self._worth_another_try(log) or asyncio.get_running_loop().time() >= deadline:
                raise NotReady(f"{self.name} ended with code {process.returncode} at start; its log {self.log_path} ends:\n{log}")
            await asyncio.sleep(_POLL_SECONDS * 5)


@contextlib.asynccontextmanager
async def _killed_on_failure(process: ChildProcess) -> AsyncIterator[None]:
    try:
        yield
    except BaseException:
        await asyncio.shield(process.kill())
        raise
