"""The wire between a service and a server, in our hands: TCP proxies that stall, lose the other side, repeat and drop messages.

Each service has a link of its own to each server, so that one can be cut off while the others go on.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from tests.chaos.storm.frames import Cutter, Frame, forged

_CHUNK = 65_536
_LATE_SECONDS = 1.5
"""The longest delay of a message's second copy."""
ANSWERED = (b".api.", b".registry.")
"""Where the second copy of a request keeps its reply subject: what is asked twice is answered twice."""


@dataclass(slots=True)
class Mischief:
    """What happens to messages on the way to NATS now. Shared by all links; counts what it did."""

    prefix: bytes
    twice: int = 0
    """Strikes under way that repeat messages."""
    acks_lost: int = 0
    repeated: int = 0
    swallowed: int = 0
    chance: random.Random = field(default_factory=random.Random)

    @contextlib.contextmanager
    def repeating(self) -> Iterator[None]:
        """Messages are repeated until the context ends."""
        self.twice += 1
        try:
            yield
        finally:
            self.twice -= 1

    @contextlib.contextmanager
    def swallowing(self) -> Iterator[None]:
        """Half of the acks are lost until the context ends."""
        self.acks_lost += 1
        try:
            yield
        finally:
            self.acks_lost -= 1

    def apply(self, frame: Frame, later: Callable[[float, bytes], None]) -> bytes:
        """What to send for it now; `later` takes what to send after so many seconds."""
        if self.twice and frame.subject.startswith(self.prefix):
            copy = forged(frame, reply=any(mark in frame.subject for mark in ANSWERED))
            self.repeated += 1
            if self.chance.random() < 0.5:
                return frame.data + copy
            later(self.chance.uniform(0.0, _LATE_SECONDS), copy)
        if self.acks_lost and frame.subject.startswith(b"$JS.ACK.") and frame.body in (b"", b"+ACK") and self.chance.random() < 0.5:
            self.swallowed += 1
            return b""
        return frame.data


class _Pipe:
    """One connection through a link."""

    def __init__(self, near: asyncio.StreamWriter, far: asyncio.StreamWriter) -> None:
        self.near, self.far = near, far
        self.going = asyncio.Event()
        self.going.set()
        self.lost = False
        """Half open for ever: what comes is thrown away, an end is not passed on."""

    def drop(self) -> None:
        for writer in (self.near, self.far):
            writer.transport.abort()


class Link:
    """A listening port that passes connections on to a server."""

    def __init__(self, host: str, port: int, mischief: Mischief | None = None) -> None:
        self._target = host, port
        self._mischief = mischief
        self._pipes: set[_Pipe] = set()
        self._tasks: set[asyncio.Task[object]] = set()
        self._server: asyncio.Server | None = None
        self._stalls = 0
        self.port = 0

    async def open(self) -> None:
        """Listen on a port of its own."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """End it and every connection through it."""
        if self._server is not None:
            self._server.close()
        for pipe in list(self._pipes):
            pipe.going.set()
            pipe.drop()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @contextlib.contextmanager
    def stalled(self) -> Iterator[None]:
        """Nothing passes, on old and new connections, and nobody is told. Afterwards everything that was held back arrives."""
        self._stalls += 1
        for pipe in self._pipes:
            pipe.going.clear()
        try:
            yield
        finally:
            self._stalls -= 1
            if not self._stalls:
                for pipe in self._pipes:
                    pipe.going.set()

    @contextlib.contextmanager
    def half_open(self) -> Iterator[None]:
        """The connections of this moment lose their other side without a word: neither end hears from the other again, and the server
        keeps its end open until the context ends. New connections are good."""
        lost = list(self._pipes)
        for pipe in lost:
            pipe.lost = True
        try:
            yield
        finally:
            for pipe in lost:
                pipe.drop()

    async def _accept(self, near_reader: asyncio.StreamReader, near: asyncio.StreamWriter) -> None:
        try:
            far_reader, far = await asyncio.open_connection(*self._target)
        except OSError:
            near.transport.abort()
            return
        pipe = _Pipe(near, far)
        if self._stalls:
            pipe.going.clear()
        self._pipes.add(pipe)
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await asyncio.gather(self._pump(pipe, near_reader, far, up=True), self._pump(pipe, far_reader, near, up=False))
        finally:
            self._tasks.discard(task)
            self._pipes.discard(pipe)
            pipe.drop()

    async def _pump(self, pipe: _Pipe, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, up: bool) -> None:
        cutter = Cutter() if up and self._mischief is not None else None
        with contextlib.suppress(OSError):
            while data := await reader.read(_CHUNK):
                await pipe.going.wait()
                if pipe.lost:
                    continue
                if writer.is_closing():
                    break
                writer.write(self._meddled(cutter, data, writer) if cutter is not None else data)
                await writer.drain()
        await pipe.going.wait()
        if not pipe.lost:
            pipe.drop()

    def _meddled(self, cutter: Cutter, data: bytes, writer: asyncio.StreamWriter) -> bytes:
        mischief = self._mischief
        assert mischief is not None

        def later(seconds: float, copy: bytes) -> None:
            asyncio.get_running_loop().call_later(seconds, _write, writer, copy)

        return b"".join(mischief.apply(frame, later) for frame in cutter.feed(data))


def _write(writer: asyncio.StreamWriter, data: bytes) -> None:
    if not writer.is_closing():
        writer.write(data)
