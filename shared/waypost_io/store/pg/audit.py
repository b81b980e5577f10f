"""Facet `audit`: the leaves of the audit log, and how far it has come."""

from __future__ import annotations

from collections.abc import Sequence

from waypost_io.store import queries
from waypost_io.store.leaves import check_cursors, fresh
from waypost_io.store.pg import rows
from waypost_io.store.pg.link import Link
from waypost_io.store.ports import EventRow
from waypost_proto.ids import RunId

_CURSORS = queries.load("audit_cursors")
_ENTRIES = queries.load("audit_entries")
_LOCK = 0x7761_7975_6469_74
"""Key of the advisory lock under which entries are numbered."""


class PostgresAudit:
    """Remembers the cursors it last saw, to notice another appender."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._seen: dict[int, int] | None = None

    async def cursors(self) -> dict[int, int]:
        self._seen = {row["partition"]: row["position"] for row in await self._link.fetch(_CURSORS["cursors"])}
        return dict(self._seen)

    async def append(self, events: Sequence[EventRow], digests: Sequence[bytes]) -> int:
        """See `ports.Audit.append`."""
        async with self._link.connection() as connection:
            async with connection.transaction():
                await connection.execute(_CURSORS["lock"], _LOCK)
                cursors = {row["partition"]: row["position"] for row in await connection.fetch(_CURSORS["cursors"])}
                check_cursors(self._seen, cursors)
                added, moved = fresh(events, digests, cursors)
                if added:
                    last = await connection.fetchval(_ENTRIES["last_index"])
                    leaves = [(last + n, e.run_id, e.seq, e.partition, e.position, digest) for n, (e, digest) in enumerate(added, 1)]
                    await connection.execute(_ENTRIES["append"], *zip(*leaves, strict=True))
                    await connection.execute(_CURSORS["move"], list(moved), list(moved.values()))
            self._seen = cursors | moved
        return len(added)

    async def lag(self) -> dict[int, int]:
        return {row["partition"]: row["behind"] for row in await self._link.fetch(_CURSORS["lag"])}

    async def entries(self, *, run_id: RunId | None = None, after: int = 0, limit: int = 1_000) -> list[tuple[int, EventRow, bytes]]:
        if run_id is None:
            found = await self._link.fetch(_ENTRIES["entries"], after, limit)
        else:
            found = await self._link.fetch(_ENTRIES["entries_of_run"], after, limit, run_id)
        return [(row["index"], rows.event(row), row["digest"]) for row in found]
