"""One call of an MCP tool: is it still the tool that was reviewed? Send, wait, read."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Literal, cast

import anyio
import httpx2
from mcp.shared.exceptions import MCPError
from mcp_types import CONNECTION_CLOSED, HEADER_MISMATCH
from pydantic import ValidationError

from waypost.http.action import trace_of
from waypost.http.errors import NoAnswer, ResultUnusable
from waypost.mcp.connection import McpConnection
from waypost.mcp.errors import McpFailed, McpNotConnected, McpRefused, McpToolChanged
from waypost.mcp.live import Live
from waypost.mcp.pins import PinnedTool, changes
from waypost.mcp.results import SESSION_GONE, ToolSaysNo, error_of, result_of
from waypost.tool_context import ToolContext
from waypost_proto.values import Effect

IDEMPOTENCY_META = "waypost/idempotency-key"
"""In `_meta` of each call that is not a read, for servers that care."""

ErrorMeans = Literal["failed", "retry", "unknown"]
"""What a result with `isError` says: refused for good without effect; nothing took effect, try again; nobody knows."""


@dataclass(slots=True, kw_only=True)
class McpAction:
    """An `Action` (see `waypost.outside_tools`)."""

    connection: McpConnection
    pin: PinnedTool
    effect: Effect
    seconds: float
    max_bytes: int
    recheck_seconds: float
    error_means: ErrorMeans

    @property
    def resource(self) -> AbstractAsyncContextManager[object]:
        return self.connection

    async def run(self, ctx: ToolContext, arguments: Mapping[str, Any]) -> Any:
        """See `Action.run`; raises what `waypost.mcp.errors` lists. Cancelling tells the server to stop."""
        outcome: Any = None
        failure: Exception | None = None
        async with self.connection.use(ctx) as live:
            try:
                outcome = await self._call(live, ctx, arguments)
            except Exception as error:  # noqa: BLE001 - raised below: the SDK's task groups would wrap it
                failure = error
        if failure is not None:
            raise failure
        return outcome

    async def _call(self, live: Live, ctx: ToolContext, arguments: Mapping[str, Any]) -> Any:
        what = f"{self.connection.server.shown}, tool {self.pin.name!r}"
        await live.fresh(recheck_seconds=self.recheck_seconds)
        changed = changes(self.pin, live.tools.get(self.pin.name))
        if changed:
            raise McpToolChanged(
                f"{what} is not the one that was reviewed: {'; '.join(changed)}. It was not called. Look at the change with "
                "'waypost mcp review', accept it if it is right, and restart workers and gateways"
            )
        meta: dict[str, Any] = {"traceparent": trace_of(ctx)}
        if self.effect is not Effect.READ:
            meta[IDEMPOTENCY_META] = ctx.idempotency_key
        try:
            result = await live.client.session.call_tool(
                self.pin.name,
                dict(arguments),
                read_timeout_seconds=self.seconds,
                meta=cast("Any", meta),
                allow_input_required=True,
            )
        except MCPError as error:
            raise self._error(error, live, what) from error
        except (anyio.ClosedResourceError, anyio.BrokenResourceError, httpx2.HTTPError) as error:
            live.ended.set()
            raise NoAnswer(f"{what}: the connection was lost ({type(error).__name__})") from error
        except (ValidationError, RuntimeError) as error:  # the SDK's: an answer that breaks the protocol, or the tool's own schema
            raise ResultUnusable(f"{what}: its answer does not fit ({type(error).__name__}: {str(error)[:300]})") from error
        try:
            return result_of(result, max_bytes=self.max_bytes)
        except ToolSaysNo as error:
            raise self._said_no(f"{what}: {error}") from None

    def _error(self, error: MCPError, live: Live, what: str) -> Exception:
        if error.code == CONNECTION_CLOSED or error.message == SESSION_GONE:
            live.ended.set()
        if error.code == HEADER_MISMATCH:
            live.stale = True
            return McpNotConnected(f"{what}: the server's tool has other headers than it listed; it is listed again. Nothing was done")
        return error_of(error, what, may_repeat=self.effect is not Effect.UNSAFE)

    def _said_no(self, told: str) -> Exception:
        match self.error_means:
            case "failed":
                return McpRefused(told)
            case "retry":
                return McpNotConnected(told) if self.effect is Effect.UNSAFE else McpFailed(told)
            case "unknown":
                return McpFailed(told)
