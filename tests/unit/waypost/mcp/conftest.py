"""Servers for MCP tools: a process on the SDK, a rough one by hand, and one over HTTP."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from waypost.mcp import McpHttp, McpProcess
from waypost.mcp.connection import McpConnection
from waypost.mcp.pins import PinnedTool
from waypost.mcp.review import offered_by
from waypost.mcp.servers import McpServer

HERE = Path(__file__).parent


def process(folder: Path, **env: Any) -> McpProcess:
    return McpProcess(command=sys.executable, args=[str(HERE / "world_server.py")], env={"TEST_WORLD": str(folder), **env})


def rough(what: str = "") -> McpProcess:
    return McpProcess(command=sys.executable, args=[str(HERE / "rough_server.py"), what])


_OFFERED: dict[object, dict[str, PinnedTool]] = {}


async def offered(server: McpServer) -> dict[str, PinnedTool]:
    """What a server offers, the same kind of server asked once: starting one takes most of a second."""
    kind = server.args[0] if isinstance(server, McpProcess) and len(server.args) == 1 else object()
    if kind not in _OFFERED:
        _OFFERED[kind] = await offered_by(McpConnection(server, connect_seconds=20))
    return _OFFERED[kind]


def processes_of(mark: object) -> list[int]:
    """Servers that act on this folder, by their environment."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if f"TEST_WORLD={mark}\0".encode() in (path / "environ").read_bytes() + b"\0":
                found.append(int(path.name))
        except OSError:
            continue
    return found


@asynccontextmanager
async def serving(app: Any) -> AsyncIterator[str]:
    """An ASGI app on loopback, its URL; it stops at the end."""
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="critical", lifespan="on", timeout_graceful_shutdown=1))
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
        assert not task.done()
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await task


@pytest.fixture
def world(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
async def http_server(world: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[McpHttp]:
    from tests.unit.waypost.mcp import world_server
    from waypost.http import Egress

    monkeypatch.setattr(world_server, "WORLD", world)
    async with serving(world_server.make_server().streamable_http_app()) as url:
        yield McpHttp(url=f"{url}/mcp", egress=Egress(allow=[url.removeprefix("http://")]))
