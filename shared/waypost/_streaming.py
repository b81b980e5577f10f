"""A run's model output, live: the stream's messages between the pages of the log. Lossy but for the answers, which are the log's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from itertools import chain
from typing import Self

from msgspec.structs import replace

from waypost import _following as following
from waypost._requests import Requests
from waypost.streamed import Preview, Streamed, text_of_answer
from waypost_io.bus.ports import Bus, Message
from waypost_proto.codec import decode_union
from waypost_proto.errors import BadMessage, WaypostError
from waypost_proto.events import TERMINAL_TYPES, Event
from waypost_proto.ids import RunId
from waypost_proto.streams import AnyStreamed
from waypost_proto.subjects import Subjects

_TURNS = 3
"""Of the loop: a task that has messages hands over all of them in one."""


class StreamTail(following.Tail):
    """What arrives on NATS about one run, what models write included. A slow reader loses pieces, never events for good."""

    def __init__(self, bus: Bus, subjects: Subjects, run_id: RunId, tails: set[following.Tail]) -> None:
        super().__init__(bus, subjects, run_id, tails)
        self._bus = bus
        self._tokens = subjects.tokens(run_id)
        self.arrived: asyncio.Queue[Event | AnyStreamed | None] = self._arrived  # type: ignore[assignment]

    async def __aenter__(self) -> Self:
        self._pieces = await self._bus.subscribe(self._tokens, self._receive_piece)
        try:
            return await super().__aenter__()
        except BaseException:
            await self._pieces.close()
            raise

    async def __aexit__(self, *exc: object) -> None:
        await self._pieces.close()
        await super().__aexit__(*exc)

    async def next_of_both(self, within_seconds: float) -> Event | AnyStreamed | None:
        """The next thing that arrived; None when it is time to look at the log."""
        try:
            async with asyncio.timeout(within_seconds):
                return await self.arrived.get()
        except TimeoutError:
            return None

    async def shown_before(self) -> list[AnyStreamed]:
        """What was sent before the moment of this call and was not taken yet, events left out."""
        with suppress(WaypostError):  # disconnected: then it is lost, like any piece
            await self._bus.flush()  # what was sent before is here …
        for _ in range(_TURNS):
            await asyncio.sleep(0)  # … and is handed over by the subscription's own task
        found = []
        while not self.arrived.empty():
            arrived = self.arrived.get_nowait()
            if arrived is not None and not isinstance(arrived, Event):
                found.append(arrived)
        return found

    async def _receive_piece(self, message: Message) -> None:
        if self.arrived.full():
            return
        try:
            self.arrived.put_nowait(decode_union(AnyStreamed, message.body))
        except BadMessage:  # of a later version
            return


async def stream(requests: Requests, tail: StreamTail, run_id: RunId, after: int) -> AsyncGenerator[Streamed, None]:
    """The items of the run after event `after`, until it has ended."""
    log = _Log(requests, run_id, after)
    while not log.over:
        async with aclosing(log.items(tail)) as recorded:
            async for item in recorded:
                yield item
        if not log.over:
            async with aclosing(_live(tail, log)) as shown:
                async for item in shown:
                    yield item


async def _live(tail: StreamTail, log: _Log) -> AsyncGenerator[Streamed, None]:
    """What is written meanwhile, until the log has more."""
    async with aclosing(_arriving(tail)) as arriving:
        async for message in arriving:
            if not isinstance(message, Event):
                for item in log.preview.take(message):
                    yield item
            elif message.seq > log.last:
                return  # the log gives it, and whatever was lost before it


class _Log:
    """What is committed of a run: read as far as `last`, and `over` when that was its end."""

    def __init__(self, requests: Requests, run_id: RunId, after: int) -> None:
        self._requests = requests
        self._run_id = run_id
        self.preview = Preview()
        self.last = after
        self.over = False

    async def items(self, tail: StreamTail) -> AsyncGenerator[Streamed, None]:
        """What the events say that were not read before. The end comes last: a worker sends all that it shows before it ends a run, but the
        log can be read sooner than what has arrived is given out."""
        async with aclosing(following.pages(self._requests, self._run_id, self.last)) as committed:
            async for event in committed:
                self.last = event.seq
                self.over = event.type in TERMINAL_TYPES
                before = await tail.shown_before() if self.over else []
                for item in chain.from_iterable(map(self.preview.take, before)):
                    yield item
                for item in self.preview.settle(event):
                    yield await _whole(self._requests, item)


async def _arriving(tail: StreamTail) -> AsyncGenerator[Event | AnyStreamed, None]:
    """What arrives, until it is time to look at the log."""
    loop = asyncio.get_running_loop()
    look_at = loop.time() + following.POLL_SECONDS
    while (left := look_at - loop.time()) > 0:
        arrived = await tail.next_of_both(left)
        if arrived is None:
            return
        yield arrived


async def _whole(requests: Requests, item: Streamed) -> Streamed:
    """An answer with its text, wherever that is."""
    if item.ref is None:
        return item
    return replace(item, text=text_of_answer(await requests.download(item.ref)), ref=None)
