"""The fold of what is no tool call: local steps and model calls, children, timers, signals, questions. Part of `fold`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from msgspec import UNSET

from waypost_core import genai
from waypost_core.chronicle.entries import Entry, Wait, when
from waypost_proto import events as ev
from waypost_proto.usage import usd_of
from waypost_proto.values import RunStatus

if TYPE_CHECKING:
    from waypost_core.chronicle.fold import Chronicle

# -- local steps and model calls


def _step_requested(tale: Chronicle, at: datetime, data: ev.StepRequested) -> Entry:
    entry = tale.open.get(data.call_id)
    if entry is None:
        entry = tale.add(Entry(kind="step", seq=tale.seq, began=at, name=data.name, call_id=data.call_id))
    if data.unfunded:
        entry.waits = [*entry.waits, Wait(what="budget", began=at)]
    return entry


def _step(tale: Chronicle, at: datetime, data: ev.StepCompleted | ev.StepFailed) -> Entry:
    entry = tale.open.get(data.call_id)
    if entry is None:
        ended = min(max(when(data.at), tale.began), at)  # its worker's clock, kept between the run's start and the commit
        began = max(tale.began, ended - timedelta(seconds=min(data.duration_seconds, 1e9)))
        entry = tale.add(Entry(kind="step", seq=tale.seq, began=began, name=data.name, call_id=data.call_id))
    tale.used(data.usage, entry)
    if data.model is not None:
        _of_model(tale, entry, data)
    if isinstance(data, ev.StepFailed):
        entry.error = f"{data.error.type}: {tale.words(data.error.message)}"
        tale.close(data.call_id, at, "failed")
    else:
        entry.got = tale.value(genai.OUTPUT if data.model is None else genai.OUTPUT_MESSAGES, data.result, data.result_ref)
        tale.close(data.call_id, at, "completed")
    return entry


def _recalled(tale: Chronicle, at: datetime, data: ev.StepRecalled) -> Entry:
    """A step of a fork that has the source's result: told as a step, and not counted."""
    entry = tale.open.get(data.call_id) or tale.add(Entry(kind="step", seq=tale.seq, began=at, name=data.name, call_id=data.call_id))
    if data.model is not None:
        entry.kind, entry.name = "model", data.model.answered_by or data.model.model
        if data.model.intent and tale.capture.intent:
            entry.text = " ".join(tale.capture.text(genai.INTENT, data.model.intent).split())
    entry.got = tale.value(genai.OUTPUT, data.result, data.result_ref)
    if data.error is not None:
        entry.error = f"{data.error.type}: {tale.words(data.error.message)}"
    tale.close(data.call_id, at, "completed" if data.error is None else "failed")
    return entry


def _of_model(tale: Chronicle, entry: Entry, data: ev.StepCompleted | ev.StepFailed) -> None:
    model = data.model
    assert model is not None
    entry.kind = "model"
    entry.name = model.answered_by or model.model
    entry.input_tokens, entry.output_tokens = model.input_tokens, model.output_tokens
    if model.intent and tale.capture.intent:
        entry.text = " ".join(tale.capture.text(genai.INTENT, model.intent).split())
    entry.tried = [f"{one.model}: {one.error}{f': {tale.words(one.message)}' if one.message else ''}" for one in model.tried]
    if model.estimated:
        entry.more = [*entry.more, "the provider did not say what it counted: the tokens are our own count"]
    if data.usage is None and model.cost_micros:
        tale.cost_micros += model.cost_micros
        entry.cost_usd = usd_of(model.cost_micros)
    totals = tale.totals
    totals.model_calls += 1
    totals.input_tokens += model.input_tokens
    totals.output_tokens += model.output_tokens


# -- children


def _child_requested(tale: Chronicle, at: datetime, data: ev.ChildRequested) -> Entry:
    entry = Entry(kind="child", seq=tale.seq, began=at, name=data.child_agent, call_id=data.call_id, because=data.because or "")
    entry.child_run = data.child_run_id
    entry.given = tale.value(genai.INPUT, data.input, data.input_ref)
    if data.unfunded:
        entry.waits = [Wait(what="budget", began=at)]
    tale.totals.children += 1
    return tale.add(entry)


def _child_completed(tale: Chronicle, at: datetime, data: ev.ChildCompleted) -> Entry | None:
    _child_used(tale, data)
    return tale.close(data.call_id, at, "completed", got=tale.value(genai.OUTPUT, data.result, data.result_ref))


