"""One child process under our supervision: started through `guard`, logged to a file, stopped within a bound.

Owns starting, watching and ending the process; what "ready" means belongs to the server classes.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_GUARD = Path(__file__).with_name("guard.py")
_LOG_TAIL_BYTES = 4_000


@dataclass(frozen=True, slots=True)
class Account:
    """The system user that a process runs as."""

    uid: int
    gid: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessSpec:
    """How to run one process."""

    name: str
    command: Sequence[str]
    log_path: Path
    """Standard output and error are appended here."""
    environment: Mapping[str, str] | None = None
    """The whole environment; None: ours."""
    account: Account | None = None
    """None: our own user."""
    folder: Path | None = None
    """Working directory; None: ours."""
    stop_signal: signal.Signals = signal.SIGTERM
    """Asks for an orderly end; also sent by the kernel when we die."""
    stop_seconds: float = 10.0
    """After this the process is killed."""


class ChildProcess:
    """A process that was started. `start` it once; `stop` and `kill` are idempotent."""

    def __init__(self, spec: ProcessSpec, process: Process) -> None:
        self.spec = spec
        self._process = process

    @classmethod
    async def start(cls, spec: ProcessSpec) -> ChildProcess:
        """Start the process in a session of its own (Ctrl-C in the terminal does not reach it).

        Must be called from a thread that lives as long as the process may: the kernel ties the process to that thread.
        """
        uid, gid = (spec.account.uid, spec.account.gid) if spec.account else (-1, -1)
        guard = [sys.executable, "-I", "-S", str(_GUARD), str(os.getpid()), str(int(spec.stop_signal)), str(uid), str(gid)]
        spec.log_path.parent.mkdir(parents=True, exist_ok=True)
        with spec.log_path.open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *guard,
                *spec.command,
                stdin=DEVNULL,
                stdout=log,
                stderr=log,
                env=spec.environment,
                cwd=spec.folder,
                start_new_session=True,
            )
        return cls(spec, process)

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        """None while it runs; -9 after SIGKILL."""
        return self._process.returncode

    @property
    def running(self) -> bool:
        return self._process.returncode is None

    async def wait(self) -> int:
        """Wait for the end of the process; its return code. Cancelling leaves the process alone."""
        return await self._process.wait()

    async def kill(self) -> None:
        """SIGKILL and wait until it is reaped."""
        self._signal(signal.SIGKILL)
        await self._process.wait()

    async def stop(self) -> int:
        """Ask for an orderly end, kill after `stop_seconds`. Returns the return code."""
        self._signal(self.spec.stop_signal)
        try:
            return await asyncio.wait_for(self._process.wait(), self.spec.stop_seconds)
        except TimeoutError:
            await self.kill()
        assert self._process.returncode is not None
        return self._process.returncode

    def log_tail(self) -> str:
        """The end of the log, for error messages."""
        return tail(self.spec.log_path)

    def _signal(self, number: signal.Signals) -> None:
        if not self.running:
            return
        with contextlib.suppress(ProcessLookupError):  # it may have ended before the event loop heard of it
            self._process.send_signal(number)


def tail(path: Path, size: int = _LOG_TAIL_BYTES) -> str:
    """The last `size` bytes of a text file, from a line's start; "" when there is none."""
    try:
        data = path.read_bytes()[-size:]
    except OSError:
        return ""
    if len(data) == size and b"\n" in data:
        data = data[data.index(b"\n") + 1 :]
    return data.decode("utf-8", "replace").strip()
