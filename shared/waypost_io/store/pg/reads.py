"""Facet `reads`: runs as people look at them."""

from __future__ import annotations

from collections.abc import Sequence

from waypost_io.store import queries
from waypost_io.store.pg import rows
from waypost_io.store.pg.arrays import labels_json
from waypost_io.store.pg.link import Link
from waypost_io.store.ports import NoticeRow, RunFilter, RunGlance, RunRow
from waypost_proto.ids import RunId

_RUNS = queries.load("runs")
FIRST_ID, LAST_ID = "00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"
LOOK_AT = 3_000
"""The newest runs that are looked at one by one before what is rare is looked up."""
_NOTICES = queries.load("notices")


class PostgresReads:
    def __init__(self, link: Link) -> None:
        self._link = link

    async def get(self, run_id: RunId) -> RunRow | None:
        row = await self._link.fetchrow(_RUNS["load_runs"], [run_id])
        return None if row is None else rows.run(row)

    async def glance(self, run_ids: Sequence[RunId]) -> list[RunGlance]:
        return [rows.glance(row) for row in await self._link.fetch(_RUNS["glance"], run_ids)]

    async def notices(self, run_id: RunId) -> list[NoticeRow]:
        return [rows.notice(row) for row in await self._link.fetch(_NOTICES["of_run"], run_id)]

    async def list(self, query: RunFilter) -> list[RunRow]:
        found = await self._link.fetch(
            _RUNS["list_runs"],
            query.tenant,
            query.agent,
            query.statuses or None,
            labels_json(query.labels) if query.labels else None,
            query.parent,
            query.text,
            bound(query.created_from) or FIRST_ID,
            min(query.before or LAST_ID, bound(query.created_to) or LAST_ID, bound(query.updated_to) or LAST_ID),
            query.updated_from,
            query.updated_to,
            query.attention,
            max(LOOK_AT, 2 * query.limit),
            query.limit,
        )
        return [rows.run(row) for row in found]


def bound(at: float | None) -> str | None:
    """The smallest run id of that time, Unix seconds; None for no time."""
    if at is None:
        return None
    digits = f"{min(max(0, int(at * 1000)), 2**48 - 1):012x}"
    return f"{digits[:8]}-{digits[8:]}-0000-0000-000000000000"
