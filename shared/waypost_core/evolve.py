"""State × event → state: what each event changes. Total over `AnyData`, and the only place that changes a `RunState`.

`evolve` works in place on the state that it is given and returns it; a caller that needs the old one copies it. It believes the log:
whether an event may happen is `decide`'s affair.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from msgspec import UNSET, Raw, UnsetType

from waypost_core import accounting as acc
from waypost_core import forked, people, signals
from waypost_core.budgets import bound_of, let_to_worker, plus, reserved
from waypost_core.loops import call_print, forget_trail, remember_call
from waypost_core.naming import shared
from waypost_core.people import move_to
from waypost_core.state import NO_BUDGET, NO_LABELS, NO_SIGNALS, RECENT_CAUSES, Call, Ending, ForkState, RunState
from waypost_proto import events as ev
from waypost_proto.codec import decode_union
from waypost_proto.taint import merged
from waypost_proto.task import parse_time
from waypost_proto.values import Failure, Mark, RunStatus


def initial(event: ev.Event) -> RunState:
    """The state before the first event, which names the run."""
    correlation_id = event.run_id if event.correlation_id == event.run_id else event.correlation_id
    return RunState(run_id=event.run_id, agent=shared(event.agent), tenant=shared(event.tenant), correlation_id=correlation_id)


def evolve(state: RunState, seq: int, at: float, data: ev.Data, cause: str = "") -> RunState:
    """Apply event number `seq`, recorded at `at` (Unix seconds). Idempotence is the caller's: seq must be the next."""
    assert seq == state.seq + 1, f"event {seq} does not follow {state.seq} of run {state.run_id}"
    state.seq = seq
    state.recorded_at = at
    if cause:
        state.recent = (*state.recent[-RECENT_CAUSES + 1 :], cause)
    _STEPS[type(data)](state, data, seq)
    if type(data) in _OUTSIDE:
        state.outside = seq
    mark = getattr(data, "mark", None)
    if mark is not None:
        _mark(state, mark)
        let_to_worker(state, sharing=state.waiting > 0)
    elif type(data) in _LETS:
        let_to_worker(state, sharing=state.waiting > 0)
    state.status = state.current_status()
    return state


def fold(events: Iterable[ev.Event]) -> RunState:
    """The state after a whole history. Raises `BadMessage` for an event of an unknown type, `ValueError` for none at all."""
    state: RunState | None = None
    for event in events:
        state = state or initial(event)
        data: ev.AnyData = decode_union(ev.AnyData, event.data)
        evolve(state, event.seq, parse_time(event.recorded_at), data, event.cause)
    if state is None:
        raise ValueError("a run without events has no state")
    return state


def _mark(state: RunState, mark: Mark) -> None:
    state.digest = mark.digest
    state.seen = max(state.seen, mark.seen)
    state.running = mark.running
    state.worker = shared(mark.worker or state.worker)
    state.build = shared(mark.build or state.build)


def _started(state: RunState, data: ev.RunStarted, _seq: int) -> None:
    state.started_at = state.recorded_at
    state.budget = data.budget if data.budget != NO_BUDGET else NO_BUDGET
    state.deadline_at = data.deadline_at
    state.labels = data.labels or NO_LABELS
    state.signals = state.signals or NO_SIGNALS
    state.idempotency_key = data.idempotency_key
    state.input_digest = data.input_digest
    state.parent = data.parent
    state.trace = data.trace
    state.taint = data.taint
    state.starter = shared(data.starter)
    state.account.given = bound_of(data.lease)
    state.ladder = tuple(data.ladder)
    state.watched = data.watched
    if data.fork is not None:
        fork = data.fork
        state.fork = ForkState(source=fork.run_id, seq=fork.seq, tools=fork.tools, identity=fork.identity, changed=fork.changed)


def _nothing(_state: RunState, _data: ev.Data, _seq: int) -> None:
    """The event changes no more than its mark and the journal."""


def _tool_requested(state: RunState, data: ev.ToolCallRequested, seq: int) -> None:
    held = data.effect is None
    state.tool_calls += 1
    call = Call(
        kind="tool",
        seq=seq,
        sent=seq,
        name=data.tool,
        stage="held" if held else "sent",
        effect=data.effect,
        args=_own(data.args),
        args_ref=_some(data.args_ref),
        args_digest=data.args_digest,
        timeout_seconds=data.timeout_seconds,
        retry=data.retry,
        reserve=reserved(data.reserve),
    )
    if state.fork is not None:
        forked.hold_back(state, call, data.approval)
        held = call.stage == "held"
    state.held += held
    state.calls[data.call_id] = call
    acc.requested(state, call, data.unfunded)
    remember_call(state, call_print(data.tool, data.args_digest), seq)


