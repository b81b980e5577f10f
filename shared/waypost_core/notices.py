"""What supervisors are told, and what they can do about it, as command lines that can be pasted."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from waypost_core.budgets import LIMIT_NAMES, NOTHING, known, limits_of, plus, shown, usage_of
from waypost_core.leases import OPTION, all_wanted
from waypost_core.state import Call, RunState
from waypost_proto import events as ev
from waypost_proto.ids import CallId
from waypost_proto.notices import Action, Notice
from waypost_proto.task import format_time
from waypost_proto.values import Budget

Why = Literal["paused", "in_doubt", "approval", "deadline", "failed", "held", "limit"]


def paused_notice(state: RunState, seq: int, data: ev.RunPaused) -> Notice:
    """A run is held where it is. The command to go on raises the limit that was reached, if it was one."""
    why = data.reason or "asked by " + (data.by or "an operator")
    return _notice(state, seq, "paused", f"run {state.run_id} of {state.agent} is paused: {why}", _ways_on(state))


def _ways_on(state: RunState) -> list[Action]:
    return [
        Action(label="go on", command=f"waypost runs resume {state.run_id}{_enough(state)}"),
        Action(label="go on with an instruction", command=f"waypost runs resume {state.run_id}{_enough(state)} --instruction TEXT"),
        Action(label="end it", command=f"waypost runs cancel {state.run_id}"),
    ]


def _enough(state: RunState) -> str:
    """Options that raise what is short, to twice what is needed."""
    options = []
    needed = plus(state.account.taken, all_wanted(state))
    for name, limit, need in zip(LIMIT_NAMES, limits_of(state.budget), needed, strict=True):
        if limit is not None and need > limit:
            options.append(f" {OPTION[name]} {shown(name, 2 * need):g}")
    oldest = state.budget.max_seconds
    if oldest is not None and state.recorded_at >= state.started_at + oldest:
        options.append(f" --max-seconds {2 * oldest:g}")
    return "".join(options)


def still_paused_notice(state: RunState, seq: int, data: ev.NoticeEscalated) -> Notice:
    """Nobody has acted: the next level of the ladder is told."""
    message = f"run {state.run_id} of {state.agent} is still paused, and nobody has acted: {state.pause_reason or 'asked by an operator'}"
    return msgspec.structs.replace(_notice(state, seq, "paused", message, _ways_on(state)), level=data.level, to=data.to)


def still_in_doubt_notice(state: RunState, seq: int, data: ev.NoticeEscalated, call: Call) -> Notice:
    """The same for a call that only a person can settle."""
    assert data.call_id is not None
    message = f"call {data.call_id} of {call.name} in run {state.run_id} is still in doubt, and nobody has settled it"
    notice = _notice(state, seq, "in_doubt", message, _settling(state, data.call_id))
    return msgspec.structs.replace(notice, level=data.level, to=data.to)


def limit_notice(state: RunState, seq: int, data: ev.LimitWarning) -> Notice:
    """A limit is near; nothing has stopped yet."""
    message = f"run {state.run_id} of {state.agent} has used {data.value:g} of {data.limit} {data.maximum:g}; at the limit it pauses"
    return _notice(state, seq, "limit", message, [Action(label="end it", command=f"waypost runs cancel {state.run_id}")])


def deadline_notice(state: RunState, seq: int, data: ev.DeadlineNear) -> Notice:
    """The deadline is near; then the run fails."""
    message = f"run {state.run_id} of {state.agent} fails at its deadline {format_time(data.deadline_at)}, which is near"
    return _notice(state, seq, "deadline", message, [])


def held_notice(state: RunState, now: float, call_id: CallId | None) -> Notice:
    """Nobody hosts what the run needs: its agent, or the tool of a call."""
    if call_id is None:
        message = f"run {state.run_id} waits for a worker: nobody has ever hosted agent {state.agent}"
        actions = [Action(label="see who is there", command="waypost agents")]
    else:
        message = f"call {call_id} of run {state.run_id} waits for a gateway that hosts tool {state.calls[call_id].name}"
        actions = [Action(label="see who is there", command="waypost tools")]
    notice = _notice(state, state.seq, "held", message, actions)
    return msgspec.structs.replace(
        notice, notice_id=f"{notice.notice_id}.held.{call_id or 'run'}", at=format_time(max(now, state.recorded_at))
    )


def doubt_notice(state: RunState, seq: int, data: ev.ToolCallInDoubt) -> Notice:
    """Only a person can tell whether the call took effect."""
    return _notice(
        state,
        seq,
        "in_doubt",
        f"call {data.call_id} of {data.tool} in run {state.run_id} may or may not have taken effect: {data.error.message}",
        _settling(state, data.call_id),
    )


def _settling(state: RunState, call_id: CallId) -> list[Action]:
    resolve = f"waypost runs resolve {state.run_id} {call_id}"
    return [
        Action(label="it took effect", command=f"{resolve} completed --result RESULT"),
        Action(label="it did not", command=f"{resolve} not_done"),
        Action(label="give it up", command=f"{resolve} failed --reason REASON"),
    ]


def approval_notice(state: RunState, seq: int, data: ev.ApprovalRequested) -> Notice:
    """Someone with the role must decide."""
    expires = format_time(data.expires_at)
    who = f"{data.quorum} of {data.role}" if data.quorum > 1 else data.role
    return _notice(
        state,
        seq,
        "approval",
        f"{data.tool} in run {state.run_id} of {state.agent} waits for an approval by {who} until {expires}",
        [
            Action(label="approve", command=f"waypost approvals approve {data.approval_id} --role {data.role}"),
            Action(label="deny", command=f"waypost approvals deny {data.approval_id} --role {data.role} --reason REASON"),
        ],
    )


def question_notice(state: RunState, seq: int, data: ev.QuestionAsked) -> Notice:
    """Someone with the role is asked something."""
    expires = format_time(data.expires_at)
    return _notice(
        state,
        seq,
        "approval",
        f"run {state.run_id} of {state.agent} asks {data.role} until {expires}: {data.question}",
        [
            Action(label="answer", command=f"waypost approvals answer {data.question_id} ANSWER --role {data.role}"),
            Action(label="decline", command=f"waypost approvals deny {data.question_id} --role {data.role} --reason REASON"),
        ],
    )


def failed_notice(state: RunState, seq: int, data: ev.RunFailed) -> Notice:
    """A run that nobody's code awaits has failed."""
    message = f"run {state.run_id} of {state.agent} failed: {data.error.type}: {data.error.message}"
    return _notice(state, seq, "failed", message, [Action(label="see why", command=f"waypost runs events {state.run_id}")])


def _notice(state: RunState, seq: int, why: Why, message: str, actions: list[Any]) -> Notice:
    return Notice(
        notice_id=f"{state.run_id}.{seq}",
        run_id=state.run_id,
        agent=state.agent,
        why=why,
        message=message,
        at=format_time(state.recorded_at),
        actions=[*actions, Action(label="look at it", command=f"waypost runs show {state.run_id}")],
        limits=None if state.budget == Budget() else state.budget,
        usage=None if state.account.spent == NOTHING else usage_of(known(state)),
    )
