"""What people and other runs do to a run: signal, pause, resume, cancel, decide, resolve, and a child's end.

Idempotent by request id: one that is already recorded is answered as a duplicate and changes nothing.
"""

from __future__ import annotations

from typing import assert_never

from waypost_core.approvals import decide_approval
from waypost_core.decision import Decision, done, refused
from waypost_core.ending import end, end_if_settled
from waypost_core.evolve import copy_of, evolve
from waypost_core.limits import raised, too_low
from waypost_core.messages import AnyMessage, Env
from waypost_core.permits import held_dispatches
from waypost_core.playing import cannot_change, still_stuck, tools_changed
from waypost_core.state import Call, Ending, RunState
from waypost_core.tool_mail import failed_for_good, not_done
from waypost_proto import events as ev
from waypost_proto import mailbox as mb
from waypost_proto.errors import BadInput
from waypost_proto.limits import MAX_INSTRUCTION_CHARS
from waypost_proto.values import Failure, RunStatus


def unknown_run(message: AnyMessage) -> Decision:
    """Something for a run that is not in the log."""
    if isinstance(message, mb.Control):
        return refused(message.run_id, "404", f"no run {message.run_id}")
    if isinstance(message, mb.Advance):
        return Decision(rejected="no such run")
    return Decision()


def control(state: RunState, message: mb.AnyControl, env: Env) -> Decision:
    """The events of one control message."""
    if isinstance(message, mb.ChildEnded):
        return Decision(events=_child_ended(state, message))
    assert not isinstance(message, mb.StartRun | mb.ForkRun)
    if message.request_id and message.request_id in state.recent:
        return done(state.run_id, [], duplicate=True)
    if state.terminal:
        return _too_late(state, message)
    match message:
        case mb.Signal():
            data = ev.SignalReceived(name=message.name, payload=message.payload, payload_ref=message.payload_ref, by=message.by)
            decision = done(state.run_id, [data])
        case mb.Pause() | mb.Resume() if state.ending is not None:
            # a resume would permit again what the ending has revoked
            decision = refused(state.run_id, "409", f"run {state.run_id} is ending: it can be neither paused nor resumed", state.status)
        case mb.Pause():
            events: list[ev.Data] = [] if state.paused else [ev.RunPaused(reason=message.reason, by=message.by)]
            decision = done(state.run_id, events, duplicate=state.paused)
        case mb.Resume():
            decision = _resume(state, message, env)
        case mb.Cancel():
            decision = _cancel(state, message)
        case mb.DecideApproval():
            decision = decide_approval(state, message, env)
        case mb.ResolveCall():
            decision = _resolve(state, message, env)
        case _:
            assert_never(message)
    decision.cause = message.request_id
    return decision


def _too_late(state: RunState, message: mb.Control) -> Decision:
    if isinstance(message, mb.Cancel) and state.status is RunStatus.CANCELLED:
        return done(state.run_id, [], duplicate=True)
    return refused(state.run_id, "409", f"run {state.run_id} has already {_ended(state)}", state.status)


def _ended(state: RunState) -> str:
    return "been cancelled" if state.status is RunStatus.CANCELLED else str(state.status)


def _resume(state: RunState, message: mb.Resume, env: Env) -> Decision:
    if message.tools is not None:
        wrong = cannot_change(state, message.tools)
        if wrong:
            return refused(state.run_id, "409", wrong, state.status)
    if not state.paused:
        return done(state.run_id, [], duplicate=True)
    if len(message.instruction) > MAX_INSTRUCTION_CHARS:
        text = f"the instruction has {len(message.instruction)} characters, the limit is {MAX_INSTRUCTION_CHARS}"
        return refused(state.run_id, "400", text, state.status)
    try:
        new = raised(state.budget, message.budget, message.extra)
    except BadInput as error:
        return refused(state.run_id, "400", str(error), state.status)
    short = too_low(state, state.budget.overridden_by(new), env.now)
    if short:
        return refused(state.run_id, "409", short, state.status)
    events: list[ev.Data] = [ev.RunResumed(by=message.by, budget=new)]
    changed: list[ev.Data] = []
    after = state
    if state.fork is not None:
        changed = tools_changed(state, message.tools, message.by, env)
        stuck = still_stuck(state, [*events, *changed], env)
        if stuck:
            return refused(state.run_id, "409", stuck, state.status)
        after = _after(state, changed, env)  # what waited for a recorded answer may be held now
    if message.instruction:
        events.append(ev.InstructionAdded(text=message.instruction, by=message.by))
    decision = done(state.run_id, [*events, *changed, *held_dispatches(after, env)])
    decision.look = bool(changed)
    return decision


def _after(state: RunState, events: list[ev.Data], env: Env) -> RunState:
    if not events:
        return state
    after = copy_of(state)
    for data in events:
        evolve(after, after.seq + 1, env.now, data)
    return after


def _cancel(state: RunState, message: mb.Cancel) -> Decision:
    if state.ending is not None:
        return done(state.run_id, [], duplicate=True)
    return done(state.run_id, end(state, Ending(outcome="cancelled", reason=message.reason, by=message.by)))


def _resolve(state: RunState, message: mb.ResolveCall, env: Env) -> Decision:
    call = state.calls.get(message.call_id)
    if call is None or call.kind != "tool":
        return refused(state.run_id, "404", f"run {state.run_id} has no open tool call {message.call_id}", state.status)
    if call.stage == "tape" and message.outcome != "not_done":  # a person says what the call would have brought
        return done(state.run_id, _resolved(state, call, message, env))
    if call.stage not in ("doubt", "reconcile"):
        return refused(state.run_id, "409", f"call {message.call_id} is not in doubt, it is {call.stage!r}", state.status)
    events = _resolved(state, call, message, env)
    if not isinstance(events[0], ev.ToolAttemptFailed):
        events = [*events, *end_if_settled(state, message.call_id)]
    return done(state.run_id, events)


def _resolved(state: RunState, call: Call, message: mb.ResolveCall, env: Env) -> list[ev.Data]:
    if message.outcome == "completed":
        return [
            ev.ToolCallCompleted(
                call_id=message.call_id,
                tool=call.name,
                attempt=call.attempt,
                result=message.result,
                via="person",
                by=message.by,
                edit=call.edit,
            )
        ]
    if message.outcome == "not_done":
        return not_done(state, message.call_id, env)
    error = Failure(type="ToolFailed", message=message.reason or f"{call.name} was given up by {message.by or 'a person'}")
    return [failed_for_good(message.call_id, call, error, by=message.by)]


def _child_ended(state: RunState, message: mb.ChildEnded) -> list[ev.Data]:
    """Idempotent: a child that is no longer awaited gives no events."""
    call = state.calls.get(message.call_id)
    if state.terminal or call is None or call.kind != "child" or call.child != message.child:
        return []
    event: ev.Data
    if message.status is RunStatus.COMPLETED:
        event = ev.ChildCompleted(
            call_id=message.call_id,
            child_run_id=message.child,
            result=message.result,
            result_ref=message.result_ref,
            taint=message.taint,
            usage=message.usage,
        )
    else:
        error = message.error or Failure(type="RunFailed", message=f"child run {message.child} {message.status}")
        event = ev.ChildFailed(
            call_id=message.call_id,
            child_run_id=message.child,
            status=message.status,
            error=error,
            taint=message.taint,
            usage=message.usage,
        )
    return [event, *end_if_settled(state, message.call_id)]
