"""uvicorn under our own lifecycle: no signal handlers, no logging of its own, and an end that is bounded."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import uvicorn
from starlette.types import ASGIApp

from waypost_io.lifecycle import Stop
from waypost_io.settings import parse_address
from waypost_proto.errors import Misconfigured

MAX_CONNECTIONS = 256
"""Past it requests are answered with 503."""
KEEP_ALIVE_SECONDS = 30
BACKLOG = 256


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Signals are `lifecycle`'s."""
        yield


def listen(address: str) -> socket.socket:
    """A socket that listens on `WAYPOST_HTTP_ADDR`. Raises `Misconfigured`."""
    host, port = parse_address(address)
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        made = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as error:
        raise Misconfigured(f"WAYPOST_HTTP_ADDR={address!r}: cannot listen there ({error}); choose another address") from error
    made.setblocking(False)
    return made


async def serve_http(app: ASGIApp, listening: socket.socket, stop: Stop, *, drain_seconds: float) -> None:
    """Answer until `stop`, then finish what was begun, at most `drain_seconds`. Closes the socket."""
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        limit_concurrency=MAX_CONNECTIONS,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=max(1, int(drain_seconds)),
    )
    server = _Server(config)

    async def watch() -> None:
        await stop.wait()
        server.should_exit = True

    async with asyncio.TaskGroup() as tasks:
        watching = tasks.create_task(watch())
        await server.serve(sockets=[listening])
        watching.cancel()
