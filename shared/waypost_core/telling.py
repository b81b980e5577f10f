"""When supervisors are told besides the moment in which something happens.

Before a limit or the deadline; of what is held for too long; and again, further up the ladder, when nobody acted.

Timer ids: `deadline_near`, `max_seconds_near`, `held` and `escalate` of the run, `<call>#held` and `<call>#escalate` of a call. They are
rows like every timer; one that no longer means anything gives nothing.
"""

from __future__ import annotations

from waypost_core.budgets import WARN_SHARE
from waypost_core.decision import Decision
from waypost_core.effects import AnyEffect, ClearTimer, Notify, SetTimer
from waypost_core.messages import Env
from waypost_core.notices import deadline_notice, held_notice, limit_notice, still_in_doubt_notice, still_paused_notice
from waypost_core.state import Call, RunState
from waypost_proto import events as ev
from waypost_proto.ids import CallId

DEADLINE_NEAR = "deadline_near"
MAX_SECONDS_NEAR = "max_seconds_near"
HELD = "held"
ESCALATE = "escalate"
OF_CALL = "#"
HELD_AFTER_SECONDS = 60.0
"""A tool or agent that nobody hosts for so long is worth telling: a rolling deploy is through by then."""
_NEAR = {DEADLINE_NEAR: "deadline", MAX_SECONDS_NEAR: "max_seconds"}


# -- timers that are set


def warning_timers(state: RunState) -> list[AnyEffect]:
    """Before the deadline and before the age limit, once for each. A child is warned of by its parent, whose deadline it has."""
    times = {DEADLINE_NEAR: near_deadline(state), MAX_SECONDS_NEAR: near_max_seconds(state)}
    return [SetTimer(timer_id, at) for timer_id, at in times.items() if at is not None and _NEAR[timer_id] not in state.warned]


def near_deadline(state: RunState) -> float | None:
    """When most of the time until the deadline has passed."""
    if state.deadline_at is None or state.parent is not None:
        return None
    return state.started_at + WARN_SHARE * max(0.0, state.deadline_at - state.started_at)


def near_max_seconds(state: RunState) -> float | None:
    """When most of the run's allowed age has passed."""
    limit = state.budget.max_seconds
    return None if limit is None else state.started_at + WARN_SHARE * limit


def clear_warning_timers(state: RunState) -> list[AnyEffect]:
    """The run has ended."""
    near = [(DEADLINE_NEAR, near_deadline(state)), (MAX_SECONDS_NEAR, near_max_seconds(state))]
    effects: list[AnyEffect] = [ClearTimer(timer_id) for timer_id, at in near if at is not None and _NEAR[timer_id] not in state.warned]
    if state.ladder:
        effects.append(ClearTimer(ESCALATE))
    return effects


def escalation(state: RunState, at: float, call_id: CallId | None = None, level: int = 0) -> list[AnyEffect]:
    """Wake up for the rung above `level`, if there is one. What a parent's pause did is the parent's to tell."""
    if level >= len(state.ladder):
        return []
    timer_id = ESCALATE if call_id is None else f"{call_id}{OF_CALL}{ESCALATE}"
    return [SetTimer(timer_id, at + state.ladder[level].after_seconds)]


# -- timers that are due


def mine(timer_id: str) -> bool:
    """Whether a timer is one of these."""
    return timer_id in (DEADLINE_NEAR, MAX_SECONDS_NEAR, HELD, ESCALATE) or timer_id.endswith((OF_CALL + HELD, OF_CALL + ESCALATE))


def told_when_due(state: RunState, timer_id: str, env: Env) -> Decision:
    """The event or notice that a due timer means; nothing if it means nothing any more."""
    if state.ending is not None and not timer_id.endswith(ESCALATE):
        return Decision()
    if timer_id == DEADLINE_NEAR:
        known = state.deadline_at is not None and "deadline" not in state.warned
        return Decision(events=[ev.DeadlineNear(deadline_at=state.deadline_at or 0.0)] if known else [])
    if timer_id == MAX_SECONDS_NEAR:
        at, limit = near_max_seconds(state), state.budget.max_seconds
        if at is None or limit is None or env.now < at or "max_seconds" in state.warned:
            return Decision()
        return Decision(events=[ev.LimitWarning(limit="max_seconds", value=env.now - state.started_at, maximum=limit)])
    if timer_id == HELD:
        waits = not state.worker and not state.paused
        return Decision(effects=[Notify(held_notice(state, env.now, None), state.seq)] if waits else [])
    if timer_id == ESCALATE:
        return Decision(events=_paused_still(state))
    return _of_call(state, CallId(timer_id.rpartition(OF_CALL)[0]), timer_id, env)


def _paused_still(state: RunState) -> list[ev.Data]:
    if not state.paused or state.level >= len(state.ladder):
        return []
    return [ev.NoticeEscalated(why="paused", level=state.level + 1, to=state.ladder[state.level].to)]


def _of_call(state: RunState, call_id: CallId, timer_id: str, env: Env) -> Decision:
    call = state.calls.get(call_id)
    if call is None:
        return Decision()
    if timer_id.endswith(HELD):
        return Decision(effects=[Notify(held_notice(state, env.now, call_id), state.seq)] if call.stage == "held" else [])
    if not in_doubt(call) or call.level >= len(state.ladder):
        return Decision()
    return Decision(events=[ev.NoticeEscalated(why="in_doubt", level=call.level + 1, to=state.ladder[call.level].to, call_id=call_id)])


def in_doubt(call: Call) -> bool:
    """Whether only a person can settle it."""
    return call.stage == "doubt" and call.due_at is None


# -- what the events lead to


def warned(state: RunState, seq: int, data: ev.LimitWarning) -> list[AnyEffect]:
    """The supervisor is told that a limit is near."""
    clear: list[AnyEffect] = [ClearTimer(MAX_SECONDS_NEAR)] if data.limit == "max_seconds" else []
    return [*clear, Notify(limit_notice(state, seq, data), seq)]


def deadline_near(state: RunState, seq: int, data: ev.DeadlineNear) -> list[AnyEffect]:
    """The supervisor is told that the deadline is near."""
    return [ClearTimer(DEADLINE_NEAR), Notify(deadline_notice(state, seq, data), seq)]


def escalated(state: RunState, seq: int, data: ev.NoticeEscalated) -> list[AnyEffect]:
    """The next level is told, and the one above it will be."""
    call = None if data.call_id is None else state.calls.get(data.call_id)
    if data.call_id is None:
        notice = still_paused_notice(state, seq, data)
        clear: AnyEffect = ClearTimer(ESCALATE)
    elif call is not None:
        notice = still_in_doubt_notice(state, seq, data, call)
        clear = ClearTimer(f"{data.call_id}{OF_CALL}{ESCALATE}")
    else:
        return []
    return [clear, *escalation(state, state.recorded_at, data.call_id, data.level), Notify(notice, seq)]
