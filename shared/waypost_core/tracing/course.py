"""The course of a run: steps that ask models, pauses, warnings, what people say. Part of `run`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from waypost_core import genai
from waypost_core.tracing import calls, waiting
from waypost_core.tracing.open import Activation, Reasoning
from waypost_core.tracing.spans import Attributes, Span
from waypost_proto import events as ev

if TYPE_CHECKING:
    from waypost_core.tracing.run import RunTrace

PAUSED: Final = "#paused"
"""Key of the wait that a pause is."""


def _step(trace: RunTrace, seq: int, at_us: int, data: ev.StepCompleted | ev.StepFailed, _out: list[Span]) -> None:
    trace.waits.pop(data.call_id, None)
    if data.usage is not None:
        trace.cost += data.usage.cost_micros
    trace.steps.append((seq, data))
    if data.model is None:
        return
    trace.model_calls += 1
    trace.input_tokens += data.model.input_tokens
    trace.output_tokens += data.model.output_tokens
    start_us, end_us = waiting.times_of(trace, data, at_us)
    trace.reasons[data.call_id] = Reasoning(
        seq=seq,
        start_us=start_us,
        end_us=end_us,
        model=data.model.model,
        intent=trace.capture.text(genai.INTENT, data.model.intent) if trace.capture.intent and data.model.intent else "",
        error=trace.capture.error(data.error.message) if isinstance(data, ev.StepFailed) else None,
    )


def _paused(trace: RunTrace, seq: int, at_us: int, data: ev.RunPaused, out: list[Span]) -> None:
    trace.wait_over(PAUSED, at_us, out)
    attributes: Attributes = {**trace.trip, genai.REASON: data.reason}
    if data.by:
        attributes[genai.DECIDED_BY] = data.by
    trace.wait(PAUSED, "paused", seq, at_us, attributes=attributes)
    trace.paused, trace.trip = True, {}
    if trace.sent is not None and trace.sent.start_us == at_us:  # the same commit: it was not sent
        trace.sent = None
    calls.held_back(trace, at_us)


def _resumed(trace: RunTrace, _seq: int, at_us: int, data: ev.RunResumed, out: list[Span]) -> None:
    trace.wait_over(PAUSED, at_us, out, **{genai.DECISION: "resumed", genai.RESUMED_BY: data.by})
    trace.paused = False
    if trace.sent is None and trace.unread:
        trace.sent = Activation(trace.unread[-1], at_us)
    calls.sent_after_pause(trace, at_us)


def _tripped(trace: RunTrace, _seq: int, at_us: int, data: ev.BreakerTripped, _out: list[Span]) -> None:
    trace.trip = {genai.LIMIT: data.limit, genai.LIMIT_VALUE: data.value, genai.LIMIT_MAXIMUM: data.maximum}
    trace.happened(at_us, "breaker_tripped", limit=data.limit, value=data.value, maximum=data.maximum)


def _looped(trace: RunTrace, _seq: int, at_us: int, data: ev.LoopDetected, _out: list[Span]) -> None:
    trace.trip = {genai.LIMIT: f"loop:{data.kind}"}
    trace.happened(at_us, "loop_detected", kind=data.kind, times=data.times)


def _warned(trace: RunTrace, _seq: int, at_us: int, data: ev.LimitWarning, _out: list[Span]) -> None:
    trace.happened(at_us, "limit_warning", limit=data.limit, value=data.value, maximum=data.maximum)


def _deadline(trace: RunTrace, _seq: int, at_us: int, _data: ev.DeadlineNear, _out: list[Span]) -> None:
    trace.happened(at_us, "deadline_near")


def _escalated(trace: RunTrace, _seq: int, at_us: int, data: ev.NoticeEscalated, _out: list[Span]) -> None:
    trace.happened(at_us, "notice_escalated", why=data.why, level=data.level, to=data.to)


def _instructed(trace: RunTrace, _seq: int, at_us: int, data: ev.InstructionAdded, _out: list[Span]) -> None:
    trace.happened(at_us, "instruction_added", by=data.by)


def _ending(trace: RunTrace, _seq: int, at_us: int, data: ev.RunEnding, _out: list[Span]) -> None:
    trace.happened(at_us, "run_ending", outcome=data.outcome, by=data.by)


HANDLERS: dict[type[ev.Data], Callable[[RunTrace, int, int, Any, list[Span]], None]] = {
    ev.StepCompleted: _step,
    ev.StepFailed: _step,
    ev.RunPaused: _paused,
    ev.RunResumed: _resumed,
    ev.BreakerTripped: _tripped,
    ev.LoopDetected: _looped,
    ev.LimitWarning: _warned,
    ev.DeadlineNear: _deadline,
    ev.NoticeEscalated: _escalated,
    ev.InstructionAdded: _instructed,
    ev.RunEnding: _ending,
}
