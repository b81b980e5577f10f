"""Facets `ledger` and `approvals` in memory. No method awaits, so each is one statement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from waypost_io.store.memory.database import LedgerRecord, MemoryDatabase
from waypost_io.store.ports import ApprovalRow, LedgerState
from waypost_proto.ids import CallId, RunId


class MemoryLedger:
    def __init__(self, database: MemoryDatabase) -> None:
        self._db = database

    async def start(  # noqa: PLR0913  # everything that must hold, in one statement
        self,
        run_id: RunId,
        call_id: CallId,
        *,
        attempt: int,
        args_digest: str,
        approval_id: str | None,
        gateway: str,
        lease_seconds: float,
        hard_seconds: float,
    ) -> tuple[bool, LedgerState | None]:
        self._db.reach()
        record = self._db.ledger.get((run_id, call_id))
        if record is None:
            return False, None
        permit = record.permit
        asked = (attempt, args_digest, approval_id)
        if record.state != "permitted" or asked != (permit.attempt, permit.args_digest, permit.approval_id):
            return False, record.view()
        if approval_id is not None and not self._use_approval(approval_id, record):
            return False, record.view()
        now = self._db.clock()
        record.state, record.gateway, record.spent = "started", gateway, approval_id is not None
        record.lease_until, record.hard_deadline = now + lease_seconds, now + hard_seconds
        return True, record.view()

    def _use_approval(self, approval_id: str, record: LedgerRecord) -> bool:
        approval = self._db.approvals.get(approval_id)
        permit = record.permit
        bound = (permit.run_id, permit.call_id, permit.args_digest)
        if approval is None or (approval.run_id, approval.call_id, approval.args_digest) != bound:
            return False
        if approval.expires_at <= self._db.clock():
            return False
        if approval.state == "granted":
            self._db.approvals[approval_id] = replace(approval, state="used")
            return True
        return approval.state == "used" and record.spent

    async def take_over(
        self, run_id: RunId, call_id: CallId, *, attempt: int, gateway: str, lease_seconds: float, hard_seconds: float
    ) -> bool:
        self._db.reach()
        record = self._started(run_id, call_id)
        now = self._db.clock()
        if record is None or record.permit.attempt != attempt or record.lease_until is None or record.lease_until > now:
            return False
        record.gateway, record.lease_until, record.hard_deadline = gateway, now + lease_seconds, now + hard_seconds
        return True

    async def extend(self, run_id: RunId, call_id: CallId, *, gateway: str, lease_seconds: float) -> bool:
        self._db.reach()
        record = self._started(run_id, call_id)
        if record is None or record.gateway != gateway:
            return False
        record.lease_until = self._db.clock() + lease_seconds
        return True

    async def settle(
        self,
        run_id: RunId,
        call_id: CallId,
        *,
        attempt: int,
        state: Literal["done", "failed", "doubt"],
        result: bytes,
        gateway: str | None = None,
    ) -> bool:
        self._db.reach()
        record = self._db.ledger.get((run_id, call_id))
        if record is None or record.state not in ("started", "doubt") or record.permit.attempt != attempt:
            return False
        if gateway is not None and record.gateway != gateway:
            return False
        record.state, record.result = state, result
        return True

    async def get(self, run_id: RunId, call_id: CallId) -> LedgerState | None:
        self._db.reach()
        record = self._db.ledger.get((run_id, call_id))
        return None if record is None else record.view()

    async def of_run(self, run_id: RunId) -> list[LedgerState]:
        self._db.reach()
        return [record.view() for key, record in sorted(self._db.ledger.items()) if key[0] == run_id]

    def _started(self, run_id: RunId, call_id: CallId) -> LedgerRecord | None:
        record = self._db.ledger.get((run_id, call_id))
        return record if record is not None and record.state == "started" else None


class MemoryApprovals:
    def __init__(self, database: MemoryDatabase) -> None:
        self._db = database

    async def get(self, approval_id: str) -> ApprovalRow | None:
        self._db.reach()
        return self._db.approvals.get(approval_id)

    async def list(
        self,
        *,
        state: Literal["open", "all"],
        role: str | None = None,
        run_id: str | None = None,
        limit: int = 200,
        tenant: str | None = None,
        agents: Sequence[str] | None = None,
    ) -> list[ApprovalRow]:
        self._db.reach()
        found = [
            row
            for row in self._db.approvals.values()
            if (state == "all" or row.state == "open")
            and role in (None, row.role)
            and run_id in (None, row.run_id)
            and tenant in (None, row.tenant)
            and (agents is None or row.agent in agents)
        ]
        return sorted(found, key=lambda row: (row.requested_at, row.approval_id), reverse=state == "all")[:limit]
