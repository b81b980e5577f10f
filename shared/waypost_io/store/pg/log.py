"""Facet `log`: the group commit, and what a coordinator reads of its runs."""

from __future__ import annotations

from collections.abc import Sequence

from waypost_io.store import queries
from waypost_io.store.pg import arrays, rows
from waypost_io.store.pg.link import Lane, Link
from waypost_io.store.ports import Commit, CommitResult, EventRow, InboxRow, RunRow
from waypost_proto.errors import LeaseLost
from waypost_proto.ids import RunId

_EVENTS = queries.load("events")
_RUNS = queries.load("runs")
_INBOX = queries.load("inbox")
_NIL = "00000000-0000-0000-0000-000000000000"
"""Sorts before every run id."""


class PostgresLog:
    """Commits go over one connection in the order in which `commit` was called, so positions become visible in order."""

    def __init__(self, link: Link, lane: Lane) -> None:
        self._link = link
        self._lane = lane

    async def commit(self, batch: Commit) -> CommitResult:
        """See `ports.Log.commit`. Cancelled, it may have been committed, as after `Unreachable`."""
        values = arrays.of_commit(batch)
        partitions = frozenset(lease[0] for lease in batch.leases)
        if arrays.is_plain(batch):
            found = await self._lane.fetch(_EVENTS["commit"], values)
        else:
            values += arrays.of_rows(batch) + arrays.of_approvals(batch) + arrays.of_calls(batch)
            try:
                found = await self._lane.fetch(_EVENTS["commit_all"], values)
            except LeaseLost:
                return CommitResult(lost=partitions)
        return CommitResult(lost=partitions.difference(found[0]["held"]), revoked=tuple(rows.ledger(row) for row in found[1:]))

    async def load_runs(self, run_ids: Sequence[RunId]) -> dict[RunId, RunRow]:
        found = await self._link.fetch(_RUNS["load_runs"], run_ids)
        return {row.run_id: row for row in map(rows.run, found)}

    async def load_events(self, run_id: RunId, *, after: int = 0, limit: int = 1_000, types: Sequence[str] | None = None) -> list[EventRow]:
        if types is None:
            found = await self._link.fetch(_EVENTS["load_events"], run_id, after, limit)
        else:
            found = await self._link.fetch(_EVENTS["load_events_of_types"], run_id, after, limit, types)
        return [rows.event(row) for row in found]

    async def cause_seen(self, run_id: RunId, cause: str) -> int | None:
        seq: int | None = await self._link.fetchval(_EVENTS["cause_seen"], run_id, cause)
        return seq

    async def events_after(self, partition: int, position: int, *, limit: int) -> list[EventRow]:
        found = await self._link.fetch(_EVENTS["events_after"], partition, position, limit)
        return [rows.event(row) for row in found]

    async def open_runs(self, partition: int, *, after: str = "", limit: int = 500) -> list[RunRow]:
        found = await self._link.fetch(_RUNS["open_runs"], partition, after or _NIL, limit)
        return [rows.run(row) for row in found]

    async def held_runs(self, partitions: Sequence[int]) -> list[RunId]:
        found = await self._link.fetch(_RUNS["held_runs"], partitions)
        return [RunId(str(row["run_id"])) for row in found]

    async def runs_of_workers(self, partitions: Sequence[int], workers: Sequence[str]) -> list[RunId]:
        found = await self._link.fetch(_RUNS["runs_of_workers"], partitions, workers)
        return [RunId(str(row["run_id"])) for row in found]

    async def sticky_workers(self, partitions: Sequence[int]) -> list[str]:
        found = await self._link.fetch(_RUNS["sticky_workers"], partitions)
        return [row["worker"] for row in found]

    async def inbox(self, partition: int, *, after: str = "", limit: int = 500) -> list[InboxRow]:
        found = await self._link.fetch(_INBOX["inbox"], partition, after, limit)
        return [rows.inbox(row) for row in found]
