"""Facet `log` in memory: a commit is judged as a whole before any of it is written, so it is atomic."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace
from operator import attrgetter
from typing import Literal

from waypost_io.store.batch import homes, positions_of
from waypost_io.store.chunks import chunks_of
from waypost_io.store.memory.database import LedgerRecord, MemoryDatabase, check_rows, check_text
from waypost_io.store.ports import ApprovalRow, Commit, CommitResult, EventRow, InboxRow, LedgerState, PermitRow, RunRow
from waypost_proto.errors import SequenceTaken, Unreachable
from waypost_proto.ids import RunId


class MemoryLog:
    """See `ports.Log`. `fail_next` makes the next commit raise `Unreachable`, before or after it was written."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._db = database
        self.fail_next: Literal["", "before", "after"] = ""

    async def commit(self, batch: Commit) -> CommitResult:
        await asyncio.sleep(0)  # others get their turn here, as they do while a real commit is under way
        failure, self.fail_next = self.fail_next, ""
        self._db.reach()
        if failure == "before":
            raise Unreachable("the commit was lost before it was written (a test said so)")
        result = self._commit(batch)
        if failure == "after":
            raise Unreachable("the commit was written and its answer lost (a test said so)")
        return result

    def _commit(self, batch: Commit) -> CommitResult:
        self._check_values(batch)
        held = self._held(batch)
        self._check_events(batch, held)
        if len(held) < len(batch.leases) and any(row.sender is None for row in batch.inbox_add):
            held = set()
        writer = _Writer(self._db, batch, held)
        revoked = writer.write() if held else []
        lost = frozenset(partition for partition, _, _, _ in batch.leases) - held
        return CommitResult(lost=lost, revoked=tuple(revoked))

    def _check_values(self, batch: Commit) -> None:
        for rows in (batch.events, batch.runs, batch.set_timers, batch.permits, batch.approvals, batch.inbox_add, batch.notices):
            check_rows(rows)
        check_text(timer_id for _, timer_id in batch.clear_timers)
        check_text(batch.inbox_remove)
        for blob in batch.blobs:
            chunks_of(blob.data)

    def _held(self, batch: Commit) -> set[int]:
        firsts, _ = positions_of(batch)
        held = set()
        for partition, epoch, _, _ in batch.leases:
            record = self._db.partitions.get(partition)
            if record is None or record.epoch != epoch or record.owner != batch.owner:
                continue
            if partition in firsts and record.position >= firsts[partition]:
                raise SequenceTaken(
                    f"positions of partition {partition} are taken: another commit of this replica came first; "
                    "load the runs again and decide again"
                )
            held.add(partition)
        return held

    def _check_events(self, batch: Commit, held: set[int]) -> None:
        fresh: set[tuple[RunId, int | str]] = set()
        for event in batch.events:
            if event.partition not in held:
                continue
            keys: list[tuple[RunId, int | str]] = [(event.run_id, event.seq)]
            taken = event.seq in self._db.events.get(event.run_id, {})
            if event.cause:
                keys.append((event.run_id, event.cause))
                taken = taken or (event.run_id, event.cause) in self._db.causes
            if taken or not fresh.isdisjoint(keys):
                raise SequenceTaken(
                    f"an event is in the log already: run {event.run_id}, seq {event.seq}, cause {event.cause!r}; "
                    "load the run again and decide again"
                )
            fresh.update(keys)

    async def load_runs(self, run_ids: Sequence[RunId]) -> dict[RunId, RunRow]:
        self._db.reach()
        return {run_id: self._db.runs[run_id] for run_id in run_ids if run_id in self._db.runs}

    async def load_events(self, run_id: RunId, *, after: int = 0, limit: int = 1_000, types: Sequence[str] | None = None) -> list[EventRow]:
        self._db.reach()
        events = self._db.events.get(run_id, {})
        found = [events[seq] for seq in sorted(events) if seq > after and (types is None or events[seq].type in types)]
        return found[:limit]

    async def cause_seen(self, run_id: RunId, cause: str) -> int | None:
        self._db.reach()
        return self._db.causes.get((run_id, cause))

    async def events_after(self, partition: int, position: int, *, limit: int) -> list[EventRow]:
        self._db.reach()
        events = self._db.by_partition.get(partition, [])
        start = bisect_right(events, position, key=attrgetter("position"))
        return events[start : start + limit]

    async def open_runs(self, partition: int, *, after: str = "", limit: int = 500) -> list[RunRow]:
        found = self._open([partition])
        return [run for run in found if run.run_id > after][:limit]

    async def held_runs(self, partitions: Sequence[int]) -> list[RunId]:
        self._db.reach()
        return sorted(run.run_id for run in self._db.runs.values() if run.held and run.partition in partitions)

    async def runs_of_workers(self, partitions: Sequence[int], workers: Sequence[str]) -> list[RunId]:
        return [run.run_id for run in self._open(partitions) if run.worker and run.worker in workers]

    async def sticky_workers(self, partitions: Sequence[int]) -> list[str]:
        return sorted({run.worker for run in self._open(partitions) if run.worker})

    async def inbox(self, partition: int, *, after: str = "", limit: int = 500) -> list[InboxRow]:
        self._db.reach()
        found = sorted(self._db.inbox.values(), key=attrgetter("message_id"))
        return [row for row in found if row.partition == partition and row.message_id > after][:limit]

    def _open(self, partitions: Sequence[int]) -> list[RunRow]:
        self._db.reach()
        found = (run for run in self._db.runs.values() if run.open and run.partition in partitions)
        return sorted(found, key=attrgetter("run_id"))


