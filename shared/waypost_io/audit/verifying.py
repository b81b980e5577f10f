"""Verifies the log that is in the database: every event's bytes, every leaf, every kept node, every span and cursor, every head and key."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

from waypost_core.audit.checking import KEPT, Checker
from waypost_core.audit.drops import Dropped
from waypost_core.audit.growing import GrowingTree
from waypost_core.audit.heads import Head, parse_head
from waypost_core.audit.keyring import Keyring
from waypost_core.audit.merkle import HASH_BYTES
from waypost_core.audit.notes import BadNote, Note, VerifierKey
from waypost_core.audit.report import Report
from waypost_io.audit.spans import SpanCheck
from waypost_io.audit.tree import read_tree
from waypost_io.store.ports import Audit, EventRow
from waypost_proto.errors import BadInput, NotFound

CHUNK_LEAVES = 4_096
AHEAD = 2
"""Chunks that are read while one is checked."""
HEADS_PAGE = 1_000

Progress = Callable[[int, int], None]
"""Told leaves done and leaves in all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """How to verify. `trusted` keys and `heads` come from elsewhere. `since`: begin behind so many leaves, taken on the word of a head."""

    trusted: Sequence[VerifierKey] = ()
    heads: Sequence[str] = ()
    since: int = 0


async def verify(audit: Audit, wanted: Wanted | None = None, *, progress: Progress | None = None) -> Report:
    """Read everything once and say what is wrong, and where. Events that are not in the log yet are not looked at.

    Raises `TransientError`; `BadInput` when there is no head at `since`.
    """
    return await _Verification(audit, wanted or Wanted(), progress).run()


