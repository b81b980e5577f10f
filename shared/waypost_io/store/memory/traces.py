"""Facet `traces` in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from waypost_io.store.memory.database import MemoryDatabase
from waypost_io.store.ports import EventRow, RunRow
from waypost_io.store.traces import RunsInTime, TracedRun, TraceEvent, range_of
from waypost_proto.errors import ConcurrencyError
from waypost_proto.ids import RunId


class MemoryTraces:
    """See `ports.Traces`."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._db = database

    async def cursors(self) -> dict[int, int]:
        self._db.reach()
        return dict(sorted(self._db.trace_cursors.items()))

    async def behind(self) -> dict[int, int]:
        self._db.reach()
        behind = {number: part.position - self._db.trace_cursors.get(number, 0) for number, part in sorted(self._db.partitions.items())}
        return {number: count for number, count in behind.items() if count > 0}

    async def pending(self, limit: int, max_bytes: int) -> list[TraceEvent]:
        self._db.reach()
        found: list[TraceEvent] = []
        for number in sorted(self._db.partitions):
            after, size = self._db.trace_cursors.get(number, 0), 0
            for event in [e for e in self._db.by_partition.get(number, []) if e.position > after][:limit]:
                if size >= max_bytes:
                    break
                size += len(event.body)
                found.append(_event(event))
        return found

    async def move(self, moves: Mapping[int, tuple[int, int]]) -> None:
        self._db.reach()
        if any(self._db.trace_cursors.get(number, 0) != before for number, (before, _) in moves.items()):
            raise ConcurrencyError("another process exports traces: a cursor is not where this one left it")
        self._db.trace_cursors.update((number, after) for number, (_, after) in moves.items())

    async def skip(self) -> None:
        self._db.reach()
        for number, part in self._db.partitions.items():
            self._db.trace_cursors.setdefault(number, part.position)

    async def runs(self, query: RunsInTime) -> list[TracedRun]:
        self._db.reach()
        low, high = range_of(query)
        newest = sorted(self._db.runs.values(), key=lambda run: run.run_id, reverse=True)
        mine = [run for run in newest if query.tenant in (None, run.tenant) and query.agent in (None, run.agent)]
        inside = [run for run in mine if low <= run.run_id < high][: query.look_at]
        earlier = [run for run in mine if run.open and run.run_id < low] if query.started_from is not None else []
        return [_run(run) for run in [*inside, *earlier] if _fits(run, query)][: query.limit]

    async def events_of(self, run_ids: Sequence[RunId], *, after: int = 0, upto: int = 1_000) -> list[TraceEvent]:
        self._db.reach()
        events = (event for run_id in sorted(run_ids) for _, event in sorted(self._db.events.get(run_id, {}).items()))
        return [_event(event) for event in events if after < event.seq <= upto]

    async def labels(self, *, tenant: str | None = None, look_at: int = 1_000, limit: int = 1_000) -> list[tuple[str, str]]:
        self._db.reach()
        newest = sorted(self._db.runs.values(), key=lambda run: run.run_id, reverse=True)
        mine = [run for run in newest if tenant in (None, run.tenant)][:look_at]
        return sorted({pair for run in mine for pair in run.labels.items()})[:limit]


def _fits(run: RunRow, query: RunsInTime) -> bool:
    return (query.statuses is None or run.status in query.statuses) and query.labels.items() <= dict(run.labels).items()


def _event(event: EventRow) -> TraceEvent:
    return TraceEvent(event.run_id, event.seq, event.type, round(event.recorded_at * 1e6), event.body, event.partition, event.position)


def _run(run: RunRow) -> TracedRun:
    return TracedRun(
        run_id=run.run_id,
        tenant=run.tenant,
        agent=run.agent,
        status=run.status,
        open=run.open,
        created_at=run.created_at,
        updated_at=run.updated_at,
    )
