"""State × event → effects: what follows from an event, and (`outstanding`) everything that should be on the road now.

`react` is given the state after the *whole* decision that the event is part of. That is what keeps a call from being sent when the
same decision asks for its approval, denies it, or trips the breaker: what is sent is what the state says, not what one event
says. While a run is paused or ending its calls are recorded and not sent.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from waypost_core import dispatch, lease_sending, telling
from waypost_core.effects import (
    Activate,
    AnyEffect,
    ClearTimer,
    CloseApproval,
    GrantPermit,
    Notify,
    OpenApproval,
    RevokeCall,
    RevokeRun,
    SendMail,
    SendTool,
    SetTimer,
    StopWork,
)
from waypost_core.ending import child_ended
from waypost_core.notices import approval_notice, doubt_notice, failed_notice, paused_notice, question_notice
from waypost_core.state import Call, RunState
from waypost_core.timing import APPROVAL, DEADLINE, MAX_SECONDS, RETRY
from waypost_proto import events as ev
from waypost_proto.ids import CallId
from waypost_proto.mailbox import Cancel, Pause, Resume

Effects = list[AnyEffect]


def react(state: RunState, seq: int, data: ev.Data) -> Effects:
    """What follows from event number `seq`, given the state after the decision it belongs to."""
    handler = _REACT.get(type(data))
    return [] if handler is None else handler(state, seq, data)


def outstanding(state: RunState, *, above: int = 0, permits: bool = False) -> Effects:
    """All that should be on the road and was caused by an event after `above`.

    After a wiped broker or a lost worker `above` is 0; a take-over passes the published position's seq. With `permits` (a resume) every
    call that is sent gets a fresh permit and every timer is set again.
    """
    if state.terminal:
        return [child_ended(state, state.seq)] if state.parent is not None and state.seq > above else []
    effects: Effects = []
    if state.ending is not None:
        effects.append(RevokeRun())
    elif state.paused:
        return []
    if state.wants_worker and (state.outside > above or above == 0):
        effects.append(Activate(sent=max(state.outside, above)))
    for call_id, call in state.calls.items():
        if call.sent > above and not call.unfunded:
            effects.extend(_on_the_road(state, call_id, call, permits=permits))
    return effects


def _on_the_road(state: RunState, call_id: CallId, call: Call, *, permits: bool) -> Effects:
    if call.kind == "child":
        return [_start_child(state, call_id, call, call.sent)] if call.binding else []
    if call.kind == "timer" and permits and call.due_at is not None and not state.plays:
        return [SetTimer(call_id, call.due_at)]
    if call.kind != "tool":
        return []
    if call.stage in ("retry", "doubt") and permits and call.due_at is not None:
        return [SetTimer(call_id + RETRY, call.due_at)]
    if call.stage == "reconcile":
        return [SendTool(call_id, call.sent, "reconcile")]
    if call.stage != "sent":
        return []
    if call.abandoned and call.permit:  # never a fresh permit; whoever has started it is still to answer
        return [RevokeCall(call_id), SendTool(call_id, call.sent)]
    grant: Effects = [GrantPermit(call_id)] if permits and call.permit else []
    return [*grant, SendTool(call_id, call.sent)]


def _activate(state: RunState, seq: int, _data: ev.Data) -> Effects:
    return [Activate(seq)] if state.wants_worker else []


def _call_funded(state: RunState, seq: int, data: ev.CallFunded) -> Effects:
    call = state.calls.get(data.call_id)
    if call is None or call.kind == "step":
        return _activate(state, seq, data)
    if call.kind == "tool":
        return _send_call(state, seq, data.call_id)
    return [_start_child(state, data.call_id, call, seq)] if call.binding and state.ending is None and not state.paused else []


def _started(state: RunState, seq: int, data: ev.RunStarted) -> Effects:
    hosted = data.known or state.parent is not None
    return [
        *_run_timers(state),
        *([] if hosted else [SetTimer(telling.HELD, state.recorded_at + telling.HELD_AFTER_SECONDS)]),
        *_activate(state, seq, data),
    ]


def _forked(state: RunState, seq: int, _data: ev.RunForked) -> Effects:
    """As at a start. What was open is sent by the events that fund it; its timers are set here, unless nobody waits for them."""
    sleeps = [] if state.plays else [SetTimer(i, c.due_at) for i, c in state.calls.items() if c.kind == "timer" and c.due_at is not None]
    return [*_run_timers(state), *sleeps, *_activate(state, seq, _data)]


def _run_timers(state: RunState) -> Effects:
    effects: Effects = []
    if state.deadline_at is not None:
        effects.append(SetTimer(DEADLINE, state.deadline_at))
    if state.budget.max_seconds is not None:
        effects.append(SetTimer(MAX_SECONDS, state.started_at + state.budget.max_seconds))
    return [*effects, *telling.warning_timers(state)] if effects else effects


def _send_call(state: RunState, seq: int, call_id: CallId, *, force: bool = False) -> Effects:
    call = state.calls.get(call_id)
    if (
        call is None
        or call.unfunded
        or call.stage != "sent"
        or call.sent != seq
        or call.abandoned
        or state.paused
        or state.ending is not None
    ):
        return []  # `sent` is the event that put it on the road; a later one of the same decision sends it, or keeps it back
    send = SendTool(call_id, seq)
    return [GrantPermit(call_id, force), send] if call.permit else [send]


def _tool_requested(state: RunState, seq: int, data: ev.ToolCallRequested) -> Effects:
    call = state.calls.get(data.call_id)
    if data.effect is None and call is not None and call.stage != "tape":
        return [SetTimer(f"{data.call_id}{telling.OF_CALL}{telling.HELD}", state.recorded_at + telling.HELD_AFTER_SECONDS)]
    return _send_call(state, seq, data.call_id)


def _tool_dispatched(state: RunState, seq: int, data: ev.ToolCallDispatched) -> Effects:
    clear = ClearTimer(data.call_id + RETRY)
    if data.mode == "reconcile":
        return [clear, SendTool(data.call_id, seq, "reconcile")]
    return [clear, *_send_call(state, seq, data.call_id, force=_was_resolved(state, data.call_id))]


def _was_resolved(state: RunState, call_id: CallId) -> bool:
    """A hook or a person has said that the last attempt did not take effect: its ledger row may be started or in doubt."""
    call = state.calls.get(call_id)
    return call is not None and call.error is not None and call.error.type == "NotExecuted" and call.attempt > 1


def _deferred(_state: RunState, _seq: int, data: ev.ToolCallDeferred) -> Effects:
    return [SetTimer(data.call_id + RETRY, data.next_attempt_at)]


def _attempt_failed(_state: RunState, _seq: int, data: ev.ToolAttemptFailed) -> Effects:
    return [] if data.next_attempt_at is None else [SetTimer(data.call_id + RETRY, data.next_attempt_at)]


def _in_doubt(state: RunState, seq: int, data: ev.ToolCallInDoubt) -> Effects:
    if data.reconcile_at is not None:
        return [SetTimer(data.call_id + RETRY, data.reconcile_at)]
    return [Notify(doubt_notice(state, seq, data), seq), *telling.escalation(state, state.recorded_at, data.call_id)]


def _cancel_requested(_state: RunState, _seq: int, data: ev.ToolCallCancelRequested) -> Effects:
    return [RevokeCall(data.call_id), StopWork("cancelled_call", data.call_id)]


def _call_cancelled(_state: RunState, _seq: int, data: ev.ToolCallCancelled) -> Effects:
    if data.approval_id is not None:
        return [CloseApproval(approval_id=data.approval_id, call_id=data.call_id, state="withdrawn"), ClearTimer(data.call_id + APPROVAL)]
    return [StopWork("cancelled_call", data.call_id)]


def _child_requested(state: RunState, seq: int, data: ev.ChildRequested) -> Effects:
    call = state.calls.get(data.call_id)
    if call is None or not call.binding or state.ending is not None:
        return []
    return [_start_child(state, data.call_id, call, seq)]


def _start_child(state: RunState, call_id: CallId, call: Call, sent: int) -> SendMail:
    assert call.child is not None
    return SendMail(to=call.child, agent=call.name, mail=dispatch.start_child(state, call_id, call), sent=sent, key="start")


def _child_cancel(state: RunState, seq: int, data: ev.ChildCancelRequested) -> Effects:
    call = state.calls.get(data.call_id)
    return [] if call is None else [_cancel_child(state, call, seq, "its parent no longer waits for it")]


def _cancel_child(state: RunState, call: Call, seq: int, reason: str) -> SendMail:
    assert call.child is not None
    mail = Cancel(run_id=call.child, request_id=f"{state.run_id}.{seq}", by=f"run:{state.run_id}", reason=reason)
    return SendMail(to=call.child, agent=call.name, mail=mail, sent=seq, key=f"cancel.{seq}")


def _timer_started(state: RunState, _seq: int, data: ev.TimerStarted) -> Effects:
    return [] if state.plays else [SetTimer(data.call_id, data.fire_at)]


def _timer_fired(state: RunState, seq: int, data: ev.TimerFired) -> Effects:
    return [ClearTimer(data.call_id), *_activate(state, seq, data)]


def _timer_cancelled(_state: RunState, _seq: int, data: ev.TimerCancelled) -> Effects:
    return [ClearTimer(data.call_id)]


def _approval_requested(state: RunState, seq: int, data: ev.ApprovalRequested) -> Effects:
    call = state.calls.get(data.call_id)
    if call is None:
        return []
    opened = OpenApproval(
        approval_id=data.approval_id, call_id=data.call_id, role=data.role, expires_at=data.expires_at, reason=data.reason
    )
    if call.stage != "approval" or call.approval_id != data.approval_id:  # the same decision has edited and granted it
        return [opened]
    return [opened, SetTimer(data.call_id + APPROVAL, data.expires_at), Notify(approval_notice(state, seq, data), seq)]


def _approval_given(state: RunState, _seq: int, data: ev.ApprovalGiven) -> Effects:
    call = state.calls.get(data.call_id)
    if call is None or call.gate is None or call.due_at is None:
        return []
    gate = call.gate
    return [OpenApproval(approval_id=data.approval_id, call_id=data.call_id, role=gate.role, expires_at=call.due_at, reason=gate.reason)]


def _approval_edited(_state: RunState, _seq: int, data: ev.ApprovalEdited) -> Effects:
    reason = f"edited, see {data.replaced_by}" + (f": {data.reason}" if data.reason else "")
    return [CloseApproval(approval_id=data.approval_id, call_id=data.call_id, state="withdrawn", by=data.by, reason=reason)]


def _approval_escalated(_state: RunState, _seq: int, data: ev.ApprovalEscalated) -> Effects:
    reason = f"escalated to {data.role}, see {data.replaced_by}"
    return [CloseApproval(approval_id=data.approval_id, call_id=data.call_id, state="expired", reason=reason)]


def _question_asked(state: RunState, seq: int, data: ev.QuestionAsked) -> Effects:
    call = state.calls.get(data.call_id)
    if call is None or call.stage != "approval":
        return []
    opened = OpenApproval(
        approval_id=data.question_id, call_id=data.call_id, role=data.role, expires_at=data.expires_at, reason="", asked=data
    )
    return [opened, SetTimer(data.call_id + APPROVAL, data.expires_at), Notify(question_notice(state, seq, data), seq)]


def _question_answered(state: RunState, seq: int, data: ev.QuestionAnswered) -> Effects:
    close = CloseApproval(approval_id=data.question_id, call_id=data.call_id, state="granted", by=data.by, reason=data.reason)
    return [close, ClearTimer(data.call_id + APPROVAL), *_activate(state, seq, data)]


def _question_unanswered(state: RunState, seq: int, data: ev.QuestionUnanswered) -> Effects:
    how: Literal["denied", "expired"] = "denied" if data.by else "expired"
    close = CloseApproval(approval_id=data.question_id, call_id=data.call_id, state=how, by=data.by, reason=data.error.message)
    return [close, ClearTimer(data.call_id + APPROVAL), *_activate(state, seq, data)]


def _question_withdrawn(_state: RunState, _seq: int, data: ev.QuestionWithdrawn) -> Effects:
    close = CloseApproval(approval_id=data.question_id, call_id=data.call_id, state="withdrawn")
    return [close, ClearTimer(data.call_id + APPROVAL)]


def _approval_granted(state: RunState, seq: int, data: ev.ApprovalGranted) -> Effects:
    by = ", ".join(data.given_by) or data.by
    close = CloseApproval(approval_id=data.approval_id, call_id=data.call_id, state="granted", by=by, reason=data.reason)
    return [close, ClearTimer(data.call_id + APPROVAL), *_send_call(state, seq, data.call_id)]


def _approval_denied(_state: RunState, _seq: int, data: ev.ApprovalDenied) -> Effects:
    close = CloseApproval(approval_id=data.approval_id, call_id=data.call_id, state="denied", by=data.by, reason=data.reason)
    return [close, ClearTimer(data.call_id + APPROVAL)]


def _approval_expired(_state: RunState, _seq: int, data: ev.ApprovalExpired) -> Effects:
    return [CloseApproval(approval_id=data.approval_id, call_id=data.call_id, state="expired"), ClearTimer(data.call_id + APPROVAL)]


def _paused(state: RunState, seq: int, data: ev.RunPaused) -> Effects:
    effects: Effects = [RevokeRun(), StopWork("paused"), Notify(paused_notice(state, seq, data), seq)]
    if not data.by.startswith("run:"):  # what a parent's pause did is the parent's to tell
        effects.extend(telling.escalation(state, state.recorded_at))
    for call in _children(state):
        assert call.child is not None
        mail = Pause(run_id=call.child, request_id=f"{state.run_id}.{seq}", by=f"run:{state.run_id}", reason=data.reason)
        effects.append(SendMail(to=call.child, agent=call.name, mail=mail, sent=seq, key=f"pause.{seq}"))
    return effects


def _resumed(state: RunState, seq: int, _data: ev.RunResumed) -> Effects:
    again = outstanding(state, above=seq - 1, permits=state.ending is None)
    by_others = {e.call_id for e in again if isinstance(e, SendTool) and e.sent > seq}  # a later event of the decision sends these
    calm: Effects = [ClearTimer(telling.ESCALATE)] if state.ladder else []
    effects = [*calm, *_run_timers(state), *(e for e in again if not (isinstance(e, SendTool | GrantPermit) and e.call_id in by_others))]
    if state.wants_worker and not any(isinstance(e, Activate) for e in effects):
        effects.append(Activate(seq))
    for call in _children(state):
        assert call.child is not None
        mail = Resume(run_id=call.child, request_id=f"{state.run_id}.{seq}", by=f"run:{state.run_id}")
        effects.append(SendMail(to=call.child, agent=call.name, mail=mail, sent=seq, key=f"resume.{seq}"))
    return effects


def _ending(state: RunState, seq: int, _data: ev.RunEnding) -> Effects:
    cancels = [_cancel_child(state, call, seq, "its parent run is ending") for call in _children(state)]
    # a pause held these back; nobody can resume an ending run, and it ends when they are settled
    doubts = [SetTimer(i + RETRY, c.due_at) for i, c in state.calls.items() if c.stage == "doubt" and c.due_at is not None and state.paused]
    # of a paused run nothing is derived again when a stream is lost; the run ends when whoever has started these has answered
    asked = [SendTool(i, c.sent) for i, c in state.calls.items() if state.paused and c.kind == "tool" and c.stage == "sent" and c.permit]
    return [RevokeRun(), StopWork("ended"), *cancels, *doubts, *asked]


def _children(state: RunState) -> list[Call]:
    return [call for call in state.calls.values() if call.kind == "child" and call.binding]


def _terminal(state: RunState, seq: int, data: ev.Data) -> Effects:
    effects = telling.clear_warning_timers(state)
    if state.deadline_at is not None:
        effects.append(ClearTimer(DEADLINE))
    if state.budget.max_seconds is not None:
        effects.append(ClearTimer(MAX_SECONDS))
    if state.parent is not None:
        effects.append(child_ended(state, seq))
    elif isinstance(data, ev.RunFailed):
        effects.append(Notify(failed_notice(state, seq, data), seq))
    if not isinstance(data, ev.RunCompleted):
        effects.append(StopWork("ended"))
    return effects


_REACT: dict[type, Callable[[RunState, int, Any], Effects]] = {
    ev.RunStarted: _started,
    ev.RunForked: _forked,
    ev.ForkToolsChanged: _activate,
    ev.StepRecalled: _activate,
    ev.StepRequested: _activate,
    ev.ToolCallRequested: _tool_requested,
    ev.ToolCallDispatched: _tool_dispatched,
    ev.ToolAttemptFailed: _attempt_failed,
    ev.ToolCallDeferred: _deferred,
    ev.ToolCallCompleted: _activate,
    ev.ToolCallFailed: _activate,
    ev.ToolCallInDoubt: _in_doubt,
    ev.ToolCallCancelRequested: _cancel_requested,
    ev.ToolCallCancelled: _call_cancelled,
    ev.ChildRequested: _child_requested,
    ev.ChildCompleted: _activate,
    ev.ChildFailed: _activate,
    ev.ChildCancelRequested: _child_cancel,
    ev.TimerStarted: _timer_started,
    ev.TimerFired: _timer_fired,
    ev.TimerCancelled: _timer_cancelled,
    ev.SignalReceived: _activate,
    ev.ApprovalRequested: _approval_requested,
    ev.ApprovalGiven: _approval_given,
    ev.ApprovalEdited: _approval_edited,
    ev.ApprovalEscalated: _approval_escalated,
    ev.QuestionAsked: _question_asked,
    ev.QuestionAnswered: _question_answered,
    ev.QuestionUnanswered: _question_unanswered,
    ev.QuestionWithdrawn: _question_withdrawn,
    ev.ApprovalGranted: _approval_granted,
    ev.ApprovalDenied: _approval_denied,
    ev.ApprovalExpired: _approval_expired,
    ev.RunPaused: _paused,
    ev.RunResumed: _resumed,
    ev.RunEnding: _ending,
    ev.RunCompleted: _terminal,
    ev.RunFailed: _terminal,
    ev.RunCancelled: _terminal,
    ev.CallFunded: _call_funded,
    ev.LeaseAsked: lease_sending.lease_asked,
    ev.LeaseReturned: lease_sending.lease_returned,
    ev.LeaseGranted: lease_sending.lease_granted,
    ev.LeaseRecalled: lease_sending.lease_recalled,
    ev.InstructionAdded: _activate,
    ev.LimitWarning: telling.warned,
    ev.DeadlineNear: telling.deadline_near,
    ev.NoticeEscalated: telling.escalated,
}