def _tool_dispatched(state: RunState, data: ev.ToolCallDispatched, seq: int) -> None:
    call = state.calls[data.call_id]
    move_to(state, call, "reconcile" if data.mode == "reconcile" else "sent")
    call.sent = seq
    call.deferred = call.deferred if data.attempt == call.attempt else 0
    call.attempt = data.attempt
    call.due_at = None
    call.effect = data.effect or call.effect
    call.retry = data.retry or call.retry
    call.timeout_seconds = data.timeout_seconds or call.timeout_seconds
    if data.mode == "reconcile":
        call.tries += 1


def _attempt_failed(state: RunState, data: ev.ToolAttemptFailed, seq: int) -> None:
    call = state.calls[data.call_id]
    move_to(state, call, "retry")
    call.sent = seq
    call.deferred = 0
    call.error = data.error
    if data.usage is not None:  # the reservation stays for the next attempt
        state.account.own = plus(state.account.own, reserved(data.usage))
    call.due_at = data.next_attempt_at


def _deferred(state: RunState, data: ev.ToolCallDeferred, seq: int) -> None:
    call = state.calls[data.call_id]
    move_to(state, call, "retry")
    call.sent = seq
    call.deferred += 1
    call.error = Failure(type="BreakerOpen", message=data.message)
    call.due_at = data.next_attempt_at


def _in_doubt(state: RunState, data: ev.ToolCallInDoubt, seq: int) -> None:
    call = state.calls[data.call_id]
    move_to(state, call, "doubt")
    call.sent = seq
    call.error = data.error
    call.due_at = data.reconcile_at


def _call_closed(state: RunState, data: Any, _seq: int) -> None:
    call = state.calls.pop(data.call_id, None)
    if call is not None:
        acc.settle_call(state, call, getattr(data, "usage", None), unreported=_UNREPORTED.get(type(data), "free"))
        move_to(state, call, "set")


def _timer_fired(state: RunState, data: ev.TimerFired, seq: int) -> None:
    _call_closed(state, data, seq)
    if data.recalled is not None and not data.recalled.seq:
        forked.timer_skipped(state)


def _given(state: RunState, data: ev.ToolCallCompleted | ev.ToolCallFailed | ev.ChildCompleted | ev.ChildFailed, seq: int) -> None:
    """The code is given something from outside: the run carries its labels from now on."""
    _call_closed(state, data, seq)
    if data.taint:
        state.taint = merged(state.taint, data.taint)


def _abandoned(state: RunState, data: ev.ToolCallCancelRequested | ev.ChildCancelRequested, seq: int) -> None:
    call = state.calls[data.call_id]
    call.abandoned = True
    call.sent = seq


def _timer_started(state: RunState, data: ev.TimerStarted, seq: int) -> None:
    state.calls[data.call_id] = Call(kind="timer", seq=seq, sent=seq, stage="set", due_at=data.fire_at)


def _state_changed(state: RunState, data: ev.StateChanged, _seq: int) -> None:
    if state.shown is UNSET or bytes(state.shown) != bytes(data.value):
        state.stale = 0
    state.shown = data.value


def _paused(state: RunState, data: ev.RunPaused, _seq: int) -> None:
    state.paused = True
    state.pause_reason = data.reason
    state.level = 0
    state.drained = False


def _resumed(state: RunState, data: ev.RunResumed, seq: int) -> None:
    state.paused = state.drained = False
    state.pause_reason = ""
    if data.budget is not None:
        state.budget = state.budget.overridden_by(data.budget)
        state.watched = state.watched or state.budget.max_repeats is not None
        state.warned = tuple(name for name in state.warned if getattr(data.budget, name, None) is None)
    forget_trail(state)  # whoever resumes it has seen what repeated
    for call in state.calls.values():
        call.sent = seq
        if call.stage == "unsent":
            call.stage = "sent"


def _ending(state: RunState, data: ev.RunEnding, _seq: int) -> None:
    acc.worker_done(state, data.mark)
    state.ending = Ending(
        outcome=data.outcome, reason=data.reason, by=data.by, result=data.result, result_ref=data.result_ref, error=data.error
    )


def _completed(state: RunState, data: ev.RunCompleted, _seq: int) -> None:
    state.result, state.result_ref = data.result, data.result_ref
    acc.worker_done(state, data.mark)
    _end(state, RunStatus.COMPLETED)


def _failed(state: RunState, data: ev.RunFailed, _seq: int) -> None:
    state.error = data.error
    acc.worker_done(state, data.mark)
    _end(state, RunStatus.FAILED)


def _cancelled(state: RunState, _data: ev.RunCancelled, _seq: int) -> None:
    _end(state, RunStatus.CANCELLED)


