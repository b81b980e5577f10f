"""uvicorn under our own lifecycle: no signal handlers, no logging of its own, and an end that is bounded."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from waypost_edge.problems import problem_bytes
from waypost_io.lifecycle import Stop
from waypost_io.settings import parse_address
from waypost_proto.errors import Misconfigured

KEEP_ALIVE_SECONDS = 30
BACKLOG = 1_024
HEADER_BYTES = 32 * 1024
"""Of a request's line and headers; more is a 431, unless it comes in one piece: then it is parsed already."""
HEADER_SECONDS = 10.0
"""How long they may take to come, from the connection or the end of the request before."""
UNSENT_SECONDS = 30
"""What a peer does not acknowledge for so long ends its connection, even when nobody waits for it."""
SPARE_FILES = 256
"""Open files besides connections: the database's, NATS', what is imported late."""
_TCP_USER_TIMEOUT = getattr(socket, "TCP_USER_TIMEOUT", None)
_TOO_LARGE = problem_bytes(431, f"request line and headers of more than {HEADER_BYTES} bytes")
_MALFORMED = problem_bytes(400, "that is not HTTP/1.1")
_FULL = problem_bytes(503, "too many connections; come again")


class Connection(H11Protocol):
    """A connection that tells its request when its caller has left, ends when its headers do not come, and answers in problem details."""

    most: ClassVar[int] = 1_024

    def __init__(
        self, config: uvicorn.Config, server_state: ServerState, app_state: dict[str, Any], _loop: asyncio.AbstractEventLoop | None = None
    ) -> None:
        super().__init__(config, server_state, {**app_state, "connection": self}, _loop)
        self._lost: Callable[[], None] | None = None
        self._headers_due: asyncio.TimerHandle | None = None

    def on_lost(self, callback: Callable[[], None] | None) -> None:
        """Call this when the caller has left; None: nobody asks any more."""
        self._lost = callback

    def abort(self) -> None:
        """End the connection now; what was not sent is not."""
        self.transport.abort()

    def write_chunk(self, ready: bytes) -> bool:
        """Send a chunk (`sse.chunk`) of an answer that has begun and goes on. False: not to this peer, or not before it has read more."""
        if self.flow.write_paused or self.conn.their_http_version != b"1.1" or self.transport.is_closing():
            return False
        self.transport.write(ready)
        return True

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.most:
            transport.write(_FULL)
            transport.close()
            return
        self._await_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        self._headers_came()
        super().connection_lost(exc)
        if self._lost is not None:
            self._lost()

    def handle_events(self) -> None:
        before = self.cycle
        super().handle_events()
        if self.cycle is not before:
            self._headers_came()

    def data_received(self, data: bytes) -> None:
        if self._headers_due is None and (self.cycle is None or self.cycle.response_complete):
            self._await_headers()
        super().data_received(data)

    def send_400_response(self, msg: str) -> None:
        """What uvicorn says to bytes that h11 refuses."""
        del msg
        self._headers_came()
        if self.cycle is None or not self.cycle.response_started:
            too_large = self.conn.trailing_data[0] and len(self.conn.trailing_data[0]) > HEADER_BYTES
            self.transport.write(_TOO_LARGE if too_large else _MALFORMED)
        self.transport.close()

    def _await_headers(self) -> None:
        self._headers_due = self.loop.call_later(HEADER_SECONDS, self._late)

    def _headers_came(self) -> None:
        if self._headers_due is not None:
            self._headers_due.cancel()
            self._headers_due = None

    def _late(self) -> None:
        self._headers_due = None
        self.transport.close()


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
    if _TCP_USER_TIMEOUT is not None:  # inherited by what is accepted
        made.setsockopt(socket.IPPROTO_TCP, _TCP_USER_TIMEOUT, UNSENT_SECONDS * 1000)
    made.setblocking(False)
    return made


def room_for(connections: int) -> int:
    """How many connections this process can have, at most `connections`: its limit of open files is raised as far as it may be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + SPARE_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return connections if soft == resource.RLIM_INFINITY else max(1, min(connections, soft - SPARE_FILES))


async def serve_http(app: ASGIApp, listening: socket.socket, stop: Stop, *, drain_seconds: float, connections: int = 1_024) -> None:
    """Answer until `stop`, then finish what was begun, at most `drain_seconds`. Closes the socket."""
    protocol = type("Connection", (Connection,), {"most": connections})
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        http=protocol,
        ws="none",
        h11_max_incomplete_event_size=HEADER_BYTES,
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
