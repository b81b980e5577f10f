"""The edge over a coordinator's desk: HTTP on loopback, a bus and a store in memory."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2

from tests.unit.waypost_coordinator.api.rig import Desk
from waypost.client import Client
from waypost_edge.api import Api
from waypost_edge.api.asking import Asking
from waypost_edge.api.live import Live
from waypost_edge.app import application
from waypost_edge.auth import Authenticator
from waypost_edge.metrics import Metrics
from waypost_edge.serving import listen, serve_http
from waypost_io.bus.ports import Bus
from waypost_io.identities import Identities
from waypost_io.lifecycle import Stop


@dataclass
class Edge:
    """A serving edge and what is behind it."""

    desk: Desk
    api: Api
    http: httpx2.AsyncClient
    address: tuple[str, int]

    async def get(self, path: str, status: int = 200, **headers: str) -> Any:
        """The JSON of an answer that must have this status; headers with `_` for `-`."""
        return await self.ask("GET", path, status, None, headers)

    async def post(self, path: str, body: Any = None, status: int = 200, **headers: str) -> Any:
        return await self.ask("POST", path, status, body, headers)

    async def ask(self, method: str, path: str, status: int, body: Any, headers: Mapping[str, str]) -> Any:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        content = None if body is None else json.dumps(body).encode()
        if content is not None:
            named.setdefault("content-type", "application/json")
        answer = await self.http.request(method, path, content=content, headers=named)
        assert answer.status_code == status, (answer.status_code, answer.text)
        if status >= 400:
            assert answer.headers["content-type"] == "application/problem+json", answer.text
            found = answer.json()
            assert found["status"] == status
            return found["detail"]
        return answer.json()


@asynccontextmanager
async def edge_over(
    bus: Bus, *, tokens: Path | None = None, patience: float = 5.0, watchers: int = 10, origins: Sequence[str] = ()
) -> AsyncIterator[Edge]:
    """An edge whose coordinator is a desk on the same bus."""
    stop = Stop()
    listening = listen("127.0.0.1:0")
    address = listening.getsockname()[:2]
    auth = Authenticator(Identities(tokens), "auto", "127.0.0.1:0", time.time)
    async with AsyncExitStack() as stack:
        desk = await stack.enter_async_context(Desk(bus))
        client = await stack.enter_async_context(Client(bus=bus, prefix=desk.subjects.prefix, token="", patience_seconds=patience))
        live = await stack.enter_async_context(Live(bus, desk.subjects, desk.store, watchers=watchers))
        api = Api(auth=auth, asking=Asking(client, bus, desk.subjects), live=live, store=desk.store, version="1.2.3")
        serving = asyncio.ensure_future(serve_http(application(api.routes(), Metrics(), origins=origins), listening, stop, drain_seconds=2))
        try:
            async with httpx2.AsyncClient(base_url=f"http://{address[0]}:{address[1]}", timeout=20, trust_env=False) as http:
                yield Edge(desk, api, http, address)
        finally:
            live.crowd.stop()
            stop.request("test over")
            await serving
