"""The fold of tool calls: each attempt, what it waited for, and who allowed it. Part of `fold`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from msgspec import UNSET

from waypost_core import genai
from waypost_core.chronicle.entries import Attempt, Entry, Gate, Wait, when
from waypost_proto import events as ev
from waypost_proto.values import Edit

if TYPE_CHECKING:
    from waypost_core.chronicle.fold import Chronicle


def _requested(tale: Chronicle, at: datetime, data: ev.ToolCallRequested) -> Entry:
    entry = Entry(kind="tool", seq=tale.seq, began=at, name=data.tool, call_id=data.call_id, because=data.because or "")
    entry.effect = "" if data.effect is None else str(data.effect)
    entry.given = tale.value(genai.TOOL_CALL_ARGUMENTS, data.args, data.args_ref)
    tale.totals.tool_calls += 1
    tale.add(entry)
    if data.unfunded:
        _waits(entry, Wait(what="budget", began=at))
    elif data.effect is None:
        _waits(entry, Wait(what="host", began=at))
    elif data.approval is None:
        _sent(entry, 1, at)
    return entry


def _funded(tale: Chronicle, at: datetime, data: ev.CallFunded) -> Entry | None:
    entry = tale.open.get(data.call_id)
    if entry is not None:
        over(entry, at)
        if entry.kind == "tool" and not entry.attempts:
            _sent(entry, 1, at)
    return entry


def _dispatched(tale: Chronicle, at: datetime, data: ev.ToolCallDispatched) -> Entry | None:
    entry = tale.open.get(data.call_id)
    if entry is None:
        return None
    over(entry, at)
    entry.in_doubt = False
    if data.effect is not None:
        entry.effect = str(data.effect)
    _sent(entry, data.attempt, at, mode=data.mode)
    return entry


def _attempt_failed(tale: Chronicle, at: datetime, data: ev.ToolAttemptFailed) -> Entry | None:
    tale.totals.attempts_failed += 1
    entry = tale.open.get(data.call_id)
    if entry is None:
        return None
    tale.used(data.usage, entry)
    entry.in_doubt = False
    _tried(entry, data.attempt, at, "failed", _error(tale, data))
    if data.next_attempt_at is not None:
        over(entry, at)
        why = f"attempt {data.attempt + 1} of {data.max_attempts}"
        if data.retry_after_seconds:
            why += f"; the tool asked for {data.retry_after_seconds:g} s"
        _waits(entry, Wait(what="retry", began=at, until=when(data.next_attempt_at), why=why))
    return entry


def _deferred(tale: Chronicle, at: datetime, data: ev.ToolCallDeferred) -> Entry | None:
    entry = tale.open.get(data.call_id)
    if entry is None:
        return None
    _tried(entry, data.attempt, at, "not started", "")
    over(entry, at)
    _waits(entry, Wait(what=data.why, began=at, until=when(data.next_attempt_at), why=tale.words(data.message)))
    return entry


def _in_doubt(tale: Chronicle, at: datetime, data: ev.ToolCallInDoubt) -> Entry | None:
    entry = tale.open.get(data.call_id)
    if entry is None:
        return None
    _tried(entry, data.attempt, at, "in doubt", _error(tale, data))
    over(entry, at)
    entry.in_doubt = True
    _waits(entry, Wait(what="doubt", began=at, until=None if data.reconcile_at is None else when(data.reconcile_at)))
    return entry


def _completed(tale: Chronicle, at: datetime, data: ev.ToolCallCompleted) -> Entry | None:
    entry = tale.open.get(data.call_id)
    tale.used(data.usage, entry)
    if entry is None:
        return None
    _tried(entry, data.attempt, at, "answered", "")
    entry.got = tale.value(genai.TOOL_CALL_RESULT, data.result, data.result_ref)
    _edited_call(tale, entry, data.edit)
    entry.in_doubt = False
    return tale.close(data.call_id, at, "completed", via="" if data.via == "call" else data.via, by=data.by)


def _failed(tale: Chronicle, at: datetime, data: ev.ToolCallFailed) -> Entry | None:
    entry = tale.open.get(data.call_id)
    tale.used(data.usage, entry)
    if entry is None:
        return None
    _tried(entry, data.attempt, at, "failed", _error(tale, data))
    _edited_call(tale, entry, data.edit)
    denied = data.error.type in ("ToolDenied", "ApprovalDenied")
    entry.in_doubt = False
    return tale.close(data.call_id, at, "denied" if denied else "failed", error=_error(tale, data), by=data.by)


def _cancelled(tale: Chronicle, at: datetime, data: ev.ToolCallCancelled) -> Entry | None:
    entry = tale.open.get(data.call_id)
    if entry is None:
        return None
    if entry.attempts and entry.attempts[-1].ended is None:
        entry.attempts[-1].ended, entry.attempts[-1].outcome = at, "cancelled"
    _gate_over(entry, at, "withdrawn")
    return tale.close(data.call_id, at, "cancelled")


def _cancel_requested(tale: Chronicle, _at: datetime, data: ev.ToolCallCancelRequested) -> Entry | None:
    entry = tale.open.get(data.call_id)
    if entry is not None:
        entry.unwanted = True
    return entry


# -- approvals


def _asked(tale: Chronicle, at: datetime, data: ev.ApprovalRequested) -> Entry | None:
    entry = tale.open.get(data.call_id)
    if entry is None:
        return None
    if entry.attempts and entry.attempts[-1].ended is None:  # a policy at the gateway wanted it: the attempt was not made
        entry.attempts = entry.attempts[:-1]
    over(entry, at)
    gate = Gate(approval_id=data.approval_id, role=data.role, began=at, until=when(data.expires_at), quorum=data.quorum)
    gate.reason, gate.rule, gate.policy_version = tale.words(data.reason), data.rule, data.policy_version
    entry.gates = [*entry.gates, gate]
    return entry


def _given(tale: Chronicle, _at: datetime, data: ev.ApprovalGiven) -> Entry | None:
    entry = tale.open.get(data.call_id)
    if entry is not None and entry.gates:
        entry.gates[-1].given_by = [*entry.gates[-1].given_by, data.by]
    return entry


def _granted(tale: Chronicle, at: datetime, data: ev.ApprovalGranted) -> Entry | None:
    entry = tale.open.get(data.call_id)
    if entry is None:
        return None
    by = ", ".join(data.given_by or [data.by])
    _gate_over(entry, at, "granted", by, tale.words(data.reason))
    if entry.effect:
        _sent(entry, 1, at)
    else:
        _waits(entry, Wait(what="host", began=at))
    return entry


def _denied(tale: Chronicle, at: datetime, data: ev.ApprovalDenied) -> Entry | None:
    entry = tale.open.get(data.call_id)
    if entry is not None:
        _gate_over(entry, at, "denied", data.by, tale.words(data.reason))
    return entry


def _edited(tale: Chronicle, at: datetime, data: ev.ApprovalEdited) -> Entry | None:
    entry = tale.open.get(data.call_id)
    if entry is not None:
        _gate_over(entry, at, "edited", data.by, tale.words(data.reason))
        _edited_call(tale, entry, Edit(by=data.by, args_digest=data.args_digest, args=data.args))
    return entry


def _expired(tale: Chronicle, at: datetime, data: ev.ApprovalExpired) -> Entry | None:
    entry = tale.open.get(data.call_id)
    if entry is not None:
        _gate_over(entry, at, "expired")
    return entry


def _escalated(tale: Chronicle, at: datetime, data: ev.ApprovalEscalated) -> Entry | None:
    entry = tale.open.get(data.call_id)
    if entry is not None:
        _gate_over(entry, at, "escalated", why=f"asked of {data.role} instead")
    return entry


# -- parts of an entry


def over(entry: Entry, at: datetime) -> None:
    """Whatever the entry waited for is over."""
    for wait in entry.waits:
        wait.ended = wait.ended or at


def _waits(entry: Entry, wait: Wait) -> None:
    entry.waits = [*entry.waits, wait]


def _sent(entry: Entry, number: int, at: datetime, mode: Any = "execute") -> None:
    if not entry.attempts or entry.attempts[-1].ended is not None or entry.attempts[-1].mode != mode:
        entry.attempts = [*entry.attempts, Attempt(number=number, began=at, mode=mode)]


def _tried(entry: Entry, number: int, at: datetime, outcome: Any, error: str) -> None:
    """The attempt that is under way has ended; an answer of one that was overtaken is told as such by its number."""
    if not entry.attempts or entry.attempts[-1].ended is not None:
        return
    attempt = entry.attempts[-1]
    attempt.ended, attempt.outcome, attempt.error = at, outcome, error
    if attempt.mode == "reconcile" and outcome == "failed":
        attempt.outcome = "not done" if error.startswith("NotExecuted") else "failed"
    attempt.number = number or attempt.number


def _gate_over(entry: Entry, at: datetime, decision: Any, by: str = "", why: str = "") -> None:
    if entry.gates and not entry.gates[-1].decision:
        gate = entry.gates[-1]
        gate.decision, gate.ended, gate.by, gate.why = decision, at, by, why


def _edited_call(tale: Chronicle, entry: Entry, edit: Edit | None) -> None:
    if edit is not None and edit.args is not UNSET:
        shown = tale.value(genai.TOOL_CALL_ARGUMENTS, edit.args, UNSET)
        line = f"{edit.by} changed the arguments{f' to {shown}' if shown else ''}"
        if line not in entry.more:
            entry.more = [*entry.more, line]


def _error(tale: Chronicle, data: ev.ToolAttemptFailed | ev.ToolCallFailed | ev.ToolCallInDoubt) -> str:
    return f"{data.error.type}: {tale.words(data.error.message)}"


HANDLERS: dict[type[ev.Data], Callable[[Chronicle, datetime, Any], Entry | None]] = {
    ev.ToolCallRequested: _requested,
    ev.CallFunded: _funded,
    ev.ToolCallDispatched: _dispatched,
    ev.ToolAttemptFailed: _attempt_failed,
    ev.ToolCallDeferred: _deferred,
    ev.ToolCallInDoubt: _in_doubt,
    ev.ToolCallCompleted: _completed,
    ev.ToolCallFailed: _failed,
    ev.ToolCallCancelled: _cancelled,
    ev.ToolCallCancelRequested: _cancel_requested,
    ev.ApprovalRequested: _asked,
    ev.ApprovalGiven: _given,
    ev.ApprovalGranted: _granted,
    ev.ApprovalDenied: _denied,
    ev.ApprovalEdited: _edited,
    ev.ApprovalExpired: _expired,
    ev.ApprovalEscalated: _escalated,
}
