"""Live events over HTTP: who may watch what, and with which cursor. The parts are `feed`, `watching`, `run_list` and `sse`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Self

from starlette.requests import Request
from starlette.responses import Response

from waypost_edge.api.feed import Feed, Tap
from waypost_edge.api.run_list import Filter, RunList
from waypost_edge.api.sse import Bell, Crowd, Stream
from waypost_edge.api.types import ChangesAsked, EventsAsked
from waypost_edge.api.watching import Watcher
from waypost_edge.auth import Caller
from waypost_io.bus.ports import Bus
from waypost_io.lifecycle import Stop
from waypost_io.metrics import Gauge
from waypost_io.store.ports import Store
from waypost_proto.errors import BadInput, NotFound
from waypost_proto.ids import RunId, parse_run_id
from waypost_proto.subjects import Subjects

LAST_EVENT_ID = "last-event-id"
_MOST = 2**62


class Live:
    """Everybody who watches through this edge. Use as an async context manager; leaving ends their streams."""

    def __init__(self, bus: Bus, subjects: Subjects, store: Store, *, watchers: int, shown: Gauge | None = None) -> None:
        """`watchers`: how many there may be at once; `shown` is how many there are."""
        self._bus = bus
        self._subjects = subjects
        self._store = store
        self.crowd = Crowd(watchers, shown)
        self.feed = Feed(bus, subjects, store.reads)
        self.runs = RunList(self.feed, store.reads)
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        tasks = await self._stack.enter_async_context(asyncio.TaskGroup())
        for loop in (self.feed.run, self.crowd.run, self.runs.run):
            self._stack.callback(tasks.create_task(loop()).cancel)
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.crowd.stop()
        await self._stack.aclose()

    async def end_with(self, stop: Stop) -> None:
        """End every stream at the stop, so that the edge need not wait for them."""
        await stop.wait()
        self.crowd.stop()

    async def events(self, request: Request, asked: EventsAsked, caller: Caller) -> Stream | Response:
        """The events of a run behind `Last-Event-ID`, or the parameter `after`. 204 when there are none and none will come.

        The header counts more than `after`. Raises `NotFound`, for a run of another tenant too, and `BadInput` for a cursor that is none.
        """
        caller.check("runs.events")
        run_id = parse_run_id(asked.run_id)
        after = _cursor(request, asked.after)
        found = await self._store.reads.glance([run_id])
        if not found or not caller.sees(found[0].tenant, found[0].agent):
            raise NotFound(f"no run {run_id}: `waypost runs list` shows those there are")
        if not found[0].open and found[0].seq <= after:
            return Response(status_code=204)  # an EventSource stops at this
        bell = Bell()
        watcher = Watcher(self._store.log, run_id, after=after, bell=bell, tokens=asked.tokens)
        return Stream(self.crowd, bell, self._watching(watcher, run_id, tokens=asked.tokens), until=caller.expires_at)

    def changes(self, asked: ChangesAsked, caller: Caller) -> Stream:
        """Changes of all runs that the caller may see and has asked for. Raises `BadInput`."""
        bell = Bell()
        return Stream(self.crowd, bell, self.runs.watching(Filter.of(asked, caller), bell), until=caller.expires_at)

    @asynccontextmanager
    async def _watching(self, watcher: Watcher, run_id: RunId, *, tokens: bool) -> AsyncIterator[AsyncGenerator[bytes, None]]:
        async with AsyncExitStack() as stack:
            if tokens:
                subscription = await self._bus.subscribe(self._subjects.tokens(run_id), watcher.piece)
                stack.push_async_callback(subscription.close)
            await stack.enter_async_context(self.feed.tap(run_id, Tap(watcher.take, watcher.behind)))
            yield watcher.frames()


def _cursor(request: Request, after: int) -> int:
    text = request.headers.get(LAST_EVENT_ID) or str(after)
    if not (text.isascii() and text.isdigit() and len(text) < 20 and int(text) <= _MOST):
        raise BadInput(f"Last-Event-ID {text[:40]!r} is not the id of an event: ids here are numbers from 1")
    return int(text)
