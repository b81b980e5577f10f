"""Server-sent events for pages: each says "look again", never what has changed. A page then asks for what it shows, as whoever it is.

The streams are the API's (`api.sse`), and so is what is heard (`api.feed`). Whatever happens between two looks of a page is one look.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from waypost_edge.api.feed import Arrived, Feed, Tap
from waypost_edge.api.sse import Bell, Stream, frame
from waypost_edge.auth.caller import Caller
from waypost_edge.console.run_page import allowed
from waypost_io.store.ports import RunGlance
from waypost_proto.errors import BadInput
from waypost_proto.ids import RunId, parse_run_id

if TYPE_CHECKING:
    from starlette.requests import Request

    from waypost_edge.console.site import Console, Who

GATHER_SECONDS = 0.15
"""News within so long are one."""


class Watch:
    """One open page: whether there is news for it, and up to which event of its run."""

    def __init__(self, caller: Caller, bell: Bell) -> None:
        self._caller = caller
        self._bell = bell
        self._news = False
        self._seq = 0

    def take(self, arrived: Arrived) -> None:
        """An event. It is forgotten if it is not theirs to see."""
        if self._caller.sees(arrived.head.tenant, arrived.head.agent):
            self._tell(arrived.head.seq)

    def behind(self, glance: RunGlance) -> None:
        """The run is so far in the log: its messages may have been lost."""
        if glance.seq > self._seq:
            self._tell(glance.seq)

    def _tell(self, seq: int) -> None:
        self._seq = seq
        self._news = True
        self._bell.ring()

    async def frames(self) -> AsyncGenerator[bytes, None]:
        """`change` whenever the page should look again, an empty piece when there is nothing to say."""
        yield frame(b"{}", kind="open")
        while True:
            await self._bell.wait()
            if not self._news:
                yield b""
                continue
            await asyncio.sleep(GATHER_SECONDS)
            self._news = False
            yield frame(b'{"seq":%d}' % self._seq, kind="change")


async def live(console: Console, request: Request, who: Who) -> Stream:
    """`/live` for all runs, `/live?run=ID` for one. Raises `BadInput`, `NotFound`."""
    unknown = sorted(set(request.query_params) - {"run"})
    if unknown:
        raise BadInput(f"/live takes run=<run id>, not {unknown[0]!r}")
    asked = request.query_params.get("run")
    run_id = None if asked is None else parse_run_id(asked)
    if run_id is not None:
        await allowed(console, who, run_id)
    bell = Bell()
    watching = _watching(console.live.feed, run_id, Watch(who.caller, bell))
    return Stream(console.live.crowd, bell, watching, until=who.caller.expires_at)


@asynccontextmanager
async def _watching(feed: Feed, run_id: RunId | None, watch: Watch) -> AsyncIterator[AsyncGenerator[bytes, None]]:
    async with feed.tap_all(watch.take) if run_id is None else feed.tap(run_id, Tap(watch.take, watch.behind)):
        yield watch.frames()
