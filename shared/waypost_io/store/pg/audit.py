"""Facet `audit`: the Merkle log of all events, its heads, keys and anchors."""

from __future__ import annotations

from collections.abc import Sequence

from waypost_io.store import queries
from waypost_io.store.pg import rows
from waypost_io.store.pg.link import Link
from waypost_io.store.ports import AnchorRow, AuditSpan, AuditState, DropRow, EventRow, HeadRow, KeyRow, PendingSpan
from waypost_proto.errors import ConcurrencyError
from waypost_proto.ids import RunId

_CURSORS = queries.load("audit_cursors")
_LOG = queries.load("audit_log")
_LEAVES = queries.load("audit_leaves")
_NODES = queries.load("audit_nodes")
_SPANS = queries.load("audit_spans")
_HEADS = queries.load("audit_heads")
_KEYS = queries.load("audit_keys")
_ANCHORS = queries.load("audit_anchors")
_DROPS = queries.load("audit_drops")
_HASH_BYTES = 32


class PostgresAudit:
    """See `ports.Audit`."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def acquire(self, owner: str, *, origin: str, lease_seconds: float) -> AuditState | None:
        row = await self._link.fetchrow(_LOG["acquire"], owner, origin, lease_seconds)
        return None if row is None else AuditState(**row, held=True)

    async def release(self, owner: str, epoch: int) -> None:
        await self._link.execute(_LOG["release"], owner, epoch)

    async def state(self) -> AuditState:
        row = await self._link.fetchrow(_LOG["state"])
        return AuditState() if row is None else AuditState(**row)

    async def pending(self, limit: int) -> list[PendingSpan]:
        return [
            PendingSpan(
                partition=row["partition"],
                position=row["position"],
                behind=row["behind"],
                leaves=row["leaves"],
                recorded_from=row["recorded_from"] or 0.0,
                recorded_to=row["recorded_to"] or 0.0,
                gap=row["gap"],
            )
            for row in await self._link.fetch(_CURSORS["pending"], limit)
        ]

    async def append(self, state: AuditState, spans: Sequence[PendingSpan], nodes: Sequence[tuple[int, int, bytes]]) -> None:
        """See `ports.Audit.append`."""
        done = await self._link.fetchval(
            _LOG["append"],
            state.owner,
            state.epoch,
            state.size,
            b"".join(span.leaves for span in spans),
            [span.partition for span in spans],
            [span.position for span in spans],
            [span.count for span in spans],
            [span.recorded_from for span in spans],
            [span.recorded_to for span in spans],
            [level for level, _, _ in nodes],
            [index for _, index, _ in nodes],
            [hash_ for _, _, hash_ in nodes],
        )
        if not done:
            raise ConcurrencyError(
                f"the audit log is not at {state.size} leaves any more, or {state.owner!r} may not append: "
                "read its state and go on from there"
            )

    async def cursors(self) -> dict[int, int]:
        return {row["partition"]: row["position"] for row in await self._link.fetch(_CURSORS["cursors"])}

    async def lag(self) -> dict[int, int]:
        return {row["partition"]: row["behind"] for row in await self._link.fetch(_CURSORS["lag"])}

    async def hashes(self, level: int, low: int, high: int) -> bytes:
        """See `ports.Audit.hashes`."""
        if level == 0:
            found = [(row["index"], row["hashes"]) for row in await self._link.fetch(_LEAVES["leaves"], low, high)]
        else:
            found = [(row["index"], row["hash"]) for row in await self._link.fetch(_NODES["nodes"], level, low, high)]
        result = bytearray()
        for index, hashes in found:
            at = low + len(result) // _HASH_BYTES
            if index > at:
                break  # something is missing
            result += hashes[(at - index) * _HASH_BYTES : (high - index) * _HASH_BYTES]
        return bytes(result)

    async def pieces(self, wanted: Sequence[tuple[int, int, int]]) -> list[bytes]:
        """See `ports.Audit.pieces`."""
        if not wanted:
            return []
        found = [row["hashes"] for row in await self._link.fetch(_NODES["pieces"], *map(list, zip(*wanted, strict=True)))]
        for at, (level, low, high) in enumerate(wanted):
            if len(found[at]) != (high - low) * _HASH_BYTES:  # a hole: what is behind it must not take its place
                found[at] = await self.hashes(level, low, high)
        return found

    async def entries(self, low: int, high: int) -> list[tuple[int, EventRow]]:
        found = [(row["index"], rows.event(row)) for row in await self._link.fetch(_SPANS["entries"], low, high)]
        return sorted(found, key=lambda entry: (entry[0], entry[1].run_id, entry[1].seq))

    async def entries_of_run(self, run_id: RunId, *, after: int = 0, limit: int = 1_000) -> list[tuple[int, EventRow]]:
        return [(row["index"], rows.event(row)) for row in await self._link.fetch(_SPANS["of_run"], run_id, after, limit)]

    async def find(self, run_id: RunId, seq: int) -> tuple[int, EventRow] | None:
        row = await self._link.fetchrow(_SPANS["find"], run_id, seq)
        return None if row is None else (row["index"], rows.event(row))

    async def spans(self, low: int, high: int, *, limit: int = 10_000) -> list[AuditSpan]:
        return [AuditSpan(**row) for row in await self._link.fetch(_SPANS["spans"], low, high, limit)]

    async def spans_of(self, since: float, until: float, *, after: int = -1, limit: int = 1_000) -> list[AuditSpan]:
        return [AuditSpan(**row) for row in await self._link.fetch(_SPANS["spans_of"], since, until, after, limit)]

    async def strays(self, *, limit: int = 100) -> list[EventRow]:
        return [rows.event(row) for row in await self._link.fetch(_SPANS["strays"], limit)]

    async def add_head(self, head: HeadRow) -> None:
        await self._link.execute(_HEADS["add"], head.size, head.key_id, head.signed_at, head.note)

    async def heads(self, *, from_size: int = 0, limit: int = 1_000) -> list[HeadRow]:
        return [HeadRow(**row) for row in await self._link.fetch(_HEADS["heads"], from_size, limit)]

    async def newest_head(self, *, at_most: int = 2**62) -> HeadRow | None:
        row = await self._link.fetchrow(_HEADS["newest"], at_most)
        return None if row is None else HeadRow(**row)

    async def add_key(self, key: KeyRow) -> None:
        await self._link.execute(_KEYS["add"], key.number, key.key_id, key.size, key.added_at, key.note)

    async def keys(self) -> list[KeyRow]:
        return [KeyRow(**row) for row in await self._link.fetch(_KEYS["keys"])]

    async def anchored(self, anchor: AnchorRow) -> None:
        await self._link.execute(_ANCHORS["put"], anchor.name, anchor.size, anchor.anchored_at, anchor.place)

    async def anchors(self) -> list[AnchorRow]:
        return [AnchorRow(**row) for row in await self._link.fetch(_ANCHORS["anchors"])]

    async def drops(self) -> list[DropRow]:
        return [DropRow(**row) for row in await self._link.fetch(_DROPS["drops"])]
