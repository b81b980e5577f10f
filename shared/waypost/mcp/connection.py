"""The connection of all tools of one server: opened when it is first needed, again when it broke, closed with the gateway.

The SDK's client must be entered and left by one task; that task is `_keep`, and calls come from others. Where nobody opened the connection
(a tool called in a test) each call has its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Self

import structlog

from waypost.errors import NotExecuted
from waypost.mcp.errors import McpNotConnected
from waypost.mcp.live import Live, opened
from waypost.mcp.servers import McpServer
from waypost.tool_context import ToolContext

PAUSE_SECONDS = (0.2, 10.0)
"""After a connection that failed: the shortest and the longest time in which calls are told so without another attempt."""

_log = structlog.get_logger(__name__)


class McpConnection:
    """An async context manager; see the module. `connect_seconds` bounds start, handshake and listing together."""

    def __init__(self, server: McpServer, *, protocol: str = "auto", connect_seconds: float = 30.0) -> None:
        self.server = server
        self._protocol = protocol
        self._connect_seconds = connect_seconds
        self._group: asyncio.TaskGroup | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._live: Live | None = None
        self._asked: asyncio.Future[ToolContext] | None = None
        self._pending: asyncio.Future[Live] | None = None
        self._failures = 0
        self._not_before = 0.0
        self._last_failure = ""

    async def __aenter__(self) -> Self:
        self._group = asyncio.TaskGroup()
        await self._group.__aenter__()
        self._asked = asyncio.get_running_loop().create_future()
        self._keeper = self._group.create_task(self._keep())
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None = None, exc: BaseException | None = None, trace: TracebackType | None = None
    ) -> None:
        group, keeper = self._group, self._keeper
        self._group = self._keeper = None
        if group is not None and keeper is not None:
            keeper.cancel()
            await group.__aexit__(exc_type, exc, trace)

    @asynccontextmanager
    async def use(self, ctx: ToolContext) -> AsyncIterator[Live]:
        """A connection that stands, as far as is known. The body must not raise. Raises `McpNotConnected`, or another `NotExecuted`."""
        if self._group is None:
            async with opened(self.server, ctx, protocol=self._protocol, connect_seconds=self._connect_seconds) as alone:
                yield alone
            return
        yield await self._shared(ctx)

    async def _shared(self, ctx: ToolContext) -> Live:
        live = self._live
        if live is not None and not live.ended.is_set():
            return live
        loop = asyncio.get_running_loop()
        if self._pending is None:
            wait = self._not_before - loop.time()
            if wait > 0:
                raise McpNotConnected(self._last_failure, wait)
            self._pending = loop.create_future()
            self._pending.add_done_callback(_looked_at)
            assert self._asked is not None
            if not self._asked.done():
                self._asked.set_result(ctx)
        return await asyncio.shield(self._pending)

    async def _keep(self) -> None:
        """Open when asked, stay until it ends, and again. Ends by cancellation alone."""
        task, loop = asyncio.current_task(), asyncio.get_running_loop()
        assert task is not None
        assert self._asked is not None
        while True:
            ctx = await self._asked
            self._asked = loop.create_future()
            try:
                async with opened(self.server, ctx, protocol=self._protocol, connect_seconds=self._connect_seconds) as live:
                    self._opened(live)
                    await live.ended.wait()
                    self._live = None
                _log.info("the connection to an MCP server ended", server=self.server.shown)
            except asyncio.CancelledError:
                self._failed(McpNotConnected(f"{self.server.shown}: the connection was closed; nothing was sent"))
                if task.cancelling():
                    raise
            except Exception as error:  # noqa: BLE001 - this loop supervises the SDK's tasks
                self._failed(error)

    def _opened(self, live: Live) -> None:
        self._live, self._failures, self._not_before = live, 0, 0.0
        pending, self._pending = self._pending, None
        if pending is not None and not pending.done():
            pending.set_result(live)

    def _failed(self, error: Exception) -> None:
        """Tell who waits, and for a moment everybody else."""
        self._live = None
        self._failures += 1
        first, longest = PAUSE_SECONDS
        self._not_before = asyncio.get_running_loop().time() + min(longest, first * 2 ** min(self._failures - 1, 10))
        known = error if isinstance(error, NotExecuted) else McpNotConnected(f"{self.server.shown}: the connection failed ({_leaf(error)})")
        self._last_failure = str(known)
        _log.warning("an MCP server cannot be used", server=self.server.shown, error=str(known), failures=self._failures)
        pending, self._pending = self._pending, None
        if pending is not None and not pending.done():
            pending.set_exception(known)


def _leaf(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return type(error).__name__


def _looked_at(future: asyncio.Future[Live]) -> None:
    """Nobody may wait for it any more: then its error is no one's."""
    if not future.cancelled():
        future.exception()