class _Writer:
    """Writes one batch whose checks have passed."""

    def __init__(self, database: MemoryDatabase, batch: Commit, held: set[int]) -> None:
        self._db = database
        self._batch = batch
        self._held_partitions = held
        self._homes = homes(batch)

    def write(self) -> list[LedgerState]:
        """In the order of the Postgres adapter's statements; the ledger rows that a revocation met."""
        self._leases_and_events()
        self._runs_and_timers()
        for approval in self._batch.approvals:
            if self._is_held(approval.run_id):
                self._approval(approval)
        self._messages()
        revoked = self._revoke()
        for permit in self._batch.permits:
            if self._is_held(permit.run_id):
                self._permit(permit)
        return revoked

    def _is_held(self, run_id: RunId) -> bool:
        home = self._homes.get(run_id)
        if home is None and run_id in self._db.runs:
            home = self._db.runs[run_id].partition
        return home is None or home in self._held_partitions

    def _leases_and_events(self) -> None:
        db = self._db
        for partition, _, _, published in self._batch.leases:
            if partition in self._held_partitions:
                record = db.partitions[partition]
                record.published = published
        for event in self._batch.events:
            if event.partition in self._held_partitions:
                db.events.setdefault(event.run_id, {})[event.seq] = event
                db.by_partition.setdefault(event.partition, []).append(event)
                record = db.partitions[event.partition]
                record.position = max(record.position, event.position)
                if event.cause:
                    db.causes[event.run_id, event.cause] = event.seq
        for partition in self._held_partitions:
            db.by_partition.get(partition, []).sort(key=attrgetter("position"))

    def _runs_and_timers(self) -> None:
        db, batch = self._db, self._batch
        for run in batch.runs:
            old = db.runs.get(run.run_id)
            if run.partition in self._held_partitions and (old is None or old.seq <= run.seq):
                db.runs[run.run_id] = run if old is None else _updated(old, run)
        for run_id, timer_id in batch.clear_timers:
            if self._is_held(run_id):
                db.timers.pop((run_id, timer_id), None)
        for timer in batch.set_timers:
            if timer.partition in self._held_partitions:
                db.timers[timer.run_id, timer.timer_id] = timer

    def _approval(self, new: ApprovalRow) -> None:
        old = self._db.approvals.get(new.approval_id)
        if old is None:
            self._db.approvals[new.approval_id] = new
        elif old.state != "used":
            self._db.approvals[new.approval_id] = replace(
                old,
                state=new.state,
                decided_by=new.decided_by,
                decided_at=new.decided_at,
                decision_reason=new.decision_reason,
                details=new.details or old.details,
            )

    def _messages(self) -> None:
        db, batch = self._db, self._batch
        for row in batch.inbox_add:
            if row.sender is None or self._homes.get(row.sender) in self._held_partitions:
                db.inbox.setdefault(row.message_id, row)
        for message_id in batch.inbox_remove:
            stored = db.inbox.get(message_id)
            if stored is not None and stored.partition in self._held_partitions:
                del db.inbox[message_id]
        for notice in batch.notices:
            if self._is_held(notice.run_id):
                db.notices.setdefault(notice.notice_id, notice)
        for blob in batch.blobs:
            parts = chunks_of(blob.data)
            db.blobs[blob.sha256] = {index: (len(parts), part) for index, part in enumerate(parts)}

    def _permit(self, permit: PermitRow) -> None:
        key = permit.run_id, permit.call_id
        old = self._db.ledger.get(key)
        if old is not None:
            again = old.state in ("failed", "doubt", "permitted") and old.permit.attempt < permit.attempt
            if not (old.state == "revoked" or again or permit.force):
                return
        spent = old is not None and old.spent and old.permit.approval_id == permit.approval_id
        self._db.ledger[key] = LedgerRecord(permit, spent=spent)

    def _revoke(self) -> list[LedgerState]:
        batch = self._batch
        found = []
        for (run_id, call_id), record in self._db.ledger.items():
            named = run_id in batch.revoke_runs or (run_id, call_id) in batch.revoke_calls
            if not named or not self._is_held(run_id) or record.state in ("done", "failed"):
                continue
            if record.state == "permitted":
                record.state = "revoked"
            found.append(record.view())
        return found


def _updated(old: RunRow, new: RunRow) -> RunRow:
    """What a run is born with stays."""
    return replace(
        new,
        partition=old.partition,
        tenant=old.tenant,
        agent=old.agent,
        created_at=old.created_at,
        parent=old.parent,
        correlation_id=old.correlation_id,
        idempotency_key=old.idempotency_key,
        labels=old.labels,
    )
