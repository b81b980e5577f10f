"""`approvals.list`: who is asked to decide what. Deciding is in `deciding`."""

from __future__ import annotations

from msgspec import UNSET, Raw

from waypost_coordinator.api.exchange import PAGE_BYTES, bounded, read
from waypost_coordinator.api.ports import Api
from waypost_coordinator.approval_details import details_of
from waypost_io.bus.ports import Message
from waypost_io.store.ports import ApprovalRow
from waypost_proto.api import ApprovalPage, ApprovalsList, ApprovalView
from waypost_proto.ids import parse_run_id
from waypost_proto.task import format_time

MAX_APPROVALS = 500


async def list_approvals(api: Api, message: Message) -> ApprovalPage:
    """Open approvals, or all; of one role or run. Arguments that do not fit into the answer are left out, never cut."""
    request = read(ApprovalsList, message.body)
    rows = await api.store.approvals.list(
        state=request.state,
        role=request.role,
        run_id=parse_run_id(request.run_id) if request.run_id is not None else None,
        limit=bounded(request.limit, MAX_APPROVALS),
        tenant=api.caller.bound_to,
        agents=api.caller.agents or None,
    )
    room = PAGE_BYTES // 2
    views: list[ApprovalView] = []
    for row in rows:
        fits = len(row.args) <= room
        room -= len(row.args) if fits else 0
        views.append(_view(row, with_args=fits))
    return ApprovalPage(approvals=views)


def _view(row: ApprovalRow, *, with_args: bool) -> ApprovalView:
    details = details_of(row)
    return ApprovalView(
        approval_id=row.approval_id,
        run_id=row.run_id,
        agent=row.agent,
        call_id=row.call_id,
        tool=row.tool,
        args=Raw(row.args) if with_args and row.args else UNSET,
        args_digest=row.args_digest,
        role=row.role,
        state=row.state,
        requested_at=format_time(row.requested_at),
        expires_at=format_time(row.expires_at),
        reason=row.reason,
        decided_by=row.decided_by,
        decided_at=format_time(row.decided_at) if row.decided_at is not None else None,
        decision_reason=row.decision_reason,
        kind=details.kind,
        quorum=details.quorum,
        given_by=details.given,
        rule=details.rule,
        policy_version=row.policy_version,
        question=details.question,
        answer_schema=details.answer_schema,
        replaces=details.replaces,
        edited_by=details.edited_by,
        starter=details.starter,
    )
