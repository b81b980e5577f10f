"""A run as people see it: `RunRow` and `RunState` to `RunView`, and the sentence that says what it waits for. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypedDict

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from waypost_core.budgets import known, lease_of, left, limited, minus, usage_of
from waypost_core.state import STATE_VERSION, Call, ForkState, RunState, decode_state
from waypost_io.store.ports import ApprovalRow, RunRow
from waypost_proto.api import CallView, RunView
from waypost_proto.forks import ForkOrigin
from waypost_proto.ids import CallId
from waypost_proto.task import format_time
from waypost_proto.usage import Lease, Usage
from waypost_proto.values import BlobRef, Failure, RunStatus

MAX_CALLS_SHOWN = 100
MAX_SENTENCE_CALLS = 3
_URGENCY = ("approval", "doubt", "retry", "held", "reconcile", "sent", "unsent", "tape", "set")
"""In which order the open calls of a run are named: first what needs a person, last what comes by itself."""
_SAME_DAY_SECONDS = 12 * 3_600


class _Outcome(Struct, frozen=True):
    result: Raw | UnsetType = UNSET
    result_ref: BlobRef | UnsetType = UNSET
    error: Failure | None = None


_OUTCOME = msgspec.json.Decoder(_Outcome)


def state_of(row: RunRow) -> RunState | None:
    """The folded state of a run; None when it is of another version (its coordinator folds it anew from the log)."""
    if row.state_version != STATE_VERSION:
        return None
    try:
        return decode_state(row.state)
    except msgspec.MsgspecError:
        return None


def run_view(row: RunRow, state: RunState | None, approvals: Mapping[str, ApprovalRow], *, now: float, full: bool) -> RunView:
    """The view of one run. `full` adds open calls, shown state and result; lists leave them out. `now` is Unix seconds."""
    outcome = _OUTCOME.decode(row.outcome) if row.outcome else _Outcome()
    view = RunView(
        run_id=row.run_id,
        agent=row.agent,
        status=row.status,
        tenant=row.tenant,
        build=row.build,
        correlation_id=row.correlation_id,
        created_at=format_time(row.created_at),
        updated_at=format_time(row.updated_at),
        deadline=format_time(row.deadline_at) if row.deadline_at is not None else None,
        labels=dict(row.labels),
        last_seq=row.seq,
        parent=row.parent,
        error=outcome.error,
        idempotency_key=row.idempotency_key,
    )
    if state is not None:
        view = msgspec.structs.replace(
            view, steps=state.steps, budget=state.budget, waiting_for=waiting_for(row, state, approvals, now=now), **_books(state)
        )
        if state.fork is not None:
            view = msgspec.structs.replace(view, fork=_origin(state.fork))
    if not full:
        return view
    return msgspec.structs.replace(
        view,
        open_calls=[_call_view(call_id, call, paused=state is not None and state.paused) for call_id, call in _shown(state)],
        state=state.shown if state is not None else UNSET,
        result=outcome.result,
        result_ref=outcome.result_ref,
    )


def _origin(fork: ForkState) -> ForkOrigin:
    return ForkOrigin(run_id=fork.source, seq=fork.seq, tools=fork.tools, identity=fork.identity, changed=fork.changed)


class _Books(TypedDict):
    usage: Usage
    reserved: Usage
    left: Lease | None


def _books(state: RunState) -> _Books:
    account, used = state.account, known(state)
    return _Books(
        usage=usage_of(used), reserved=usage_of(minus(account.taken, used)), left=lease_of(left(state)) if limited(state) else None
    )


def needs_attention(row: RunRow, state: RunState | None) -> bool:
    """Whether a person has to do something before the run goes on."""
    if not row.open or row.status in (RunStatus.PAUSED, RunStatus.WAITING_APPROVAL) or state is None:
        return row.open
    return any(call.stage == "doubt" and call.due_at is None for call in state.calls.values())


def waiting_for(row: RunRow, state: RunState, approvals: Mapping[str, ApprovalRow], *, now: float) -> str:
    """What has to happen before the run goes on, for people; "" when it works or has ended."""
    if not row.open:
        return ""
    if row.status == RunStatus.PAUSED:
        why = f" (paused: {state.pause_reason})" if state.pause_reason else ""
        return f"someone to resume it{why}"
    if row.status == RunStatus.PENDING:
        return f"a worker for agent {row.agent}"
    if row.status == RunStatus.RUNNING and state.ending is None:
        return ""
    sentences = [_sentence(call_id, call, approvals, now=now) for call_id, call in _shown(state)]
    named = "; ".join(sentences[:MAX_SENTENCE_CALLS])
    more = len(sentences) - MAX_SENTENCE_CALLS
    text = f"{named}; and {more} more" if more > 0 else named
    return f"{text} (then it ends as {state.ending.outcome})" if state.ending is not None and text else text


def _shown(state: RunState | None) -> list[tuple[CallId, Call]]:
    """The open calls that a person cares about, the most urgent first."""
    if state is None:
        return []
    waited = [(call_id, call) for call_id, call in state.calls.items() if not call.abandoned or call.binding]
    waited.sort(key=lambda pair: (_URGENCY.index(pair[1].stage), pair[1].due_at or 0.0, pair[1].seq))
    return waited[:MAX_CALLS_SHOWN]


def _sentence(call_id: CallId, call: Call, approvals: Mapping[str, ApprovalRow], *, now: float) -> str:
    if call.unfunded or call.stage == "tape":
        return f"{'budget for' if call.unfunded else 'the recorded answer to'} {call.name or call.kind}"
    if call.kind == "timer":
        return f"a timer at {_moment(call.due_at, now)}"
    if call.kind == "ask":
        return f"an answer by {call.name} until {_moment(call.due_at, now)} (`waypost approvals answer {call.approval_id}`)"
    if call.kind == "signal":
        return f"signal {call.name!r}"
    if call.kind == "step":
        return f"local step {call.name}"
    if call.stage == "held":
        return f"a gateway for tool {call.name}" if call.kind == "tool" else f"a worker for agent {call.name}"
    if call.kind == "child":
        return f"child run {call.child or call_id} of agent {call.name}"
    return _tool_sentence(call, approvals, now=now)


def _tool_sentence(call: Call, approvals: Mapping[str, ApprovalRow], *, now: float) -> str:
    match call.stage:
        case "approval":
            approval = approvals.get(call.approval_id or "")
            if approval is None:
                return f"approval of {call.name}"
            gate = call.gate
            if gate is not None and gate.quorum > 1:
                by = f"{gate.quorum - len(gate.given)} more of {gate.role}" if gate.given else f"{gate.quorum} of {gate.role}"
                return f"approval of {call.name} by {by} until {_moment(approval.expires_at, now)}"
            return f"approval of {call.name} by {approval.role} until {_moment(approval.expires_at, now)}"
        case "retry":
            most = f" of {call.retry.max_attempts}" if call.retry is not None else ""
            return f"{call.name} attempt {call.attempt}{most} failed, next at {_moment(call.due_at, now)}"
        case "doubt" if call.due_at is not None:
            return f"{call.name} is in doubt, its reconcile hook is asked at {_moment(call.due_at, now)}"
        case "doubt":
            return f"a person to settle {call.name}, which is in doubt (`waypost runs resolve`)"
        case "reconcile":
            return f"the reconcile hook of {call.name}"
        case _:
            return f"{call.name} attempt {call.attempt}"


def _call_view(call_id: CallId, call: Call, *, paused: bool) -> CallView:
    return CallView(
        call_id=call_id,
        kind=call.kind,
        name=call.name,
        state="unsent" if call.stage == "sent" and (paused or call.unfunded) else call.stage,
        attempt=call.attempt if call.kind == "tool" else 0,
        max_attempts=call.retry.max_attempts if call.retry is not None else 0,
        next_attempt_at=format_time(call.due_at) if call.due_at is not None else None,
        error=call.error,
        approval_id=call.approval_id,
    )


def _moment(at: float | None, now: float) -> str:
    """`12:00:04Z` when it is near, with the date otherwise."""
    if at is None:
        return "an unknown time"
    text = format_time(at)
    date, _, clock = text.partition("T")
    clock = clock.split(".", 1)[0].rstrip("Z") + "Z"
    return clock if abs(at - now) < _SAME_DAY_SECONDS else f"{date}T{clock}"
