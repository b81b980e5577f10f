"""From database rows to the port's dataclasses. Run ids cross as str, timestamps are floats already (`link.prepare`)."""

from __future__ import annotations

from typing import Any, Protocol

from waypost_io.store.ports import ApprovalRow, EventRow, InboxRow, Lease, LedgerState, NoticeRow, RunGlance, RunRow, TimerRow
from waypost_proto.codec import decode
from waypost_proto.ids import CallId, RunId


class Row(Protocol):
    """An asyncpg record, as far as we read it."""

    def __getitem__(self, key: str, /) -> Any: ...
    def get(self, key: str, default: Any, /) -> Any: ...


def lease(row: Row) -> Lease:
    """A row of partitions."""
    return Lease(row["partition"], row["epoch"], row["owner"], row["expires_at"], row["position"], row["published"])


def event(row: Row) -> EventRow:
    """A row of events."""
    return EventRow(
        RunId(str(row["run_id"])),
        row["seq"],
        row["type"],
        row["partition"],
        row["position"],
        row["recorded_at"],
        row["body"],
        row["cause"],
    )


def run(row: Row) -> RunRow:
    """A row of runs."""
    parent = row["parent"]
    return RunRow(
        run_id=RunId(str(row["run_id"])),
        partition=row["partition"],
        tenant=row["tenant"],
        agent=row["agent"],
        build=row["build"],
        status=row["status"],
        open=row["open"],
        held=row["held"],
        worker=row["worker"],
        seq=row["seq"],
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        deadline_at=row["deadline_at"],
        parent=None if parent is None else RunId(str(parent)),
        correlation_id=row["correlation_id"],
        idempotency_key=row["idempotency_key"],
        labels=_labels(row),
        state=row["state"],
        state_version=row["state_version"],
        outcome=row["outcome"],
    )


def glance(row: Row) -> RunGlance:
    """A few columns of a row of runs."""
    return RunGlance(
        run_id=RunId(str(row["run_id"])),
        seq=row["seq"],
        open=row["open"],
        tenant=row["tenant"],
        agent=row["agent"],
        status=row["status"],
        updated_at=row["updated_at"],
        labels=_labels(row),
    )


def _labels(row: Row) -> dict[str, str]:
    return decode(dict[str, str], row["labels"].encode()) if row["labels"] != "{}" else {}


def timer(row: Row) -> TimerRow:
    """A row of timers."""
    return TimerRow(RunId(str(row["run_id"])), row["timer_id"], row["partition"], row["due_at"])


def ledger(row: Row) -> LedgerState:
    """A row of tool_ledger, without what only the statements judge."""
    return LedgerState(
        RunId(str(row["run_id"])),
        CallId(row["call_id"]),
        row["attempt"],
        row["state"],
        row["gateway"],
        row["lease_until"],
        row["hard_deadline"],
        row["result"],
        row.get("args_digest", ""),
    )


def approval(row: Row) -> ApprovalRow:
    """A row of approvals."""
    return ApprovalRow(
        approval_id=row["approval_id"],
        run_id=RunId(str(row["run_id"])),
        agent=row["agent"],
        call_id=CallId(row["call_id"]),
        tool=row["tool"],
        args=row["args"],
        args_digest=row["args_digest"],
        role=row["role"],
        reason=row["reason"],
        tenant=row["tenant"],
        requested_at=row["requested_at"],
        expires_at=row["expires_at"],
        state=row["state"],
        decided_by=row["decided_by"],
        decided_at=row["decided_at"],
        decision_reason=row["decision_reason"],
        policy_version=row["policy_version"],
        details=row["details"],
    )


def inbox(row: Row) -> InboxRow:
    """A row of inbox; who sent it is not kept."""
    return InboxRow(row["message_id"], RunId(str(row["run_id"])), row["partition"], row["subject"], row["body"])


def notice(row: Row) -> NoticeRow:
    """A row of notices."""
    return NoticeRow(notice_id=row["notice_id"], run_id=RunId(str(row["run_id"])), agent=row["agent"], at=row["at"], body=row["body"])
