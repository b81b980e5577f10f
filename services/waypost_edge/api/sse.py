"""Server-sent events: frames, and an answer that goes on for hours without costing much. Owns no event.

An answer is one task. It is told that its caller has left by the connection itself, gets a comment when it has been silent for a while, and
is cut off when its caller does not read. An event that many wait for does not wake their tasks: its bytes go to each connection directly,
as long as that takes them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, aclosing, contextmanager
from typing import Protocol

import structlog
from starlette.types import Receive, Scope, Send

from waypost_io.metrics import Gauge
from waypost_proto.errors import TransientError, WaypostError

EVENT_STREAM = "text/event-stream"
BEAT_SECONDS = 15.0
"""Silence after which a comment is sent, so that proxies keep the connection."""
SLOW_SECONDS = 20.0
"""A caller who takes nothing for so long is cut off; it may come back and goes on where it was."""
LOOK_SECONDS = 1.0
RETRY_MILLISECONDS = 1_000
_BEAT = b": \n\n"
_log = structlog.get_logger(__name__)


def frame(data: bytes, *, number: int | None = None, kind: str = "") -> bytes:
    """One event; `number` is its id, `kind` its type ("" for `message`). Line ends within JSON are blanks and may be any other."""
    if b"\n" in data or b"\r" in data:
        data = data.replace(b"\r", b" ").replace(b"\n", b"\ndata: ")
    head = f"event: {kind}\n" if kind else ""
    if number is not None:
        head += f"id: {number}\n"
    return b"%bdata: %b\n\n" % (head.encode(), data)


def chunk(piece: bytes) -> bytes:
    """Some of an answer as it goes over an HTTP/1.1 connection (RFC 9112, 7.1): made once, the same bytes are for everybody."""
    return b"%x\r\n%b\r\n" % (len(piece), piece)


class Bell:
    """Wakes one task, however often it is rung. What needs nothing of that task goes past it while it waits (`pass_by`)."""

    __slots__ = ("_rung", "_waiting", "sends")

    def __init__(self) -> None:
        self._rung = False
        self._waiting: asyncio.Future[None] | None = None
        self.sends: Callable[[bytes], bool] | None = None
        """Sends a chunk at once, or says that it cannot; there while an answer goes on."""

    def pass_by(self, ready: bytes) -> bool:
        """Send a chunk now, and leave the task asleep. False when it has something to do itself, or the caller takes nothing now."""
        return self.sends is not None and self._waiting is not None and not self._rung and self.sends(ready)

    def ring(self) -> None:
        """There is something to do."""
        self._rung = True
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    async def wait(self) -> None:
        """Return once it was rung since the last return."""
        if not self._rung:
            self._waiting = asyncio.get_running_loop().create_future()
            try:
                await self._waiting
            finally:
                self._waiting = None
        self._rung = False


class Connection(Protocol):
    """What the server says of the connection that a request came on (`serving.Connection`)."""

    def on_lost(self, callback: Callable[[], None] | None) -> None: ...
    def abort(self) -> None: ...
    def write_chunk(self, ready: bytes) -> bool: ...


class Stream:
    """An answer of server-sent events. `opening` is entered while it lasts and gives the frames.

    `until`, Unix seconds, is when its caller has to say anew who they are: it ends then, and goes on when they come back.
    """

    def __init__(
        self, crowd: Crowd, bell: Bell, opening: AbstractAsyncContextManager[AsyncGenerator[bytes, None]], *, until: float | None = None
    ) -> None:
        self._until = until
        self._crowd = crowd
        self._bell = bell
        self._opening = opening
        self._connection: Connection | None = None
        self._gone = False
        self._ending = False
        self.sending_since: float | None = None
        self.sent_at = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the frames end, the caller leaves, or the edge stops. Raises what goes wrong before the first byte."""
        del receive  # the connection itself says when the caller leaves
        self._connection = scope.get("state", {}).get("connection")
        if self._connection is not None:
            self._connection.on_lost(self._lost)
        try:
            with self._crowd.joined(self):
                async with self._opening as frames:
                    await self._start(send)
                    self._bell.sends = self._send_now
                    await self._send_all(frames, send)
                if not self._gone:
                    await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            self._bell.sends = None
            if self._connection is not None:
                self._connection.on_lost(None)

    async def _start(self, send: Send) -> None:
        headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-store"), (b"x-accel-buffering", b"no")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await self._send(b"retry: %d\n\n" % RETRY_MILLISECONDS, send)

    async def _send_all(self, frames: AsyncGenerator[bytes, None], send: Send) -> None:
        try:
            async with aclosing(frames) as all_frames:
                async for piece in all_frames:
                    if self._gone or self._ending:
                        return
                    if piece:
                        await self._send(piece, send)
                    elif asyncio.get_running_loop().time() - self.sent_at >= BEAT_SECONDS:
                        await self._send(_BEAT, send)
        except WaypostError as error:  # the answer has begun: it ends here, and the caller comes back
            _log.warning("a stream of events broke off", error=str(error))

    async def _send(self, piece: bytes, send: Send) -> None:
        clock = asyncio.get_running_loop().time
        self.sending_since = clock()
        try:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        finally:
            self.sending_since = None
            self.sent_at = clock()

    def _send_now(self, ready: bytes) -> bool:
        """Past the task and the layers of the application, none of which changes a body: a thousand times in a few milliseconds."""
        if self._connection is None or self._gone or self._ending or not self._connection.write_chunk(ready):
            return False
        self.sent_at = asyncio.get_running_loop().time()
        return True

    def beat(self, now: float) -> None:
        """Look after it: wake it when it has been silent, cut it off when its caller does not read."""
        if self._until is not None and time.time() >= self._until:
            self.end()
        if self.sending_since is not None:
            if now - self.sending_since >= SLOW_SECONDS:
                _log.info("a watcher that does not read is cut off", seconds=round(now - self.sending_since))
                self._lost()
                if self._connection is not None:
                    self._connection.abort()
        elif now - self.sent_at >= BEAT_SECONDS:
            self._bell.ring()

    def end(self) -> None:
        """The edge stops: whoever watches comes back to another one."""
        self._ending = True
        self._bell.ring()

    def _lost(self) -> None:
        self._gone = True
        self._bell.ring()


class Crowd:
    """All who watch, at most `most`. Owns their number and the look after them."""

    def __init__(self, most: int, shown: Gauge | None = None) -> None:
        """`shown` is how many there are."""
        self._most = most
        self._shown = shown or Gauge()
        self._streams: set[Stream] = set()
        self._stopped = False

    def __len__(self) -> int:
        return len(self._streams)

    @contextmanager
    def joined(self, stream: Stream) -> Iterator[None]:
        """Count a stream while it lasts. Raises `TransientError` when there are too many, or the edge stops."""
        if self._stopped:
            raise TransientError("this edge stops; come again")
        if len(self._streams) >= self._most:
            raise TransientError(f"{self._most} watch already (WAYPOST_EDGE_WATCHERS); come again, or to another edge")
        self._streams.add(stream)
        self._shown.set(len(self._streams))
        try:
            yield
        finally:
            self._streams.discard(stream)
            self._shown.set(len(self._streams))

    async def run(self) -> None:
        """Look after them, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            for stream in tuple(self._streams):
                stream.beat(loop.time())

    def stop(self) -> None:
        """End every stream, and take no more."""
        self._stopped = True
        for stream in tuple(self._streams):
            stream.end()
