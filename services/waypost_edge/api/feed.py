"""Events as they come, for everybody who watches: one NATS subscription of the process, fanned out.

NATS carries events at most once, so it is only the bell: an event is given on when its seq is the next one, and whatever is missing is read
from the log. Nothing is kept for a watcher who does not keep up: the log is the buffer. What may be lost silently (a message, a
connection) is found by looking at the runs that are watched, in one query for all of them.

Owns no request: `watching` reads for one watcher, `run_list` for those who watch many runs.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import islice

import msgspec
import structlog

from waypost_edge.api import sse
from waypost_io.bus.ports import Bus, Message, Subscription
from waypost_io.store.ports import Reads, RunGlance
from waypost_proto.errors import Unreachable, WaypostError
from waypost_proto.ids import RunId
from waypost_proto.subjects import Subjects

LOOK_SECONDS = 10.0
"""How soon an event is seen whose message was lost."""
LOOK_SECONDS_APART = 1.0
"""The same while there is no connection to NATS."""
_GLANCE = 500
_log = structlog.get_logger(__name__)


class Head(msgspec.Struct, frozen=True):
    """What the fan-out needs of an event; the rest of its bytes is not looked at."""

    seq: int
    type: str
    agent: str = ""
    tenant: str = "default"


@dataclass(eq=False, slots=True)
class Arrived:
    """An event as it came: its bytes are those of the log. What is sent of it is made by the first who sends it, for all."""

    run_id: RunId
    head: Head
    body: bytes
    _frame: bytes = b""
    _chunk: bytes = b""

    def frame(self) -> bytes:
        """As a server-sent event."""
        self._frame = self._frame or sse.frame(self.body, number=self.head.seq)
        return self._frame

    def chunk(self) -> bytes:
        """The same as it goes over a connection."""
        self._chunk = self._chunk or sse.chunk(self.frame())
        return self._chunk


Take = Callable[[Arrived], None]
"""Given each event of a run. Must not block or raise."""
Behind = Callable[[RunGlance], None]
"""Told how far a run is in the log."""
_HEAD = msgspec.json.Decoder(Head)


@dataclass(eq=False, slots=True)
class Tap:
    """Somebody who watches one run."""

    take: Take
    behind: Behind


class Feed:
    """Use as an async context manager. Listens while somebody watches, and not otherwise."""

    def __init__(self, bus: Bus, subjects: Subjects, reads: Reads) -> None:
        self._bus = bus
        self._subject = subjects.all_events()
        self._run_token = self._subject.count(".") + 1
        self._reads = reads
        self._taps: dict[RunId, set[Tap]] = {}
        self._all: Counter[Take] = Counter()
        """Who hears every run, once however often they ask: a list with many readers asks for each of them."""
        self._subscription: Subscription | None = None
        self._listening = asyncio.Lock()
        self._look_now = asyncio.Event()
        self._missed: list[Callable[[], None]] = []
        bus.on_reconnect(self._on_reconnect)

    def on_missed(self, callback: Callable[[], None]) -> None:
        """Call this when those who hear every run may have missed something."""
        self._missed.append(callback)

    @property
    def watched(self) -> int:
        """Runs that somebody watches."""
        return len(self._taps)

    async def run(self) -> None:
        """Look for what was lost, until cancelled."""
        while True:
            await self._pause()
            try:
                if self._taps or self._all:
                    await self._listen()
                else:
                    await self._silence()
                await self._look()
            except WaypostError as error:
                _log.warning("watched runs cannot be looked at", error=str(error))

    @asynccontextmanager
    async def tap(self, run_id: RunId, tap: Tap) -> AsyncIterator[None]:
        """Hear one run. Everything that is published after this is entered is heard, as far as NATS goes."""
        self._taps.setdefault(run_id, set()).add(tap)
        try:
            await self._listen()
            yield
        finally:
            taps = self._taps[run_id]
            taps.discard(tap)
            if not taps:
                del self._taps[run_id]

    @asynccontextmanager
    async def tap_all(self, take: Take) -> AsyncIterator[None]:
        """Hear every run, each event once, until whoever entered this with the same `take` has left."""
        self._all[take] += 1
        try:
            await self._listen()
            yield
        finally:
            self._all[take] -= 1
            if not self._all[take]:
                del self._all[take]

    def _on_reconnect(self) -> None:
        self._look_now.set()
        for callback in self._missed:
            callback()

    async def _listen(self) -> None:
        """Subscribe if nobody has yet. Without NATS the log is looked at more often, until it is there."""
        async with self._listening:
            if self._subscription is None and self._bus.connected:
                try:
                    self._subscription = await self._bus.subscribe(self._subject, self._receive)
                except Unreachable as error:
                    _log.warning("events cannot be heard", error=str(error))
                self._look_now.set()

    async def _silence(self) -> None:
        async with self._listening:
            if self._subscription is not None and not self._taps and not self._all:
                subscription, self._subscription = self._subscription, None
                await subscription.close()

    async def _receive(self, message: Message) -> None:
        run_id = RunId(message.subject.split(".", self._run_token + 1)[self._run_token])
        taps = self._taps.get(run_id)
        if taps is None and not self._all:
            return
        try:
            head = _HEAD.decode(message.body)
        except msgspec.MsgspecError:
            return
        arrived = Arrived(run_id, head, message.body)
        for tap in tuple(taps or ()):
            tap.take(arrived)
        for take in tuple(self._all):
            take(arrived)

    async def _pause(self) -> None:
        """Until it is time to look."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        while not self._look_now.is_set():
            patience = LOOK_SECONDS if self._bus.connected else LOOK_SECONDS_APART
            left = began + patience - loop.time()
            if left <= 0:
                break
            try:
                async with asyncio.timeout(min(left, LOOK_SECONDS_APART)):
                    await self._look_now.wait()
            except TimeoutError:
                pass
        self._look_now.clear()

    async def _look(self) -> None:
        for part in _parts(self._taps, _GLANCE):
            for glance in await self._reads.glance(part):
                for tap in tuple(self._taps.get(glance.run_id, ())):
                    tap.behind(glance)


def _parts(run_ids: Iterable[RunId], size: int) -> Iterable[list[RunId]]:
    rest = iter(tuple(run_ids))
    while part := list(islice(rest, size)):
        yield part