class _Verification:
    """One pass."""

    def __init__(self, audit: Audit, wanted: Wanted, progress: Progress | None) -> None:
        self._audit = audit
        self._wanted = wanted
        self._progress = progress
        self._waiting: list[tuple[int, str, str]] = []
        """(size, note, what it is), smallest first, of the page of heads that was read."""
        self._next_heads = 0

    async def run(self) -> Report:
        """See `verify`."""
        audit, since = self._audit, self._wanted.since
        state = await audit.state()
        keys = await audit.keys()
        ring = Keyring([key.note for key in keys], self._wanted.trusted)
        self._checker = Checker(ring, every_event=not since, tree=await self._begin(since) if since else None)
        self._checker.allow(Dropped(ring, [(row.note, row.leaves) for row in await audit.drops()]))
        self._spans = SpanCheck(self._checker, since)
        for row, statement in zip(keys, ring.statements, strict=False):
            if (row.key_id, row.size) != (statement.new.key_id, statement.size):
                self._checker.add("key", f"key number {row.number} is stored with another id or size than its statement has")
        self._next_heads = since + 1 if since else 0
        self._kept = sorted(self._parsed(self._wanted.heads))
        await self._more_heads()
        async for low, entries, leaves in self._chunks(since, state.size):
            await self._chunk(low, entries, leaves, min(low + CHUNK_LEAVES, state.size))
        await self._finish(state.size)
        return self._checker.finish(state.origin, trusted=bool(self._wanted.trusted))

    async def _begin(self, since: int) -> GrowingTree:
        head = await self._audit.newest_head(at_most=since)
        if head is None or head.size != since:
            raise BadInput(f"--since {since}: there is no signed head of {since} leaves; `waypost audit head --all` lists them")
        try:
            tree = await read_tree(self._audit, since)
        except NotFound as error:
            raise BadInput(f"--since {since}: {error}; verify from the beginning") from error
        if tree.root != parse_head(head.note)[0].root:
            raise BadInput(f"--since {since}: the log's first {since} leaves do not fit their head; verify from the beginning")
        return tree

    # -- leaves

    async def _chunks(self, since: int, size: int) -> AsyncIterator[tuple[int, list[tuple[int, EventRow]], bytes]]:
        """Chunks in order, the next ones being read meanwhile."""
        lows = iter(range(since, size, CHUNK_LEAVES))
        reading: list[asyncio.Task[tuple[int, list[tuple[int, EventRow]], bytes]]] = []
        try:
            while True:
                while len(reading) <= AHEAD and (low := next(lows, None)) is not None:
                    reading.append(asyncio.create_task(self._read(low, min(low + CHUNK_LEAVES, size))))
                if not reading:
                    return
                yield await reading.pop(0)
        finally:
            for task in reading:
                task.cancel()
            await asyncio.gather(*reading, return_exceptions=True)

    async def _read(self, low: int, high: int) -> tuple[int, list[tuple[int, EventRow]], bytes]:
        return low, await self._audit.entries(low, high), await self._audit.hashes(0, low, high)

    async def _chunk(self, low: int, entries: list[tuple[int, EventRow]], leaves: bytes, high: int) -> None:
        if len(leaves) != (high - low) * HASH_BYTES:
            self._checker.add("store", f"the hashes of leaves {low + len(leaves) // HASH_BYTES} and following are missing", index=low)
        self._spans.take(await self._audit.spans(low, high), high)
        at = 0
        for index in range(low, high):
            await self._heads_at(index)
            told = leaves[(index - low) * HASH_BYTES : (index - low + 1) * HASH_BYTES] or b"\0" * HASH_BYTES
            first = at
            while at < len(entries) and entries[at][0] == index:
                at += 1
            if at == first:
                self._missing(index, told)
            else:
                self._event(index, [row for _, row in entries[first:at]], told)
        await self._nodes()
        if self._progress is not None:
            self._progress(high, max(high, self._size))

    @property
    def _size(self) -> int:
        return self._checker.size

    def _event(self, index: int, rows: list[EventRow], told: bytes) -> None:
        row = rows[0]
        if len(rows) > 1:
            row = next((each for each in rows if self._spans.fits(each, told)), row)
            for other in rows:
                if other is not row:
                    text = f"event {other.seq} of run {other.run_id} was added: it stands where event {row.seq} of run {row.run_id} is"
                    self._checker.add("inserted", text, index=index, run_id=other.run_id, seq=other.seq)
        self._checker.event(row.run_id, row.seq, row.body, told)
        self._spans.columns(index, row)

    def _missing(self, index: int, told: bytes) -> None:
        if self._checker.excused(index, index + 1):
            self._checker.lost(told)
            return
        partition, position = self._spans.place(index)
        text = f"the event of leaf {index} (partition {partition}, position {position}) is missing"
        self._checker.add("missing", text, index=index)
        self._checker.lost(told)

    async def _nodes(self) -> None:
        """What the database kept of the tree is what the leaves make."""
        made = self._checker.take_nodes()
        for level in {node.level for node in made}:
            nodes = [node for node in made if node.level == level]
            low = nodes[0].number
            kept = await self._audit.hashes(level, low, low + len(nodes))
            for at, node in enumerate(nodes):
                if kept[at * HASH_BYTES : (at + 1) * HASH_BYTES] != node.hash:
                    text = f"node {node.number} of level {level} of the kept tree is not that of its leaves: proofs will fail"
                    self._checker.add("store", text, index=node.number << (8 * level), until=(node.number + 1) << (8 * level))

    # -- heads

    def _parsed(self, notes: Sequence[str]) -> list[tuple[int, str]]:
        found = []
        for note in notes:
            parsed = self._checker.parse(note, KEPT)
            if parsed is not None:
                found.append((parsed[0].size, note))
        return found

    async def _more_heads(self) -> None:
        rows = await self._audit.heads(from_size=self._next_heads, limit=HEADS_PAGE)
        self._waiting = []
        for row in rows:
            parsed = _quietly(row.note)
            if parsed is not None and (parsed[0].size, parsed[1].signatures[0].key_id) != (row.size, row.key_id):
                self._checker.add("head", f"the head stored for {row.size} leaves and key {row.key_id} is another one", index=row.size)
            self._waiting.append((row.size, row.note, "head"))
        self._next_heads = rows[-1].size + 1 if rows else -1
        if len(rows) == HEADS_PAGE:  # several of one size may be cut by the page: leave the last size to the next one
            last = rows[-1].size
            if rows[0].size != last:
                self._waiting = [head for head in self._waiting if head[0] != last]
                self._next_heads = last
        elif rows:
            self._next_heads = -1

    async def _heads_at(self, size: int) -> None:
        """Check the heads of exactly this size: the log's own first, then those that were kept elsewhere."""
        while self._waiting and self._waiting[0][0] <= size:
            _, note, what = self._waiting.pop(0)
            self._checker.head(note, what=what)
            if not self._waiting and self._next_heads >= 0:
                await self._more_heads()
        while self._kept and self._kept[0][0] <= size:
            kept_size, note = self._kept.pop(0)
            if kept_size == size:
                self._checker.head(note, what=KEPT)

    # -- the end

    async def _finish(self, size: int) -> None:
        checker = self._checker
        await self._heads_at(size)
        while self._waiting:
            checker.beyond([note for _, note, _ in self._waiting])
            await self._more_heads() if self._next_heads >= 0 else self._waiting.clear()
        checker.beyond([note for _, note in self._kept], KEPT)
        if await self._audit.hashes(0, size, size + 1):
            checker.add("store", f"there are leaf hashes beyond the log's {size} leaves", index=size)
        self._spans.finish(await self._audit.cursors(), size)
        for row in await self._audit.strays():
            place = f"position {row.position} of partition {row.partition}"
            text = f"event {row.seq} of run {row.run_id} was added: no leaf can be its, at {place}"
            checker.add("inserted", text, run_id=row.run_id, seq=row.seq)


def _quietly(note: str) -> tuple[Head, Note] | None:
    """A head, or None where the checker will say why not."""
    try:
        return parse_head(note)
    except BadNote:
        return None