def _end(state: RunState, status: RunStatus) -> None:
    acc.worker_done(state, None)
    acc.unsettled(state)
    state.status = status
    state.waiting = 0
    state.calls = {}
    state.approvals = state.held = state.running = 0
    state.paused = False
    state.step_wanted = None
    state.ending = None


def _own(value: Raw | UnsetType) -> Raw | UnsetType:
    """A copy: a `Raw` is a view that would keep the whole message alive for as long as the call is open."""
    return UNSET if value is UNSET else value.copy()


def _some(value: Any) -> Any:
    return None if value is UNSET else value


_STEPS: dict[type, Callable[[RunState, Any, int], None]] = {
    ev.RunStarted: _started,
    ev.RunForked: forked.run_forked,
    ev.ForkToolsChanged: forked.tools_changed,
    ev.StepRecalled: acc.step_recalled,
    ev.RunAdvanced: _nothing,
    ev.StepCompleted: acc.step_ended,
    ev.StepFailed: acc.step_ended,
    ev.StepRequested: acc.step_requested,
    ev.ToolCallRequested: _tool_requested,
    ev.ToolCallDispatched: _tool_dispatched,
    ev.ToolAttemptFailed: _attempt_failed,
    ev.ToolCallCompleted: _given,
    ev.ToolCallFailed: _given,
    ev.ToolCallDeferred: _deferred,
    ev.ToolCallInDoubt: _in_doubt,
    ev.ToolCallCancelRequested: _abandoned,
    ev.ToolCallCancelled: _call_closed,
    ev.ChildRequested: acc.child_requested,
    ev.ChildCompleted: acc.child_closed,
    ev.ChildFailed: acc.child_closed,
    ev.ChildCancelRequested: _abandoned,
    ev.TimerStarted: _timer_started,
    ev.TimerFired: _timer_fired,
    ev.TimerCancelled: _call_closed,
    ev.SignalAwaited: signals.signal_awaited,
    ev.SignalWaitCancelled: _call_closed,
    ev.SignalReceived: signals.signal_received,
    ev.StateChanged: _state_changed,
    ev.CheckpointSaved: _nothing,
    ev.WritesSaved: _nothing,
    ev.ApprovalRequested: people.approval_requested,
    ev.ApprovalGiven: people.approval_given,
    ev.ApprovalEdited: people.approval_edited,
    ev.ApprovalEscalated: _nothing,
    ev.ApprovalGranted: people.approval_granted,
    ev.ApprovalDenied: _nothing,
    ev.ApprovalExpired: _nothing,
    ev.QuestionAsked: people.question_asked,
    ev.QuestionAnswered: _call_closed,
    ev.QuestionUnanswered: _call_closed,
    ev.QuestionWithdrawn: _call_closed,
    ev.BreakerTripped: _nothing,
    ev.RunPaused: _paused,
    ev.RunResumed: _resumed,
    ev.RunEnding: _ending,
    ev.RunCompleted: _completed,
    ev.RunFailed: _failed,
    ev.RunCancelled: _cancelled,
    ev.CallFunded: acc.call_funded,
    ev.LeaseAsked: acc.lease_asked,
    ev.LeaseReceived: acc.lease_received,
    ev.LeaseReturned: acc.lease_returned,
    ev.LeaseWanted: acc.lease_wanted,
    ev.LeaseGranted: acc.lease_granted,
    ev.LeaseRecalled: acc.lease_recalled,
    ev.LeaseTakenBack: acc.lease_taken_back,
    ev.LimitWarning: acc.warned,
    ev.DeadlineNear: acc.deadline_near,
    ev.LoopDetected: _nothing,
    ev.NoticeEscalated: acc.escalated,
    ev.InstructionAdded: forked.heard,
}
_UNREPORTED: dict[type, acc.Unreported] = {
    ev.ToolCallCompleted: "spent",
    ev.ToolCallFailed: "doubt",
    ev.ToolCallCancelled: "sent",
}
"""What a reservation becomes when nobody said what was used: see `accounting.settle_call`."""
_OUTSIDE = frozenset(kind for kind in _STEPS if kind.__struct_config__.tag in ev.OUTSIDE)  # type: ignore[attr-defined]
"""Event types that the agent's code is given, as classes: an `is in` per event instead of a string look-up."""


_LETS = _OUTSIDE | {ev.RunResumed, ev.CallFunded, ev.LeaseReceived}
"""Events after which the run's worker may have something to do, and gets a lease for it."""


def copy_of(state: RunState) -> RunState:
    """A state that shares nothing mutable with the given one."""
    calls = {i: msgspec.structs.replace(c) for i, c in state.calls.items()}
    account = msgspec.structs.replace(state.account)
    return msgspec.structs.replace(state, calls=calls, account=account)
