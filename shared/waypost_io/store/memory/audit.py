"""Facet `audit` in memory."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace

from waypost_core.audit.leaves import event_leaf
from waypost_io.store.memory.database import AuditTables, MemoryDatabase
from waypost_io.store.ports import AnchorRow, AuditSpan, AuditState, DropRow, EventRow, HeadRow, KeyRow, PendingSpan
from waypost_proto.errors import ConcurrencyError, ContractError
from waypost_proto.ids import RunId

_HASH_BYTES = 32


class MemoryAudit:
    """See `ports.Audit`."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._db = database

    @property
    def _log(self) -> AuditTables:
        self._db.reach()
        return self._db.audit

    async def acquire(self, owner: str, *, origin: str, lease_seconds: float) -> AuditState | None:
        """See `ports.Audit.acquire`."""
        log, now = self._log, self._db.clock()
        state = log.state
        if state.owner != owner and log.expires_at >= now and state.owner:
            return None
        epoch = state.epoch + (state.owner != owner)
        log.state = replace(state, origin=state.origin or origin, owner=owner, epoch=epoch)
        log.expires_at = now + lease_seconds
        return replace(log.state, held=True)

    async def release(self, owner: str, epoch: int) -> None:
        log = self._log
        if (log.state.owner, log.state.epoch) == (owner, epoch):
            log.state, log.expires_at = replace(log.state, owner=""), 0.0

    async def state(self) -> AuditState:
        log = self._log
        return replace(log.state, held=log.expires_at > self._db.clock())

    async def pending(self, limit: int) -> list[PendingSpan]:
        """See `ports.Audit.pending`."""
        log, found = self._log, []
        for partition, record in sorted(self._db.partitions.items()):
            cursor = log.cursors.get(partition, 0)
            if record.position > cursor:
                rows = self._db.by_partition.get(partition, [])
                first = bisect_right(rows, cursor, key=lambda row: row.position)
                found.append(_span(partition, cursor, record.position, rows[first : first + limit]))
        return found

    async def append(self, state: AuditState, spans: Sequence[PendingSpan], nodes: Sequence[tuple[int, int, bytes]]) -> None:
        """See `ports.Audit.append`."""
        log = self._log
        if (state.owner, state.epoch, state.size) != (log.state.owner, log.state.epoch, log.state.size):
            raise ConcurrencyError(f"the audit log is not at {state.size} leaves any more, or {state.owner!r} may not append")
        for span in spans:
            if span.position != log.cursors.get(span.partition, 0) + 1:
                raise ContractError(f"audit span at position {span.position} of partition {span.partition} does not follow its cursor")
        index = state.size
        for span in spans:
            log.spans.append(
                AuditSpan(
                    partition=span.partition,
                    position=span.position,
                    index=index,
                    count=span.count,
                    recorded_from=span.recorded_from,
                    recorded_to=span.recorded_to,
                )
            )
            log.leaves += span.leaves
            log.cursors[span.partition] = span.position + span.count - 1
            index += span.count
        log.nodes.update(((level, number), hash_) for level, number, hash_ in nodes)
        log.state = replace(log.state, size=index)

    async def cursors(self) -> dict[int, int]:
        return dict(self._log.cursors)

    async def lag(self) -> dict[int, int]:
        cursors = self._log.cursors
        return {n: max(record.position - cursors.get(n, 0), 0) for n, record in sorted(self._db.partitions.items())}

    async def hashes(self, level: int, low: int, high: int) -> bytes:
        """See `ports.Audit.hashes`."""
        if level == 0:
            return self._log.leaves[low * _HASH_BYTES : high * _HASH_BYTES]
        found = []
        for number in range(low, high):
            if (level, number) not in self._log.nodes:
                break
            found.append(self._log.nodes[level, number])
        return b"".join(found)

    async def pieces(self, wanted: Sequence[tuple[int, int, int]]) -> list[bytes]:
        return [await self.hashes(*each) for each in wanted]

    async def entries(self, low: int, high: int) -> list[tuple[int, EventRow]]:
        """See `ports.Audit.entries`."""
        found = []
        for span in await self.spans(low, high):
            rows = self._db.by_partition.get(span.partition, [])
            for row in rows:
                index = span.index + row.position - span.position
                if span.position <= row.position < span.position + span.count and low <= index < high:
                    found.append((index, row))
        return sorted(found, key=lambda entry: (entry[0], entry[1].run_id, entry[1].seq))

    async def entries_of_run(self, run_id: RunId, *, after: int = 0, limit: int = 1_000) -> list[tuple[int, EventRow]]:
        rows = sorted(self._db.events.get(run_id, {}).items())
        found = [(self._index(row), row) for seq, row in rows if seq > after]
        return [(index, row) for index, row in found if index is not None][:limit]

    async def find(self, run_id: RunId, seq: int) -> tuple[int, EventRow] | None:
        row = self._db.events.get(run_id, {}).get(seq)
        index = None if row is None else self._index(row)
        return None if row is None or index is None else (index, row)

    def _index(self, row: EventRow) -> int | None:
        for span in self._log.spans:
            if span.partition == row.partition and span.position <= row.position < span.position + span.count:
                return span.index + row.position - span.position
        return None

    async def spans(self, low: int, high: int, *, limit: int = 10_000) -> list[AuditSpan]:
        return [span for span in self._log.spans if span.index < high and span.index + span.count > low][:limit]

    async def spans_of(self, since: float, until: float, *, after: int = -1, limit: int = 1_000) -> list[AuditSpan]:
        found = (span for span in self._log.spans if span.index > after and span.recorded_to >= since and span.recorded_from < until)
        return list(found)[:limit]

    async def strays(self, *, limit: int = 100) -> list[EventRow]:
        """See `ports.Audit.strays`."""
        last = {number: record.position for number, record in self._db.partitions.items()}
        self._db.reach()
        events = (row for rows in self._db.events.values() for row in rows.values())
        return [row for row in events if not 1 <= row.position <= last.get(row.partition, 0)][:limit]

    async def add_head(self, head: HeadRow) -> None:
        self._log.heads.setdefault((head.size, head.key_id), head)

    async def heads(self, *, from_size: int = 0, limit: int = 1_000) -> list[HeadRow]:
        found = sorted(self._log.heads.values(), key=lambda head: (head.size, head.signed_at))
        return [head for head in found if head.size >= from_size][:limit]

    async def newest_head(self, *, at_most: int = 2**62) -> HeadRow | None:
        found = [head for head in self._log.heads.values() if head.size <= at_most]
        return max(found, key=lambda head: (head.size, head.signed_at), default=None)

    async def add_key(self, key: KeyRow) -> None:
        if key.number in self._log.keys:
            raise ConcurrencyError(f"the audit log has a key number {key.number} already")
        self._log.keys[key.number] = key

    async def keys(self) -> list[KeyRow]:
        return [key for _, key in sorted(self._log.keys.items())]

    async def anchored(self, anchor: AnchorRow) -> None:
        known = self._log.anchors.get(anchor.name)
        if known is None or known.size <= anchor.size:
            self._log.anchors[anchor.name] = anchor

    async def anchors(self) -> list[AnchorRow]:
        return [anchor for _, anchor in sorted(self._log.anchors.items())]

    async def drops(self) -> list[DropRow]:
        return []  # nothing is partitioned here


def _span(partition: int, cursor: int, last: int, rows: Sequence[EventRow]) -> PendingSpan:
    dense = [row for number, row in enumerate(rows, cursor + 1) if row.position == number]
    return PendingSpan(
        partition=partition,
        position=cursor + 1,
        behind=last - cursor,
        leaves=b"".join(event_leaf(row.run_id, row.seq, row.body) for row in dense),
        recorded_from=min((row.recorded_at for row in dense), default=0.0),
        recorded_to=max((row.recorded_at for row in dense), default=0.0),
        gap=rows[len(dense)].position if len(dense) < len(rows) else None,
    )
