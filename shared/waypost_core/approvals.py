"""Approvals and questions: who may decide, what a decision leads to, and what happens when nobody decides.

An approval is a capability: bound to run, call, digest of the exact arguments, role, expiry and the policy that asked. Whatever changes
one of them ends it and opens another under an id of its own, so that what a person saw is what counts: an edit of the arguments, another
role at an escalation, another version of the policy. It is used once, by the ledger's start statement.

What is checked here is checked for every way in: the role of an authenticated caller, that who started the run does not approve it, that
nobody counts twice in a quorum, and that the approval is still open and in time.
"""

from __future__ import annotations

import msgspec
from msgspec import UNSET

from waypost_core.decision import Decision, done, refused
from waypost_core.ending import end_if_settled
from waypost_core.messages import Env
from waypost_core.permits import first_dispatch
from waypost_core.state import Call, Gate, RunState
from waypost_core.tool_mail import approval_id, failed_for_good
from waypost_proto import events as ev
from waypost_proto import mailbox as mb
from waypost_proto.ids import CallId, digest_of
from waypost_proto.limits import CLAIM_CHECK_BYTES
from waypost_proto.values import Failure


def decide_approval(state: RunState, message: mb.DecideApproval, env: Env) -> Decision:
    """The events of one decision, or why it is refused. What is decided already is refused with 409."""
    if message.tenant not in ("", state.tenant) or (message.agents and state.agent not in message.agents):
        return _refused(state, "404", f"no approval {message.approval_id!r}")
    found = next(((i, c) for i, c in state.calls.items() if c.approval_id == message.approval_id and c.stage == "approval"), None)
    if found is None:
        return _refused(state, "409", f"approval {message.approval_id} is not open: it was decided, expired, replaced or withdrawn")
    call_id, call = found
    if call.due_at is not None and env.now >= call.due_at:
        return _refused(state, "409", f"approval {message.approval_id} expired before this decision")
    gate = call.gate or Gate(role="")
    if message.authenticated and gate.role not in ("", *message.roles):
        acts_as = ", ".join(message.roles) or "no role"
        return _refused(state, "403", f"approval {message.approval_id} is for the role {gate.role!r}, {message.by} has {acts_as}")
    if call.kind == "ask":
        return _settle_question(state, call_id, message)
    match message.decision:
        case "deny":
            return _deny(state, call_id, call, message)
        case "approve":
            return _approve(state, call_id, gate, message, env)
        case _:
            return _refused(state, "400", f"{message.approval_id} is an approval: approve or deny it")


def _approve(state: RunState, call_id: CallId, gate: Gate, message: mb.DecideApproval, env: Env) -> Decision:
    call = state.calls[call_id]
    problem = _self_given(state, gate, message)
    if problem:
        return _refused(state, "403", problem)
    digest = call.args_digest if message.args is UNSET else digest_of(bytes(message.args))
    edited = digest != call.args_digest
    if edited and message.args is not UNSET and len(bytes(message.args)) > CLAIM_CHECK_BYTES:
        return _refused(state, "413", f"the edited arguments are {len(bytes(message.args))} bytes, the limit is {CLAIM_CHECK_BYTES}")
    if not edited and message.by in gate.given:
        missing = gate.quorum - len(gate.given)
        return _refused(state, "409", f"{message.by} has approved {message.approval_id} already; {missing} more of {gate.role} must")
    events = _edited(state, call_id, gate, message, digest) if edited else []
    # what others have approved were the arguments before: they count for those only
    given = [message.by] if edited else [*gate.given, message.by]
    current = approval_id(state, call_id, after=message.approval_id) if edited else message.approval_id
    if len(given) < gate.quorum:
        count = ev.ApprovalGiven(
            approval_id=current,
            call_id=call_id,
            by=message.by,
            reason=message.reason,
            given=len(given),
            quorum=gate.quorum,
            via=message.via,
        )
        return done(state.run_id, [*events, count])
    granted = ev.ApprovalGranted(
        approval_id=current,
        call_id=call_id,
        by=message.by,
        reason=message.reason,
        given_by=given if gate.quorum > 1 else [],
        via=message.via,
    )
    tool = env.tools.get(call.name)
    if call.effect is None and tool is not None and not state.paused:  # nobody hosted the tool when it was requested
        return done(state.run_id, [*events, granted, first_dispatch(call_id, call, tool)])
    return done(state.run_id, [*events, granted])


def _self_given(state: RunState, gate: Gate, message: mb.DecideApproval) -> str:
    """Separation of duties: why this person may not approve, or "". Without a starter it cannot be shown, and so it is not met."""
    if not gate.separate:
        return ""
    if state.starter and message.by == state.starter:
        return f"{message.by} started run {state.run_id} and may not approve its calls; somebody else with the role {gate.role!r} must"
    if message.authenticated and not state.starter:
        return (
            f"nobody knows who started run {state.run_id} (its task was not signed): that the approver is somebody else cannot be shown; "
            "start it with a token, or let a policy ask for the approval with `separate: false`"
        )
    return ""


