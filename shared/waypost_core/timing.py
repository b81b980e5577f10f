"""What happens when a timer of the run is due. A timer that no longer means anything gives no events.

Timer ids: a call's id for `sleep` and `timeout`; `<call>#retry` for its next attempt or reconciliation; `<call>#approval` for an approval's
expiry; `deadline` and `max_seconds` for the run; those of `telling`.
"""

from __future__ import annotations

from waypost_core.approvals import approval_expired
from waypost_core.decision import Decision
from waypost_core.effects import AnyEffect
from waypost_core.ending import end
from waypost_core.messages import Env, TimersDue
from waypost_core.state import Call, Ending, RunState
from waypost_core.telling import mine, told_when_due
from waypost_proto import events as ev
from waypost_proto.ids import CallId
from waypost_proto.task import format_time
from waypost_proto.values import Failure

DEADLINE = "deadline"
MAX_SECONDS = "max_seconds"
RETRY = "#retry"
LATEST = 253_402_214_400.0
"""The last day of the year 9999: later than that neither a timestamp nor a formatted time can say, and a timer need not come."""
APPROVAL = "#approval"


def timers_due(state: RunState, message: TimersDue, env: Env) -> Decision:
    """The events of all timers that are due."""
    if state.terminal:
        return Decision()
    events: list[ev.Data] = []
    effects: list[AnyEffect] = []
    for timer_id in message.timer_ids:
        if mine(timer_id):
            told = told_when_due(state, timer_id, env)
            events.extend(told.events)
            effects.extend(told.effects)
        elif timer_id == DEADLINE:
            return Decision(events=_deadline(state))
        elif timer_id == MAX_SECONDS:
            events.extend(_max_seconds(state, env))
        elif timer_id.endswith(RETRY):
            events.extend(_retry(state, CallId(timer_id.removesuffix(RETRY)), env))
        elif timer_id.endswith(APPROVAL):
            events.extend(approval_expired(state, CallId(timer_id.removesuffix(APPROVAL)), env))
        else:
            call = state.calls.get(CallId(timer_id))
            if call is not None and call.kind == "timer" and state.ending is None:
                events.append(ev.TimerFired(call_id=CallId(timer_id)))
    return Decision(events=events, effects=effects)


def due_of(state: RunState, timer_id: str) -> float | None:
    """When a timer that the run still waits for is due; None when it means nothing any more."""
    if state.terminal or mine(timer_id):
        return None
    if timer_id == DEADLINE:
        return None if state.ending is not None else state.deadline_at
    if timer_id == MAX_SECONDS:
        return None if state.ending is not None or state.budget.max_seconds is None else state.started_at + state.budget.max_seconds
    call = state.calls.get(CallId(timer_id.removesuffix(RETRY).removesuffix(APPROVAL)))
    if call is None:
        return None
    waits = (
        _waits(call, state)
        if timer_id.endswith(RETRY)
        else call.stage == "approval"
        if timer_id.endswith(APPROVAL)
        else call.kind == "timer" and state.ending is None
    )
    return call.due_at if waits else None


def _deadline(state: RunState) -> list[ev.Data]:
    """The deadline ends the run as failed; what may have taken effect is still awaited."""
    if state.ending is not None or state.deadline_at is None:
        return []
    waiting = ", ".join(sorted({f"{c.name or c.kind} ({c.stage})" for c in state.calls.values()})) or "a worker"
    message = f"the deadline {format_time(state.deadline_at)} passed while waiting for {waiting}"
    error = Failure(type="DeadlineExceeded", message=message)
    return end(state, Ending(outcome="failed", reason=message, error=error))


def _max_seconds(state: RunState, env: Env) -> list[ev.Data]:
    limit = state.budget.max_seconds
    if limit is None or state.paused or state.ending is not None or env.now < state.started_at + limit:
        return []
    message = f"the run is older than its {limit} seconds; raise the limit with `waypost runs resume RUN --max-seconds N`"
    return [
        ev.BreakerTripped(limit="max_seconds", value=limit, maximum=limit, message=message),
        ev.RunPaused(reason=f"max_seconds {limit} reached"),
    ]


def _retry(state: RunState, call_id: CallId, env: Env) -> list[ev.Data]:
    """The next attempt, or the question to the reconcile hook. While paused it waits for the resume, which an ending run never sees."""
    call = state.calls.get(call_id)
    if call is None or (state.paused and state.ending is None) or (call.due_at is not None and env.now < call.due_at):
        return []  # early: the timer was moved by a later attempt while this message was under way
    return [next_dispatch(call_id, call, env)] if _waits(call, state) else []


def _waits(call: Call, state: RunState) -> bool:
    if call.stage == "retry":
        return state.ending is None
    return call.stage == "doubt" and call.due_at is not None


def next_dispatch(call_id: CallId, call: Call, env: Env) -> ev.ToolCallDispatched:
    """The call goes on the road again: reconcile when in doubt, the next attempt otherwise."""
    if call.stage == "doubt":
        return ev.ToolCallDispatched(call_id=call_id, attempt=call.attempt, mode="reconcile")
    tool = env.tools.get(call.name)
    effect = call.effect or (tool.effect if tool is not None else None)
    attempt = call.attempt if call.deferred else call.attempt + 1
    return ev.ToolCallDispatched(call_id=call_id, attempt=attempt, effect=effect)
