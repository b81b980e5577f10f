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
        values = (query.tenant, query.agent, query.status, query.before, query.limit)
        if query.labels:
            labels = labels_json(query.labels)
            found = await self._link.fetch(_RUNS["list_runs_by_labels"], *values, labels)
        else:
            found = await self._link.fetch(_RUNS["list_runs"], *values)
        return [rows.run(row) for row in found]
