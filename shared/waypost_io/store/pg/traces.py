"""Facet `traces`: the projection's reader, and runs as a search finds them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import repeat

from waypost_io.store import queries
from waypost_io.store.pg.arrays import labels_json
from waypost_io.store.pg.link import Link
from waypost_io.store.pg.rows import Row
from waypost_io.store.traces import RunsInTime, TracedRun, TraceEvent, range_of
from waypost_proto.errors import ConcurrencyError
from waypost_proto.ids import RunId

_CURSORS = queries.load("trace_cursors")
_RUNS = queries.load("traced_runs")


class PostgresTraces:
    """See `ports.Traces`."""

    def __init__(self, link: Link) -> None:
        self._link = link

    async def cursors(self) -> dict[int, int]:
        return {row["partition"]: row["position"] for row in await self._link.fetch(_CURSORS["cursors"])}

    async def behind(self) -> dict[int, int]:
        return {row["partition"]: row["behind"] for row in await self._link.fetch(_CURSORS["behind"])}

    async def pending(self, limit: int, max_bytes: int) -> list[TraceEvent]:
        found: list[TraceEvent] = []
        for partition, positions, run_ids, seqs, kinds, recorded, bodies in await self._link.fetch(_CURSORS["pending"], limit, max_bytes):
            micros = [round(at * 1e6) for at in recorded]
            found.extend(map(TraceEvent._make, zip(run_ids, seqs, kinds, micros, bodies, repeat(partition), positions)))
        return found

    async def move(self, moves: Mapping[int, tuple[int, int]]) -> None:
        before, after = [old for old, _ in moves.values()], [new for _, new in moves.values()]
        async with self._link.connection() as connection, connection.transaction():
            moved = await connection.fetch(_CURSORS["move"], list(moves), before, after)
            if len(moved) != len(moves):  # none is moved: what this process believes of the others may be as old
                raise ConcurrencyError("another process exports traces: a cursor is not where this one left it")

    async def skip(self) -> None:
        await self._link.execute(_CURSORS["skip"])

    async def runs(self, query: RunsInTime) -> list[TracedRun]:
        low, high = range_of(query)
        statuses = None if query.statuses is None else list(query.statuses)
        labels = labels_json(query.labels) if query.labels else None
        values = (low, high, query.tenant, query.look_at, statuses, labels, query.limit)
        if query.agent is None:
            found = await self._link.fetch(_RUNS["newest"], *values)
        else:
            found = await self._link.fetch(_RUNS["newest_of_agent"], *values, query.agent)
        left = query.limit - len(found)
        if left > 0 and query.started_from is not None:
            open_ones = (low, query.tenant, query.agent, query.limit, statuses, labels, left)
            found += await self._link.fetch(_RUNS["still_open"], *open_ones)
        return [_run(row) for row in found]

    async def events_of(self, run_ids: Sequence[RunId], *, after: int = 0, upto: int = 1_000) -> list[TraceEvent]:
        found = await self._link.fetch(_RUNS["events_of"], list(run_ids), after, upto)
        return [TraceEvent(RunId(str(run_id)), seq, kind, round(at * 1e6), body) for run_id, seq, kind, at, body in found]

    async def labels(self, *, tenant: str | None = None, look_at: int = 1_000, limit: int = 1_000) -> list[tuple[str, str]]:
        return [(row["key"], row["value"]) for row in await self._link.fetch(_RUNS["labels"], tenant, look_at, limit)]


def _run(row: Row) -> TracedRun:
    return TracedRun(
        run_id=RunId(str(row["run_id"])),
        tenant=row["tenant"],
        agent=row["agent"],
        status=row["status"],
        open=row["open"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
    )