def _edited(state: RunState, call_id: CallId, gate: Gate, message: mb.DecideApproval, digest: str) -> list[ev.Data]:
    """The approval ends, and another one begins that is bound to the new arguments, with the time that is left."""
    call = state.calls[call_id]
    assert message.args is not UNSET
    following = approval_id(state, call_id, after=message.approval_id)
    edited = ev.ApprovalEdited(
        approval_id=message.approval_id,
        replaced_by=following,
        call_id=call_id,
        tool=call.name,
        by=message.by,
        reason=message.reason,
        previous_digest=call.args_digest,
        args=message.args,
        args_digest=digest,
        via=message.via,
    )
    expires_at = state.recorded_at + gate.seconds if call.due_at is None else call.due_at
    return [
        edited,
        _requested(call_id, call.name, digest, msgspec.structs.replace(gate, replaces=message.approval_id), following, expires_at),
    ]


def _requested(call_id: CallId, tool: str, digest: str, gate: Gate, following: str, expires_at: float) -> ev.ApprovalRequested:
    return ev.ApprovalRequested(
        approval_id=following,
        call_id=call_id,
        tool=tool,
        args_digest=digest,
        role=gate.role,
        expires_at=expires_at,
        reason=gate.reason,
        quorum=gate.quorum,
        rule=gate.rule,
        policy_version=gate.policy_version,
        separate=gate.separate,
        escalate_to=gate.escalate_to,
        escalate_seconds=gate.escalate_seconds,
        replaces=gate.replaces,
    )


def _deny(state: RunState, call_id: CallId, call: Call, message: mb.DecideApproval) -> Decision:
    by = f" by {message.by}" if message.by else ""
    error = Failure(type="ApprovalDenied", message=message.reason or f"{call.name} was denied{by}")
    events: list[ev.Data] = [
        ev.ApprovalDenied(approval_id=message.approval_id, call_id=call_id, by=message.by, reason=message.reason, via=message.via),
        failed_for_good(call_id, call, error, by=message.by),
        *end_if_settled(state, call_id),
    ]
    return done(state.run_id, events)


def _settle_question(state: RunState, call_id: CallId, message: mb.DecideApproval) -> Decision:
    if message.decision == "approve":
        return _refused(state, "400", f"{message.approval_id} is a question: answer it")
    if message.decision == "deny":
        error = Failure(type="QuestionDeclined", message=message.reason or f"{message.by or 'somebody'} declined to answer")
        declined = ev.QuestionUnanswered(call_id=call_id, question_id=message.approval_id, error=error, by=message.by or "somebody")
        return done(state.run_id, [declined])
    answered = ev.QuestionAnswered(
        call_id=call_id, question_id=message.approval_id, by=message.by, answer=message.answer, reason=message.reason, via=message.via
    )
    return done(state.run_id, [answered])


def approval_expired(state: RunState, call_id: CallId, env: Env) -> list[ev.Data]:
    """Nobody decided in time: the call is denied, or people of another role are asked."""
    call = state.calls.get(call_id)
    if call is None or call.stage != "approval" or call.approval_id is None:
        return []
    gate = call.gate
    if call.due_at is not None and env.now < call.due_at:
        return []  # the timer of an approval that this one has replaced
    if call.kind == "ask":
        error = Failure(type="QuestionExpired", message=f"nobody answered {call.approval_id} in time")
        return [ev.QuestionUnanswered(call_id=call_id, question_id=call.approval_id, error=error)]
    if gate is not None and gate.escalate_to and state.ending is None:
        return _escalated(state, call_id, call, gate, env)
    error = Failure(type="ApprovalDenied", message=f"nobody decided on approval {call.approval_id} in time")
    return [
        ev.ApprovalExpired(approval_id=call.approval_id, call_id=call_id),
        failed_for_good(call_id, call, error),
        *end_if_settled(state, call_id),
    ]


def _escalated(state: RunState, call_id: CallId, call: Call, gate: Gate, env: Env) -> list[ev.Data]:
    """Once, and for as long again; what people of the first role had approved does not count for the second."""
    assert call.approval_id is not None
    following = approval_id(state, call_id, after=call.approval_id)
    expires_at = env.now + (gate.escalate_seconds or gate.seconds)
    further = msgspec.structs.replace(gate, role=gate.escalate_to, escalate_to="", escalate_seconds=None, replaces=call.approval_id)
    return [
        ev.ApprovalEscalated(
            approval_id=call.approval_id, replaced_by=following, call_id=call_id, role=gate.escalate_to, expires_at=expires_at
        ),
        _requested(call_id, call.name, call.args_digest, further, following, expires_at),
    ]


def _refused(state: RunState, code: str, message: str) -> Decision:
    return refused(state.run_id, code, message, state.status)
