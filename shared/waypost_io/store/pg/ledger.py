"""Facets `ledger` and `approvals`: what stands between a decision and its effect on the world."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from waypost_io.store import queries
from waypost_io.store.pg import rows
from waypost_io.store.pg.link import Link
from waypost_io.store.ports import ApprovalRow, LedgerState
from waypost_proto.ids import CallId, RunId

_LEDGER = queries.load("tool_ledger")
_APPROVALS = queries.load("approvals")


class PostgresLedger:
    def __init__(self, link: Link) -> None:
        self._link = link

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
        """See `ports.Ledger.start`. After `Unreachable` the row says whether it was started, and by which gateway."""
        values = (run_id, call_id, attempt, args_digest, approval_id, gateway, lease_seconds, hard_seconds)
        row = await self._link.fetchrow(_LEDGER["start"], *values)
        if row is not None:
            return True, rows.ledger(row)
        return False, await self.get(run_id, call_id)

    async def take_over(
        self, run_id: RunId, call_id: CallId, *, attempt: int, gateway: str, lease_seconds: float, hard_seconds: float
    ) -> bool:
        values = (run_id, call_id, attempt, gateway, lease_seconds, hard_seconds)
        return await self._link.fetchval(_LEDGER["take_over"], *values) is not None

    async def extend(self, run_id: RunId, call_id: CallId, *, gateway: str, lease_seconds: float) -> bool:
        return await self._link.fetchval(_LEDGER["extend"], run_id, call_id, gateway, lease_seconds) is not None

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
        values = (run_id, call_id, attempt, state, result, gateway)
        return await self._link.fetchval(_LEDGER["settle"], *values) is not None

    async def get(self, run_id: RunId, call_id: CallId) -> LedgerState | None:
        row = await self._link.fetchrow(_LEDGER["get"], run_id, call_id)
        return None if row is None else rows.ledger(row)

    async def of_run(self, run_id: RunId) -> list[LedgerState]:
        return [rows.ledger(row) for row in await self._link.fetch(_LEDGER["of_run"], run_id)]


class PostgresApprovals:
    def __init__(self, link: Link) -> None:
        self._link = link

    async def get(self, approval_id: str) -> ApprovalRow | None:
        row = await self._link.fetchrow(_APPROVALS["get"], approval_id)
        return None if row is None else rows.approval(row)

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
        among = None if agents is None else list(agents)
        found = await self._link.fetch(_APPROVALS[f"list_{state}"], role, run_id, limit, tenant, among)
        return [rows.approval(row) for row in found]
