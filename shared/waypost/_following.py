"""The events of a run, live and without a gap: pages of the log, and between them what arrives on NATS.

NATS carries events at most once to a core subscriber, so it is only the fast path: an event is given out when its
seq is the next one, and whatever is missing is read from the log.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Self

from waypost._requests import Requests
from waypost_io.bus.ports import Bus, Message
from waypost_proto.api import EventPage, RunRef
from waypost_proto.codec import decode
from waypost_proto.errors import BadMessage
from waypost_proto.events import TERMINAL_TYPES, Event
from waypost_proto.ids import RunId
from waypost_proto.subjects import Subjects

PAGE = 500
POLL_SECONDS = 5.0
"""How soon an event is seen whose message was lost."""
_MAX_BUFFERED = 2_000


class Tail:
    """What arrives on NATS about one run. Bounded: what does not fit is dropped, and the next gap is filled from the log."""

    def __init__(self, bus: Bus, subjects: Subjects, run_id: RunId, tails: set[Tail]) -> None:
        """`tails`: where this one is found while it is open, to be nudged."""
        self._bus = bus
        self._tails = tails
        self._subject = subjects.run_events(run_id)
        self._arrived: asyncio.Queue[Event | None] = asyncio.Queue(_MAX_BUFFERED)

    async def __aenter__(self) -> Self:
        self._subscription = await self._bus.subscribe(self._subject, self._receive)
        self._tails.add(self)
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._tails.discard(self)
        await self._subscription.close()

    def nudge(self) -> None:
        """Look at the log now (after a reconnect)."""
        if not self._arrived.full():
            self._arrived.put_nowait(None)

    async def next(self, within_seconds: float = POLL_SECONDS) -> Event | None:
        """The next event that arrived; None after `within_seconds` without one, or when something may have been missed."""
        try:
            async with asyncio.timeout(within_seconds):
                return await self._arrived.get()
        except TimeoutError:
            return None

    async def _receive(self, message: Message) -> None:
        if self._arrived.full():
            return
        try:
            self._arrived.put_nowait(decode(Event, message.body))
        except BadMessage:
            self._arrived.put_nowait(None)


async def pages(requests: Requests, run_id: RunId, after: int) -> AsyncGenerator[Event, None]:
    """Every event after `after` that is committed by now. Raises `NotFound`."""
    cursor: int | None = after
    while cursor is not None:
        page = await requests.call("runs.events", RunRef(run_id=run_id, after=cursor, limit=PAGE), EventPage)
        for raw in page.events:
            yield decode(Event, raw)
        cursor = page.next_after


async def follow(requests: Requests, tail: Tail, run_id: RunId, after: int) -> AsyncGenerator[Event, None]:
    """The events after `after`, each once and in order, until the run has ended."""
    last = after
    while True:
        async with aclosing(pages(requests, run_id, last)) as committed:
            async for event in committed:
                yield event
                last = event.seq
                if event.type in TERMINAL_TYPES:
                    return
        while (arrived := await tail.next()) is not None:
            if arrived.seq <= last:
                continue
            if arrived.seq != last + 1:
                break
            yield arrived
            last = arrived.seq
            if arrived.type in TERMINAL_TYPES:
                return
