"""One open connection to a server: what it offers now, and whether it still stands. Owns opening and listing; nothing is retried here."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
import httpx2
import mcp_types
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from pydantic import ValidationError

from waypost.http.connections import Connections
from waypost.http.secrets import Secret
from waypost.mcp.errors import McpNotConnected
from waypost.mcp.http_transport import McpTransport
from waypost.mcp.pins import PinnedTool
from waypost.mcp.servers import McpHttp, McpProcess, McpServer
from waypost.mcp.stdio import process_transport
from waypost.tool_context import ToolContext

MAX_PAGES = 100
MAX_TOOLS = 1_000
READ_SECONDS = 300.0
"""Of HTTP: the longest silence within an answer. Each call has its own time limit."""
CLIENT_NAME = "waypost"
LOST = (MCPError, ValidationError, anyio.ClosedResourceError, anyio.BrokenResourceError, httpx2.HTTPError, OSError)
"""What a connection that cannot be used raises."""


@dataclass(slots=True, kw_only=True)
class Live:
    """An open connection. `ended` is set when it does not stand any more; `stale` when the server says that its tools have changed."""

    client: Client
    ended: asyncio.Event
    tools: dict[str, PinnedTool] = field(default_factory=dict)
    listed_at: float = 0.0
    stale: bool = False
    listing: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def fresh(self, *, recheck_seconds: float) -> None:
        """List again what is older than this. Raises `McpNotConnected` when the server does not answer."""
        if not self._old(recheck_seconds):
            return
        async with self.listing:
            if self._old(recheck_seconds):  # somebody else may have listed meanwhile
                try:
                    await self.list()
                except LOST as error:
                    self.ended.set()
                    raise McpNotConnected(f"the server does not list its tools: {type(error).__name__}; nothing was sent") from error

    async def list(self) -> None:
        """Ask the server for all its tools. Raises one of `LOST`."""
        self.stale = False
        found: dict[str, PinnedTool] = {}
        cursor: str | None = None
        for _ in range(MAX_PAGES):
            page = await self.client.session.list_tools(params=mcp_types.PaginatedRequestParams(cursor=cursor))
            found.update({tool.name: pinned(tool) for tool in page.tools})
            cursor = page.next_cursor
            if not cursor or len(found) > MAX_TOOLS:
                break
        self.tools = found
        self.listed_at = asyncio.get_running_loop().time()

    def _old(self, seconds: float) -> bool:
        return self.stale or asyncio.get_running_loop().time() - self.listed_at > seconds


def pinned(tool: mcp_types.Tool) -> PinnedTool:
    """All of a tool that a model, a person or our checks go by."""
    annotations: dict[str, Any] = {}
    if tool.annotations is not None:
        annotations = tool.annotations.model_dump(mode="json", by_alias=True, exclude_none=True)
    return PinnedTool(
        name=tool.name,
        title=tool.title or "",
        description=tool.description or "",
        input_schema=tool.input_schema,
        output_schema=tool.output_schema,
        annotations=annotations,
    )


@asynccontextmanager
async def opened(server: McpServer, ctx: ToolContext, *, protocol: str, connect_seconds: float) -> AsyncIterator[Live]:
    """Connect, agree on a protocol version, list the tools. Raises `McpNotConnected`.

    The body must not raise: the SDK's task groups would wrap it.
    """
    logging.getLogger("mcp").setLevel(logging.CRITICAL + 1)  # it logs what servers send
    ended = asyncio.Event()
    async with AsyncExitStack() as stack:
        try:
            async with asyncio.timeout(connect_seconds):
                live = await _entered(stack, server, ctx, ended, protocol)
                await live.list()
        except TimeoutError as error:
            raise McpNotConnected(f"{server.shown} did not answer within {connect_seconds:g} s; nothing was sent") from error
        except (*LOST, ExceptionGroup) as error:
            raise McpNotConnected(f"{server.shown}: no connection ({_told(error)}); nothing was sent") from error
        yield live


async def _entered(stack: AsyncExitStack, server: McpServer, ctx: ToolContext, ended: asyncio.Event, protocol: str) -> Live:
    transport: AbstractAsyncContextManager[Any]
    match server:
        case McpProcess():
            transport = process_transport(server, _values(server.env, ctx), ended)
        case McpHttp():
            transport = await _http(stack, server, ctx)
    live: Live

    async def on_message(message: object) -> None:
        if isinstance(message, mcp_types.ToolListChangedNotification):
            live.stale = True
        await asyncio.sleep(0)

    info = mcp_types.Implementation(name=CLIENT_NAME, version="1")
    client = Client(transport, mode=protocol, cache=None, client_info=info, message_handler=on_message)
    live = Live(client=client, ended=ended)
    await stack.enter_async_context(client)
    return live


async def _http(stack: AsyncExitStack, server: McpHttp, ctx: ToolContext) -> AbstractAsyncContextManager[Any]:
    connections = await stack.enter_async_context(Connections(server.egress))
    inner = await stack.enter_async_context(connections.transport())
    client = httpx2.AsyncClient(
        transport=McpTransport(inner),
        headers=_values(server.headers, ctx),
        timeout=httpx2.Timeout(READ_SECONDS, connect=10.0, pool=10.0),
        follow_redirects=False,
        trust_env=False,
    )
    return streamable_http_client(server.url, http_client=client)


def _values(named: Mapping[str, str | Secret], ctx: ToolContext) -> dict[str, str]:
    return {name: value.value(ctx)[0] if isinstance(value, Secret) else value for name, value in named.items()}


def _told(error: BaseException) -> str:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    text = " ".join(f"{type(error).__name__}: {error}".split())
    return text if len(text) <= 300 else f"{text[:300]}…"
