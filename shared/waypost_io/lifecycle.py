"""How a process runs: event loop, signals, orderly and bounded end, exit codes.

    def main() -> None:
        raise SystemExit(run_service("coordinator", serve))

    async def serve(stop: Stop) -> None:
        settings = load(CoordinatorSettings)
        ...
        await stop.wait()      # then drain and return

SIGTERM or SIGINT asks `serve` to finish; after `WAYPOST_DRAIN_SECONDS` it is cancelled, after a few seconds more the process ends hard. A
second signal cancels at once. SIGUSR1 writes the stack of every task to standard error.

Exit codes: 0 done, 1 failed, 2 settings that cannot work, 3 a server cannot be reached (at the start: within `WAYPOST_START_SECONDS`).
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Annotated, TextIO

import msgspec
import structlog

from waypost_io import faults, logs
from waypost_io.environment import Env, read
from waypost_io.errors import NotReady
from waypost_io.redaction import redact
from waypost_proto.errors import Misconfigured, Unreachable

EXIT_DONE, EXIT_FAILED, EXIT_SETTINGS, EXIT_UNREACHABLE = 0, 1, 2, 3
DRAIN_SECONDS = 20.0
CANCEL_SECONDS = 5.0
"""After cancelling, before the process is ended whatever it does."""

_log = structlog.get_logger()


class Stop:
    """The wish to end, and what it came from. Requesting it is idempotent: the first reason stays."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self.reason = ""

    @property
    def requested(self) -> bool:
        return self._event.is_set()

    def request(self, reason: str) -> None:
        """Ask everybody who waits to finish."""
        if not self.requested:
            self.reason = reason
            self._event.set()

    async def wait(self) -> None:
        """Return once a stop is requested. Safe to cancel."""
        await self._event.wait()

    async def sleep(self, seconds: float) -> bool:
        """Wait that long, or until a stop is requested (then True)."""
        try:
            async with asyncio.timeout(seconds):
                await self._event.wait()
        except TimeoutError:
            return False
        return True


class _Drain(msgspec.Struct, frozen=True):
    seconds: Annotated[float, Env("WAYPOST_DRAIN_SECONDS", "time to finish after SIGTERM", low=0, high=3_600)] = DRAIN_SECONDS


GC_YOUNG = 10_000
"""Allocations between two collections. Messages and futures die by their reference counts; Python's 700 means a collection every few
messages, and finds nothing."""

Main = Callable[[Stop], Awaitable[None]]


def run_service(name: str, main: Main, *, drain_seconds: float | None = None) -> int:
    """Run `main` on uvloop (asyncio's loop if there is none) until it returns or a signal ends it; the exit code.

    `drain_seconds` is how long `main` may take to finish once asked to; None: `WAYPOST_DRAIN_SECONDS`.
    `main` loads its settings itself, so that a bad one ends with one line per problem and code 2.
    """
    try:
        logs.configure(name)
        faults.arm()
        drain = read(_Drain).seconds if drain_seconds is None else drain_seconds
    except Misconfigured as error:
        return _report(name, error)
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            return runner.run(_supervise(name, main, drain))
    except KeyboardInterrupt:
        return EXIT_DONE  # before our own handlers were in place


def exit_code(error: BaseException) -> int:
    """The exit code that an error means. A group means the worst of its leaves: a bug hides behind nothing."""
    kinds = {_kind(leaf) for leaf in _leaves(error)}
    return min(kinds, key=(EXIT_FAILED, EXIT_SETTINGS, EXIT_UNREACHABLE).index, default=EXIT_FAILED)


async def _supervise(name: str, main: Main, drain_seconds: float) -> int:
    stop = Stop()
    loop = asyncio.get_running_loop()
    gc.freeze()  # what was imported lives as long as the process: no collection needs to look at it
    gc.set_threshold(GC_YOUNG, 20, 20)
    task = asyncio.ensure_future(main(stop))

    def on_signal(number: signal.Signals) -> None:
        if stop.requested:
            task.cancel()
            return
        _log.info("stopping", signal=number.name)
        stop.request(number.name)
        loop.call_later(drain_seconds, _give_up, task, drain_seconds)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)
    loop.add_signal_handler(signal.SIGUSR1, dump_tasks)
    try:
        await asyncio.wait([task])
        return _outcome(name, task, stop)
    finally:
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
            loop.remove_signal_handler(number)


def _give_up(task: asyncio.Future[None], drain_seconds: float) -> None:
    if not task.done():
        _log.warning("not finished in time; cancelling", drain_seconds=drain_seconds)
        task.cancel()
        # a task that swallows the cancellation must not keep the process alive
        asyncio.get_running_loop().call_later(CANCEL_SECONDS, os._exit, EXIT_FAILED)


def _outcome(name: str, task: asyncio.Future[None], stop: Stop) -> int:
    if task.cancelled():
        return EXIT_DONE if stop.requested else EXIT_FAILED
    error = task.exception()
    if error is None:
        return EXIT_DONE
    return _report(name, error)


def _report(name: str, error: BaseException) -> int:
    """Say what ended the process: one line per cause for what the operator can mend, a traceback for the rest."""
    code = exit_code(error)
    if code == EXIT_FAILED and not all(isinstance(leaf, NotReady) for leaf in _leaves(error)):
        _log.error("failed", exc_info=error)
        return code
    lines = dict.fromkeys(line for leaf in _leaves(error) for line in _lines(leaf))
    for line in lines:
        print(f"waypost {name}: {redact(line)}", file=sys.stderr, flush=True)
    return code


def _lines(error: BaseException) -> list[str]:
    return str(error).splitlines() if isinstance(error, (Misconfigured, NotReady)) else [" ".join(str(error).split())]


def _kind(error: BaseException) -> int:
    match error:
        case Unreachable():
            return EXIT_UNREACHABLE
        case Misconfigured():
            return EXIT_SETTINGS
        case _:
            return EXIT_FAILED


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


def dump_tasks(out: TextIO | None = None) -> None:
    """Write the stack of every task of the running loop."""
    target = out or sys.stderr
    tasks: Sequence[asyncio.Task[object]] = sorted(asyncio.all_tasks(), key=lambda task: task.get_name())
    print(f"--- {len(tasks)} tasks of process {os.getpid()}", file=target)
    for task in tasks:
        task.print_stack(limit=8, file=target)
    target.flush()
