"""One watcher of one run: the events after some seq, each once and in order, as server-sent events, until the run has ended.

What arrives live is given on when it is next, past the task if that has nothing else to send; a gap, or a watcher who did not keep up, is
filled from the log. What models write (`tokens`) is a preview: it may have gaps, and the recorded answer replaces it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator

from waypost.streamed import Preview, Streamed
from waypost_edge.api import sse
from waypost_edge.api.feed import Arrived
from waypost_edge.api.sse import Bell
from waypost_io.bus.ports import Message
from waypost_io.store.ports import Log, RunGlance
from waypost_proto.codec import decode, decode_union, encode
from waypost_proto.errors import BadMessage
from waypost_proto.events import TERMINAL_TYPES, Event
from waypost_proto.ids import RunId
from waypost_proto.streams import AnyStreamed

PAGE, SMALLEST_PAGE = 64, 4
"""Events of one look at the log, at most: they may be large, and a thousand watchers may come back at once. A page that was heavy makes the
next one small."""
HEAVY_BYTES = 256 * 1024
MAX_WAITING = 256
"""Events that wait for one watcher; past it they are read from the log."""
MAX_PIECES = 512
"""Messages of what models write that wait for one watcher; past it pieces are lost, and shown as a gap."""


class Watcher:
    """Give it what arrives (`take`, `behind`, `piece`); it makes frames of it. `last` is the seq that was given out last."""

    def __init__(self, log: Log, run_id: RunId, *, after: int, bell: Bell, tokens: bool = False) -> None:
        self._log = log
        self._run_id = run_id
        self._bell = bell
        self.last = after
        self._preview = Preview() if tokens else None
        self._arrived: deque[Arrived] = deque()
        self._pieces: deque[AnyStreamed] = deque(maxlen=MAX_PIECES)
        self._behind = True
        self._page = SMALLEST_PAGE
        self.over = False

    def take(self, arrived: Arrived) -> None:
        """An event from the feed."""
        seq = arrived.head.seq
        if seq <= self.last or (self._behind and self._arrived):
            return  # it was given out, or the log has it
        if (
            seq == self.last + 1
            and self._preview is None
            and arrived.head.type not in TERMINAL_TYPES
            and self._bell.pass_by(arrived.chunk())
        ):
            self.last = seq
            return
        if len(self._arrived) >= MAX_WAITING:
            self._arrived.clear()
            self._behind = True
        else:
            self._arrived.append(arrived)
        self._bell.ring()

    def behind(self, glance: RunGlance) -> None:
        """How far the log is."""
        if glance.seq > self.last + len(self._arrived):
            self._behind = True
            self._bell.ring()

    async def piece(self, message: Message) -> None:
        """A message about what a model writes."""
        try:
            self._pieces.append(decode_union(AnyStreamed, message.body))
        except BadMessage:  # of a later version
            return
        self._bell.ring()

    async def frames(self) -> AsyncGenerator[bytes, None]:
        """What to send, some frames at a time; b"" when there is nothing and the bell rang all the same. Ends with the run."""
        while not self.over:
            if self._behind:
                yield await self._recorded()
            elif self._arrived or self._pieces:
                yield self._live()
            else:
                await self._bell.wait()
                yield b""
        yield sse.frame(b"{}", kind="end")

    async def _recorded(self) -> bytes:
        """The next page of the log."""
        self._behind = False
        rows = await self._log.load_events(self._run_id, after=self.last, limit=self._page)
        self._behind = self._behind or len(rows) == self._page
        heavy = sum(len(row.body) for row in rows) > HEAVY_BYTES
        self._page = max(SMALLEST_PAGE, self._page // 4) if heavy else min(PAGE, self._page * 4)
        made = []
        for row in rows:
            made.append(self._shown(row.body))
            made.append(sse.frame(row.body, number=row.seq))
            self._given(row.seq, row.type)
        return b"".join(made)

    def _live(self) -> bytes:
        """What has arrived and is next."""
        made = []
        while self._pieces and self._preview is not None:
            made += [_item(item) for item in self._preview.take(self._pieces.popleft())]
        while self._arrived and not self.over:
            arrived = self._arrived.popleft()
            if arrived.head.seq <= self.last:
                continue
            if arrived.head.seq != self.last + 1:
                self._arrived.clear()
                self._behind = True
                break
            made.append(self._shown(arrived.body))
            made.append(arrived.frame())
            self._given(arrived.head.seq, arrived.head.type)
        return b"".join(made)

    def _given(self, seq: int, type_: str) -> None:
        self.last = seq
        self.over = self.over or type_ in TERMINAL_TYPES

    def _shown(self, body: bytes) -> bytes:
        """What an event says of what models wrote: before the event itself, whose id stands for both."""
        if self._preview is None:
            return b""
        try:
            items = self._preview.settle(decode(Event, body))
        except BadMessage:
            return b""
        return b"".join(_item(item) for item in items if item.kind != "ended")


def _item(item: Streamed) -> bytes:
    return sse.frame(encode(item), kind="token")
