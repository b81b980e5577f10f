"""Exports of the audit log: the lines of `waypost_core.audit.exports`, read from the database as they are written.

A stream of lines for the edge; a file for the command line, complete or not there at all.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import msgspec

from waypost_core.audit.exports import EndLine, EventLine, HeadLine, Line, Manifest, Scope, SkipLine
from waypost_core.audit.heads import parse_head
from waypost_core.audit.leaves import event_leaf
from waypost_core.audit.merkle import HASH_BYTES, peaks
from waypost_core.audit.proofs import body_fields, hash_text
from waypost_io.audit.tree import read_hashes
from waypost_io.store.ports import Audit, EventRow, HeadRow
from waypost_proto.errors import BadInput, NotFound
from waypost_proto.ids import RunId
from waypost_proto.task import format_time, parse_time

CHUNK_LEAVES = 2_048
MAX_HEADS = 1_000
"""Heads on the way, thinned out evenly: they say where a change is, to within so many parts of the log."""
WRITE_BYTES = 1 << 20
_FOREVER = 253_402_300_799.0
"""The end of the year 9999."""

Progress = Callable[[int, int], None]
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What an export holds."""

    events: int
    skipped: int
    size: int
    bytes: int
    sha256: str
    """Of the lines above the last one, as that says."""


