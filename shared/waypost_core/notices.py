"""What supervisors are told, and what they can do about it, as command lines that can be pasted."""

from __future__ import annotations

from typing import Any, Literal

from waypost_core.state import RunState
from waypost_proto import events as ev
from waypost_proto.notices import Action, Notice
from waypost_proto.task import format_time

Why = Literal["paused", "in_doubt", "approval", "deadline", "failed", "held"]


def paused_notice(state: RunState, seq: int, data: ev.RunPaused) -> Notice:
    """A run is held where it is. The command to go on raises the limit that was reached, if it was one."""
    limits = state.budget
    raised = ""
    if limits.max_steps is not None and state.steps > limits.max_steps:
        raised = f" --max-steps {2 * limits.max_steps}"
    elif limits.max_seconds is not None and state.recorded_at >= state.started_at + limits.max_seconds:
        raised = f" --max-seconds {2 * limits.max_seconds:g}"
    return _notice(
        state,
        seq,
        "paused",
        f"run {state.run_id} of {state.agent} is paused: {data.reason or 'asked by ' + (data.by or 'an operator')}",
        [
            Action(label="go on", command=f"waypost runs resume {state.run_id}{raised}"),
            Action(label="end it", command=f"waypost runs cancel {state.run_id}"),
        ],
    )


def doubt_notice(state: RunState, seq: int, data: ev.ToolCallInDoubt) -> Notice:
    """Only a person can tell whether the call took effect."""
    resolve = f"waypost runs resolve {state.run_id} {data.call_id}"
    return _notice(
        state,
        seq,
        "in_doubt",
        f"call {data.call_id} of {data.tool} in run {state.run_id} may or may not have taken effect: {data.error.message}",
        [
            Action(label="it took effect", command=f"{resolve} completed --result RESULT"),
            Action(label="it did not", command=f"{resolve} not_done"),
            Action(label="give it up", command=f"{resolve} failed --reason REASON"),
        ],
    )


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
    )
