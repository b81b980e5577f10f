"""How a service waits for its servers when it starts. Owns the patience and what is said meanwhile, not the connections.

    starting = Starting(stop, settings.start_seconds)
    async with AsyncExitStack() as stack:
        ops = await stack.enter_async_context(OpsServer(settings.ops_addr, checks=starting.checks, metrics=metrics))
        store = await starting.enter(stack, lambda: PostgresStore(settings.postgres_url))

A pod that starts before its database is alive (`/livez`) and not ready (`/readyz` says what it waits for); restarting it would help
nobody. Only what passes without it is waited for: a server that is away or whose disk is full, migrations that somebody runs meanwhile.
Wrong credentials, or a database that is newer than this version, end the process at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import TypeVar

import structlog

from waypost_io.lifecycle import Stop
from waypost_io.ops import Check
from waypost_proto.errors import NotMigrated, TransientError, Unreachable

T = TypeVar("T")
_PASSES = (TransientError, NotMigrated)

FIRST_DELAY_SECONDS = 0.2
MAX_DELAY_SECONDS = 3.0
"""Between tries: a server that is there is used within so long."""
SAY_AGAIN_SECONDS = 30.0
"""The same reason is logged at once and then this often."""

_log = structlog.get_logger(__name__)


class StartAbandoned(Exception):  # not an error: somebody asked the process to end
    """The stop came before the servers did."""


class Starting:
    """One process's start. `seconds` bounds it: 0 waits as long as it takes, otherwise the last `Unreachable` is raised after that long."""

    def __init__(self, stop: Stop, seconds: float = 0.0) -> None:
        self._stop = stop
        self._until = asyncio.get_running_loop().time() + seconds if seconds else None
        self._waits_for = "nothing was reached yet"
        self._said = ("", 0.0)
        self.checks: dict[str, Check] = {"started": self._check}
        """For `OpsServer`; those of the service take its place once it has started."""

    def done(self, checks: dict[str, Check]) -> None:
        """Everything is reached: from now on `checks` say whether the service is ready."""
        self.checks.clear()
        self.checks.update(checks)

    def _check(self) -> None:
        raise Unreachable(self._waits_for)

    async def enter(self, stack: AsyncExitStack, make: Callable[[], AbstractAsyncContextManager[T]]) -> T:
        """Make a resource and enter it on `stack`, a fresh one for each try. Raises like `reach`."""
        return await self.reach(lambda: stack.enter_async_context(make()))

    async def reach(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Call `attempt` until it raises neither a `TransientError` nor `NotMigrated`.

        Raises `StartAbandoned` when the process is asked to end, `Unreachable` when the time is over, and whatever else `attempt` raises.
        """
        delay = FIRST_DELAY_SECONDS
        while True:
            try:
                return await self._unless_stopped(attempt)
            except _PASSES as error:
                self._waits_for = str(error)
                if self._until is not None and asyncio.get_running_loop().time() + delay > self._until:
                    raise Unreachable(str(error)) from error
                self._say(str(error))
            if await self._stop.sleep(delay):
                raise StartAbandoned(self._stop.reason)
            delay = min(delay * 2, MAX_DELAY_SECONDS)

    async def _unless_stopped(self, attempt: Callable[[], Awaitable[T]]) -> T:
        trying = asyncio.ensure_future(attempt())
        stopped = asyncio.ensure_future(self._stop.wait())
        try:
            await asyncio.wait([trying, stopped], return_when=asyncio.FIRST_COMPLETED)
            if not trying.done():
                raise StartAbandoned(self._stop.reason)
            return trying.result()
        finally:
            stopped.cancel()
            if not trying.done():
                trying.cancel()
                await asyncio.wait([trying])

    def _say(self, reason: str) -> None:
        now = asyncio.get_running_loop().time()
        said, at = self._said
        if reason != said or now - at >= SAY_AGAIN_SECONDS:
            self._said = reason, now
            _log.warning("waiting for a server", reason=reason)