class Export:
    """One export. `lines` it once; `done` is there afterwards."""

    def __init__(self, audit: Audit, scope: Scope, *, progress: Progress | None = None) -> None:
        """Raises `BadInput` for a scope that cannot be."""
        self._audit = audit
        self._scope = scope
        self._progress = progress
        self._since, self._until = _times(scope)
        self._next = self._events = self._skipped = self._bytes = 0
        self._digest = hashlib.sha256()
        self.done: Exported | None = None

    async def lines(self) -> AsyncIterator[bytes]:
        """The lines, each with its end. Raises `NotFound` when there is no signed head, or no such run under it; `TransientError`."""
        head = await self._audit.newest_head()
        if head is None:
            raise NotFound("the audit log has no signed head yet: is WAYPOST_AUDIT_KEY_FILE set for the audit logger?")
        if self._scope.kind == "run" and await self._run_page(head.size, 0) == []:
            raise NotFound(f"run {self._scope.run_id} has no event under the newest signed head, of {head.size} leaves")
        yield self._line(await self._manifest(head))
        heads = await self._heads(head.size) if self._scope.kind == "all" else []
        async for index, row, leaf in self._selected(head.size):
            async for line in self._between(index, heads):
                yield line
            yield self._event(index, row, leaf)
            if self._progress is not None and self._events % CHUNK_LEAVES == 0:
                self._progress(index, head.size)
        async for line in self._between(head.size, heads):
            yield line
        sha256 = self._digest.hexdigest()
        yield self._line(EndLine(events=self._events, skipped=self._skipped, sha256=sha256))
        self.done = Exported(events=self._events, skipped=self._skipped, size=head.size, bytes=self._bytes, sha256=sha256)

    async def _manifest(self, head: HeadRow) -> Manifest:
        parsed = parse_head(head.note)[0]
        drops = [(row.note, row.leaves) for row in await self._audit.drops()] if self._scope.kind == "all" else []
        return Manifest(
            origin=parsed.origin,
            scope=self._scope,
            size=parsed.size,
            root=hash_text(parsed.root),
            head=head.note,
            keys=[key.note for key in await self._audit.keys()],
            made_at=format_time(time.time()),
            made_by=f"waypost {version('waypost')}",
            drops=drops or msgspec.UNSET,
        )

    async def _heads(self, size: int) -> list[tuple[int, str]]:
        """Heads below `size`, evenly thinned, largest first."""
        found: list[tuple[int, str]] = []
        step = max(1, size // MAX_HEADS)
        row = await self._audit.newest_head(at_most=size - 1)
        while row is not None:
            found.append((row.size, row.note))
            row = await self._audit.newest_head(at_most=row.size - step)
        return found

    # -- what is selected

    async def _selected(self, size: int) -> AsyncIterator[tuple[int, EventRow, bytes | None]]:
        """Leaves with their events, in order; the leaf hash where it was read anyway."""
        if self._scope.kind == "run":
            after = 0
            while page := await self._run_page(size, after):
                after = page[-1][1].seq
                for index, row in page:
                    yield index, row, None
            return
        async for low, high in self._ranges(size):
            entries, leaves = await self._audit.entries(low, high), await self._audit.hashes(0, low, high)
            seen = -1
            for index, row in entries:
                at = (index - low) * HASH_BYTES
                if index != seen and self._since <= row.recorded_at < self._until:
                    yield index, row, leaves[at : at + HASH_BYTES]
                seen = index

    async def _run_page(self, size: int, after: int) -> list[tuple[int, EventRow]]:
        assert self._scope.run_id is not None
        page = await self._audit.entries_of_run(RunId(self._scope.run_id), after=after, limit=CHUNK_LEAVES)
        return [entry for entry in page if entry[0] < size]

    async def _ranges(self, size: int) -> AsyncIterator[tuple[int, int]]:
        """Pieces of the log in which selected leaves are."""
        if self._scope.kind == "all":
            for low in range(0, size, CHUNK_LEAVES):
                yield low, min(low + CHUNK_LEAVES, size)
            return
        after = -1
        while spans := await self._audit.spans_of(self._since, self._until, after=after):
            for span in spans:
                if span.index < size:
                    yield span.index, min(span.index + span.count, size)
            after = spans[-1].index

    # -- lines

    async def _between(self, index: int, heads: list[tuple[int, str]]) -> AsyncIterator[bytes]:
        """What stands between the last event and leaf `index`: heads, and the subtrees that are left out."""
        while heads and heads[-1][0] <= index:
            size, note = heads.pop()
            async for line in self._skip_to(size):
                yield line
            yield self._line(HeadLine(size=size, note=note))
        async for line in self._skip_to(index):
            yield line

    async def _skip_to(self, index: int) -> AsyncIterator[bytes]:
        if index <= self._next:
            return
        nodes = peaks(self._next, index)
        hashes = await read_hashes(self._audit, [(number << height, (number + 1) << height) for height, number in nodes])
        for (height, number), hash_ in zip(nodes, hashes, strict=True):
            yield self._line(SkipLine(index=number << height, height=height, hash=hash_text(hash_)))
        self._skipped += index - self._next
        self._next = index

    def _event(self, index: int, row: EventRow, leaf: bytes | None) -> bytes:
        body, body_base64 = body_fields(row.body)
        self._next = index + 1
        self._events += 1
        told = leaf or event_leaf(row.run_id, row.seq, row.body)
        return self._line(EventLine(index=index, run_id=row.run_id, seq=row.seq, leaf=hash_text(told), body=body, body_base64=body_base64))

    def _line(self, line: Line) -> bytes:
        data = _encode(line) + b"\n"
        if not isinstance(line, EndLine):
            self._digest.update(data)
        self._bytes += len(data)
        return data


async def export_file(audit: Audit, scope: Scope, path: Path, *, progress: Progress | None = None) -> Exported:
    """Write an export to a file: beside it first, then in one step, so that a file of this name is a whole export.

    Raises as `Export.lines` does, and `BadInput` when the file cannot be written. What is left of one that failed is removed.
    """
    export = Export(audit, scope, progress=progress)
    beside = path.with_name(path.name + ".partial")
    try:
        with beside.open("wb") as file:
            held, size = [], 0
            async for line in export.lines():
                held.append(line)
                size += len(line)
                if size >= WRITE_BYTES:
                    await asyncio.to_thread(file.write, b"".join(held))
                    held, size = [], 0
            file.write(b"".join(held))
            file.flush()
            await asyncio.to_thread(os.fsync, file.fileno())
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise BadInput(f"{str(path)!r} cannot be written: {error.strerror or error}") from error
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    assert export.done is not None
    return export.done


def _times(scope: Scope) -> tuple[float, float]:
    try:
        since = parse_time(scope.since) if scope.since else 0.0
        until = parse_time(scope.until) if scope.until else _FOREVER
    except ValueError as error:
        raise BadInput(f"{error}: a time looks like 2026-11-22T17:00:00Z") from error
    if since >= until:
        raise BadInput(f"there is nothing from {scope.since} until {scope.until}: the first must be before the second")
    return since, until
