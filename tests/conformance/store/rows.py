"""Rows as a coordinator would write them, with what a test does not care about filled in."""

from __future__ import annotations

from itertools import count
from typing import Any

from waypost_io.store.ports import (
    ApprovalRow,
    Commit,
    CommitResult,
    EventRow,
    InboxRow,
    Lease,
    LedgerState,
    NoticeRow,
    PermitRow,
    RunRow,
    Store,
    TimerRow,
)
from waypost_proto.ids import CallId, RunId, partition_of, uuid7

PARTITIONS = 4
AT = 1_790_000_000.25
CALL = CallId("0:1")
_numbers = count(1)


def new_run_id(partition: int | None = None) -> RunId:
    """A run id newer than every one before it, of that partition if given."""
    while True:
        number = next(_numbers)
        run_id = uuid7(int(AT * 1000) + number, number.to_bytes(10, "big"))
        if partition is None or partition_of(run_id, PARTITIONS) == partition:
            return run_id


def run_row(run_id: RunId, seq: int = 1, **fields: Any) -> RunRow:
    given: dict[str, Any] = {
        "run_id": run_id,
        "partition": partition_of(run_id, PARTITIONS),
        "tenant": "default",
        "agent": "compliance",
        "build": "b1",
        "status": "running",
        "open": True,
        "held": False,
        "worker": "",
        "seq": seq,
        "created_at": AT,
        "updated_at": AT + seq,
        "deadline_at": None,
        "parent": None,
        "correlation_id": run_id,
        "idempotency_key": None,
        "labels": {},
        "state": b"state %d" % seq,
        "state_version": 1,
    }
    return RunRow(**(given | fields))


def permit_row(run_id: RunId, call_id: CallId = CALL, **fields: Any) -> PermitRow:
    given: dict[str, Any] = {
        "run_id": run_id,
        "call_id": call_id,
        "tool": "file-report",
        "attempt": 1,
        "args_digest": "digest",
        "effect": "unsafe",
        "idempotency_key": f"{run_id}/{call_id}",
        "approval_id": None,
    }
    return PermitRow(**(given | fields))


def approval_row(run_id: RunId, approval_id: str = "approval-1", **fields: Any) -> ApprovalRow:
    given: dict[str, Any] = {
        "approval_id": approval_id,
        "run_id": run_id,
        "agent": "compliance",
        "call_id": CALL,
        "tool": "file-report",
        "args": b'{"risk":0.9}',
        "args_digest": "digest",
        "role": "officer",
        "reason": "risk",
        "tenant": "default",
        "requested_at": AT,
        "expires_at": AT + 10**9,
    }
    return ApprovalRow(**(given | fields))


def notice_row(run_id: RunId, notice_id: str = "notice-1", **fields: Any) -> NoticeRow:
    return NoticeRow(**({"notice_id": notice_id, "run_id": run_id, "agent": "compliance", "at": AT, "body": b"{}"} | fields))


def inbox_row(run_id: RunId, message_id: str = "message-1", *, sender: RunId | None = None) -> InboxRow:
    return InboxRow(message_id, run_id, partition_of(run_id, PARTITIONS), "waypost.mailbox.control.x", b"\x00mail", sender=sender)


def timer_row(run_id: RunId, timer_id: str = "0:1", due_at: float = AT) -> TimerRow:
    return TimerRow(run_id, timer_id, partition_of(run_id, PARTITIONS), due_at)


class Owner:
    """A coordinator: numbers events and positions, and commits under the leases that it believes to hold."""

    def __init__(self, store: Store, name: str, leases: dict[int, Lease]) -> None:
        self.store = store
        self.name = name
        self.leases = leases
        self.positions = {partition: lease.position for partition, lease in leases.items()}
        self.seqs: dict[RunId, int] = {}

    def event(self, run_id: RunId, *, type: str = "signal_received", cause: str = "", body: bytes = b"{}") -> EventRow:  # noqa: A002
        """The next event of the run, at the next position of its partition."""
        partition = partition_of(run_id, PARTITIONS)
        self.positions[partition] += 1
        self.seqs[run_id] = seq = self.seqs.get(run_id, 0) + 1
        return EventRow(run_id, seq, type, partition, self.positions[partition], AT + seq, body, cause)

    def batch(self, *events: EventRow, published: int = 0, **fields: Any) -> Commit:
        """A commit of these events, with a run row each, under every lease."""
        leases = [(partition, lease.epoch, self.positions[partition], published) for partition, lease in sorted(self.leases.items())]
        rows = {event.run_id: run_row(event.run_id, event.seq) for event in events}
        given: dict[str, Any] = {"events": list(events), "runs": list(rows.values())}
        return Commit(owner=self.name, leases=leases, **(given | fields))

    async def commit(self, *events: EventRow, **fields: Any) -> CommitResult:
        return await self.store.log.commit(self.batch(*events, **fields))

    async def run(self, partition: int | None = None, **fields: Any) -> RunId:
        """A committed run of one event."""
        run_id = new_run_id(partition)
        await self.commit(self.event(run_id, type="run_started"), runs=[run_row(run_id, **fields)])
        return run_id


async def start(store: Store, run_id: RunId, call_id: CallId = CALL, **fields: Any) -> tuple[bool, LedgerState | None]:
    """`Ledger.start` of the permit that `permit_row` makes."""
    given: dict[str, Any] = {
        "attempt": 1,
        "args_digest": "digest",
        "approval_id": None,
        "gateway": "gw",
        "lease_seconds": 30.0,
        "hard_seconds": 60.0,
    }
    return await store.ledger.start(run_id, call_id, **(given | fields))