def _child_failed(tale: Chronicle, at: datetime, data: ev.ChildFailed) -> Entry | None:
    _child_used(tale, data)
    error = f"{data.error.type}: {tale.words(data.error.message)}"
    return tale.close(data.call_id, at, "failed" if data.status is RunStatus.FAILED else "cancelled", error=error)


def _child_used(tale: Chronicle, data: ev.ChildCompleted | ev.ChildFailed) -> None:
    if data.usage is not None:
        tale.totals.children_tokens += data.usage.tokens
        tale.children_micros += data.usage.cost_micros
        entry = tale.open.get(data.call_id)
        if entry is not None:
            entry.cost_usd = usd_of(data.usage.cost_micros)


def _child_cancel(tale: Chronicle, _at: datetime, data: ev.ChildCancelRequested) -> Entry | None:
    entry = tale.open.get(data.call_id)
    if entry is not None:
        entry.unwanted = True
    return entry


# -- timers, signals, questions


def _timer_started(tale: Chronicle, at: datetime, data: ev.TimerStarted) -> Entry:
    return tale.add(Entry(kind="timer", seq=tale.seq, began=at, call_id=data.call_id, until=when(data.fire_at)))


def _timer_fired(tale: Chronicle, at: datetime, data: ev.TimerFired) -> Entry | None:
    return tale.close(data.call_id, at, "fired")


def _no_longer(tale: Chronicle, at: datetime, data: ev.TimerCancelled | ev.SignalWaitCancelled) -> Entry | None:
    return tale.close(data.call_id, at, "cancelled")


def _signal_awaited(tale: Chronicle, at: datetime, data: ev.SignalAwaited) -> Entry:
    early = tale.signals.get(data.name, [])
    entry = tale.add(Entry(kind="signal", seq=tale.seq, began=at, call_id=data.call_id, name=data.name))
    if early:
        came = early.pop(0)
        tale.close(data.call_id, at, "received", got=came.given, by=came.by)
        entry.text = "it had arrived before"
    return entry


def _signal_received(tale: Chronicle, at: datetime, data: ev.SignalReceived) -> Entry:
    payload = tale.value(genai.INPUT, data.payload, data.payload_ref)
    for entry in tale.open.values():
        if entry.kind == "signal" and entry.name == data.name:
            tale.close(entry.call_id, at, "received", got=payload, by=data.by)
            return entry
    early = tale.note(at, f"signal {data.name!r} arrived; nobody waited for it yet", data.by)
    early.given = payload
    tale.signals.setdefault(data.name, []).append(early)
    return early


def _asked(tale: Chronicle, at: datetime, data: ev.QuestionAsked) -> Entry:
    entry = Entry(kind="question", seq=tale.seq, began=at, call_id=data.call_id, name=data.role, until=when(data.expires_at))
    entry.text = " ".join(tale.capture.text(genai.QUESTION, data.question).split()) if tale.capture.content else ""
    entry.via = data.question_id
    return tale.add(entry)


def _answered(tale: Chronicle, at: datetime, data: ev.QuestionAnswered) -> Entry | None:
    entry = tale.close(data.call_id, at, "answered", by=data.by, got=tale.value(genai.OUTPUT, data.answer, UNSET))
    if entry is not None and data.reason:
        entry.more = [*entry.more, f"reason: {tale.words(data.reason)}"]
    return entry


def _unanswered(tale: Chronicle, at: datetime, data: ev.QuestionUnanswered) -> Entry | None:
    return tale.close(data.call_id, at, "unanswered", by=data.by, error=f"{data.error.type}: {tale.words(data.error.message)}")


def _withdrawn(tale: Chronicle, at: datetime, data: ev.QuestionWithdrawn) -> Entry | None:
    return tale.close(data.call_id, at, "withdrawn")


HANDLERS: dict[type[ev.Data], Callable[[Chronicle, datetime, Any], Entry | None]] = {
    ev.StepRequested: _step_requested,
    ev.StepCompleted: _step,
    ev.StepRecalled: _recalled,
    ev.StepFailed: _step,
    ev.ChildRequested: _child_requested,
    ev.ChildCompleted: _child_completed,
    ev.ChildFailed: _child_failed,
    ev.ChildCancelRequested: _child_cancel,
    ev.TimerStarted: _timer_started,
    ev.TimerFired: _timer_fired,
    ev.TimerCancelled: _no_longer,
    ev.SignalAwaited: _signal_awaited,
    ev.SignalReceived: _signal_received,
    ev.SignalWaitCancelled: _no_longer,
    ev.QuestionAsked: _asked,
    ev.QuestionAnswered: _answered,
    ev.QuestionUnanswered: _unanswered,
    ev.QuestionWithdrawn: _withdrawn,
}
