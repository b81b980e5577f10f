"""What the events of approvals and questions do to a state. Called by `evolve` only; believes the log, like everything there."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET

from waypost_core import forked
from waypost_core.naming import shared
from waypost_core.state import Call, Gate, RunState
from waypost_proto import events as ev
from waypost_proto.limits import ARGS_IN_STATE_BYTES
from waypost_proto.values import Edit


def approval_requested(state: RunState, data: ev.ApprovalRequested, _seq: int) -> None:
    """It waits for people."""
    call = state.calls[data.call_id]
    move_to(state, call, "approval")
    call.approval_id = data.approval_id
    call.approved = False
    call.terms = data.terms or call.terms  # one that is escalated or edited stands for the one before it
    call.due_at = data.expires_at
    call.gate = Gate(
        role=shared(data.role),
        quorum=data.quorum,
        separate=data.separate,
        seconds=max(0.0, data.expires_at - state.recorded_at),
        reason=data.reason,
        rule=data.rule,
        policy_version=data.policy_version,
        escalate_to=data.escalate_to,
        escalate_seconds=data.escalate_seconds,
        replaces=data.replaces,
    )


def approval_given(state: RunState, data: ev.ApprovalGiven, _seq: int) -> None:
    """One more of a quorum."""
    call = state.calls[data.call_id]
    if call.gate is not None:
        call.gate = msgspec.structs.replace(call.gate, given=(*call.gate.given, data.by))


def approval_edited(state: RunState, data: ev.ApprovalEdited, seq: int) -> None:
    """From here on the call is one with other arguments; its approval is the one that is requested next."""
    call = state.calls[data.call_id]
    call.args, call.args_ref = data.args.copy(), None
    call.args_digest = data.args_digest
    call.args_seq = seq
    shown = call.args if len(call.args) <= ARGS_IN_STATE_BYTES else UNSET
    call.edit = Edit(by=data.by, args_digest=data.args_digest, args=shown, reason=data.reason)


def question_asked(state: RunState, data: ev.QuestionAsked, seq: int) -> None:
    """Somebody is asked; in a fork that answers from its source, nobody is."""
    gate = Gate(role=shared(data.role), seconds=max(0.0, data.expires_at - state.recorded_at))
    state.calls[data.call_id] = call = Call(kind="ask", seq=seq, sent=seq, stage="set", name=gate.role, gate=gate)
    call.approval_id = data.question_id
    call.due_at = data.expires_at
    if state.fork is not None:
        forked.keep_question(call, data)
        if state.taped:
            call.stage = "tape"
            return
    move_to(state, call, "approval")


def approval_granted(state: RunState, data: ev.ApprovalGranted, seq: int) -> None:
    """It may run now."""
    call = state.calls[data.call_id]
    call.approved = True
    call.gate = None
    call.due_at = None
    call.sent = seq
    move_to(state, call, "held" if call.effect is None else "sent")


def move_to(state: RunState, call: Call, stage: Any) -> None:
    """Move a call, keeping the two counters."""
    state.approvals += (stage == "approval") - (call.stage == "approval")
    state.held += (stage == "held") - (call.stage == "held")
    call.stage = stage
