"""`approvals.decide`: approve, deny, approve with other arguments, or answer a question. Owns what is checked before the commit.

The state machine decides (`waypost_core.approvals`): role, separation of duties, quorum, time. Here is what needs a row: that the approval
exists, that the caller has its role (by its identity, or by its word where nobody is authenticated), and that an answer or edited
arguments fit their schema.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, Raw

from waypost_coordinator.api.exchange import answered, read, request_id_of
from waypost_coordinator.api.ports import Api
from waypost_coordinator.approval_details import details_of
from waypost_core.fitting import problem_of
from waypost_io.bus.ports import Message
from waypost_io.store.ports import ApprovalRow
from waypost_proto.api import ApprovalsDecide, RunAnswer
from waypost_proto.errors import BadInput, Denied, NotFound, TooLarge, TransientError
from waypost_proto.limits import CLAIM_CHECK_BYTES
from waypost_proto.mailbox import DecideApproval
from waypost_proto.registry import ToolDefinition


async def decide(api: Api, message: Message) -> RunAnswer:
    """`approvals.decide`: one decision about exactly what the approval is bound to. Idempotent by `request_id`.

    Raises `NotFound`, `BadInput` (no `by`, an answer or arguments that do not fit), `Denied` for who does not have the role,
    `Conflict` when it is decided, expired or withdrawn.
    """
    request = read(ApprovalsDecide, message.body)
    approval = await api.store.approvals.get(request.approval_id)
    if approval is None or not api.caller.sees(approval.tenant, approval.agent):
        raise NotFound(f"no approval {request.approval_id!r}: `waypost approvals list --all` shows those there are")
    caller = api.caller
    by, roles = caller.named(request.by), caller.roles(request.roles)
    if not by:
        raise BadInput("by is missing: a decision is recorded with who made it")
    if approval.role and approval.role not in roles:
        acts_as = ", ".join(roles) or "no role"
        raise Denied(f"approval {approval.approval_id} is for the role {approval.role!r}, {by} acts as {acts_as}")
    _check_parts(request, approval)
    await _check_values(api, request, approval)
    mail = DecideApproval(
        run_id=approval.run_id,
        request_id=request_id_of(request.request_id, caller),
        by=by,
        approval_id=request.approval_id,
        decision=request.decision,
        roles=list(roles),
        reason=request.reason,
        args=request.args,
        answer=request.answer,
        authenticated=caller.strict,
        proof=caller.proof,
        via=caller.via,
        tenant=caller.bound_to or "",
        agents=caller.agents,
    )
    return answered(await api.commands.submit(mail))


def _check_parts(request: ApprovalsDecide, approval: ApprovalRow) -> None:
    question = details_of(approval).kind == "question"
    if request.args is not UNSET and (question or request.decision != "approve"):
        raise BadInput("args go with the decision 'approve' of an approval: the call then runs with these")
    if request.answer is not UNSET and request.decision != "answer":
        raise BadInput(f"an answer goes with the decision 'answer', not with {request.decision!r}")
    if question and request.decision == "approve":
        raise BadInput(f"{approval.approval_id} is a question: answer it (decision 'answer'), or deny it")
    if not question and request.decision == "answer":
        raise BadInput(f"{approval.approval_id} is an approval of {approval.tool}: approve or deny it")


async def _check_values(api: Api, request: ApprovalsDecide, approval: ApprovalRow) -> None:
    if isinstance(request.args, Raw):
        value = _value("the edited arguments", request.args)
        if not isinstance(value, dict):
            raise BadInput("the edited arguments must be a JSON object: parameters by name")
        _fits(f"the edited arguments of {approval.tool}", (await _definition(api, approval.tool)).args_schema, value)
    if request.decision == "answer":
        given = request.answer if isinstance(request.answer, Raw) else Raw(b"null")
        value = _value("the answer", given)
        schema = details_of(approval).answer_schema
        if isinstance(schema, Raw):
            _fits("the answer", schema, value)


async def _definition(api: Api, tool: str) -> ToolDefinition:
    """As committed: this replica may not have heard of it yet, and arguments that nobody has checked are not taken."""
    found = next((definition for definition in await api.store.definitions.tools() if definition.name == tool), None)
    if found is None:
        raise TransientError(
            f"nobody has announced the tool {tool!r} yet, so the edited arguments cannot be checked: start a gateway that hosts it, or "
            "approve the call as it is"
        )
    return found


def _value(what: str, raw: Raw) -> Any:
    if len(bytes(raw)) > CLAIM_CHECK_BYTES:
        raise TooLarge(f"{what}: {len(bytes(raw))} bytes, the limit is {CLAIM_CHECK_BYTES}")
    return msgspec.json.decode(raw)


def _fits(what: str, schema: Raw, value: Any) -> None:
    problem = problem_of(msgspec.json.decode(schema), value)
    if problem:
        raise BadInput(f"{what} cannot be taken: {problem}")
