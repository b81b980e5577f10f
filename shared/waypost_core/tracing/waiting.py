"""The fold of everything else that a run asks for: local steps and model calls, children, timers, signals, answers. Part of `run`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from msgspec import UnsetType

from waypost_core import genai
from waypost_core.tracing.open import Call
from waypost_core.tracing.said import output_messages
from waypost_core.tracing.shapes import shape_of_chat, shape_of_child, shape_of_step
from waypost_core.tracing.spans import Attributes, Link, Span, moment, trace_id_of
from waypost_proto import events as ev
from waypost_proto.ids import CallId, span_id
from waypost_proto.models import ModelCall
from waypost_proto.values import RunStatus

if TYPE_CHECKING:
    from waypost_core.tracing.run import RunTrace

Out = list[Span]
Step = ev.StepCompleted | ev.StepFailed

# -- local steps


def times_of(trace: RunTrace, data: Step, at_us: int) -> tuple[int, int]:
    """When a local step began and ended, by its worker's clock, kept between the run's start and the commit that records it."""
    started_us, end_us = trace.started_us, round(data.at * 1e6)
    if not started_us <= end_us <= at_us:
        end_us = min(max(end_us, started_us), at_us)
    start_us = end_us - round(data.duration_seconds * 1e6)
    return max(started_us, start_us), end_us


def local_step(trace: RunTrace, seq: int, data: Step, at_us: int, parent: bytes) -> Span:
    """The span of a local step; of one that asked a model, under its reasoning step."""
    start_us, end_us = times_of(trace, data, at_us)
    error = None
    attributes: Attributes = {genai.SEQ: seq, genai.CALL_ID: data.call_id}
    if isinstance(data, ev.StepFailed):
        attributes[genai.ERROR_TYPE] = data.error.type
        error = trace.capture.error(data.error.message)
    if data.model is None:
        shape = shape_of_step(trace.agent, data.name)
    else:
        parent = span_id(trace.run_id, seq, "plan")
        shape = shape_of_chat(trace.agent, data.model.model, data.model.provider)
        _of_model(trace, data.model, attributes)
    if trace.capture.content and isinstance(data, ev.StepCompleted):
        _result(trace, data, attributes)
    return Span(trace.trace_id, span_id(trace.run_id, seq), parent, shape, start_us, max(start_us, end_us), attributes, error)


def _of_model(trace: RunTrace, model: ModelCall, attributes: Attributes) -> None:
    attributes[genai.MODEL_ATTEMPTS] = model.attempts
    if model.finish:
        attributes[genai.RESPONSE_FINISH_REASONS] = [model.finish]
    if model.first_token_seconds is not None:
        attributes[genai.RESPONSE_TIME_TO_FIRST_CHUNK] = model.first_token_seconds
    for name, value in (
        (genai.RESPONSE_MODEL, model.answered_by),
        (genai.RESPONSE_ID, model.response_id),
        (genai.USAGE_INPUT_TOKENS, model.input_tokens),
        (genai.USAGE_OUTPUT_TOKENS, model.output_tokens),
        (genai.USAGE_CACHE_READ_INPUT_TOKENS, model.cached_tokens),
        (genai.USAGE_REASONING_OUTPUT_TOKENS, model.reasoning_tokens),
        (genai.REQUEST_DIGEST, model.request_digest),
        (genai.INTENT, trace.capture.text(genai.INTENT, model.intent) if trace.capture.intent and model.intent else ""),
    ):
        if value:
            attributes[name] = value


def _result(trace: RunTrace, data: ev.StepCompleted, attributes: Attributes) -> None:
    if data.model is None:
        _optional(attributes, genai.OUTPUT, trace.capture.value(genai.OUTPUT, data.result, data.result_ref))
    elif isinstance(data.result, UnsetType):
        _optional(attributes, genai.OUTPUT_MESSAGES, trace.capture.value(genai.OUTPUT_MESSAGES, data.result, data.result_ref))
    else:
        said = output_messages(bytes(data.result), data.model.finish)
        attributes[genai.OUTPUT_MESSAGES] = trace.capture.text(genai.OUTPUT_MESSAGES, said)


def _optional(attributes: Attributes, name: str, value: str) -> None:
    if value:
        attributes[name] = value


def _step_requested(trace: RunTrace, seq: int, at_us: int, data: ev.StepRequested, _out: Out) -> None:
    if data.unfunded:
        trace.wait(data.call_id, "budget", seq, at_us, attributes={genai.STEP_NAME: data.name})


# -- children


def _child_requested(trace: RunTrace, seq: int, at_us: int, data: ev.ChildRequested, _out: Out) -> None:
    attributes: Attributes = {
        genai.CALL_ID: data.call_id,
        genai.CHILD_RUN: data.child_run_id,
        genai.SEQ: seq,
    }
    _optional(attributes, genai.INPUT, trace.capture.value(genai.INPUT, data.input, data.input_ref))
    if data.because is not None:
        attributes[genai.BECAUSE] = data.because
    call = Call("child", seq, data.child_agent, at_us, attributes, data.because, unfunded=data.unfunded, child=data.child_run_id)
    trace.asked(data.call_id, call)


def _child_completed(trace: RunTrace, _seq: int, at_us: int, data: ev.ChildCompleted, out: Out) -> None:
    shown = trace.capture.value(genai.OUTPUT, data.result, data.result_ref)
    _child_ends(trace, data.call_id, at_us, out, {genai.RUN_STATUS: "completed", genai.OUTPUT: shown}, None)


def _child_failed(trace: RunTrace, _seq: int, at_us: int, data: ev.ChildFailed, out: Out) -> None:
    error = trace.capture.error(data.error.message) if data.status is RunStatus.FAILED else None
    more: Attributes = {genai.RUN_STATUS: str(data.status), genai.ERROR_TYPE: "" if error is None else data.error.type}
    _child_ends(trace, data.call_id, at_us, out, more, error)


def _child_ends(trace: RunTrace, call_id: CallId, at_us: int, out: Out, more: Attributes, error: str | None) -> None:
    call = trace.calls.pop(call_id, None)
    if call is None:
        return
    trace.wait_over(call_id, at_us, out)
    call.attributes.update((name, value) for name, value in more.items() if value != "")
    out.append(_child(trace, call, at_us, error))
    trace.settled(call.because, at_us)


def _child(trace: RunTrace, call: Call, at_us: int, error: str | None = None) -> Span:
    assert call.child is not None
    links = [Link(trace_id_of(call.child), span_id(call.child, 1), "child")]
    shape, start_us, shown = shape_of_child(call.name), call.start_us, dict(call.attributes)
    return Span(trace.trace_id, call.span, call.parent, shape, start_us, max(start_us, at_us), shown, error, links=links)


def _child_cancel(trace: RunTrace, _seq: int, _at_us: int, data: ev.ChildCancelRequested, _out: Out) -> None:
    call = trace.calls.get(data.call_id)
    if call is not None:
        call.attributes[genai.DECISION] = "no longer wanted"


# -- timers, signals, answers


def _timer_started(trace: RunTrace, seq: int, at_us: int, data: ev.TimerStarted, _out: Out) -> None:
    trace.wait(data.call_id, "timer", seq, at_us, attributes={genai.UNTIL: moment(data.fire_at)})


def _timer_fired(trace: RunTrace, _seq: int, at_us: int, data: ev.TimerFired, out: Out) -> None:
    trace.wait_over(data.call_id, at_us, out, **{genai.DECISION: "fired"})


def _cancelled(trace: RunTrace, _seq: int, at_us: int, data: ev.TimerCancelled | ev.SignalWaitCancelled, out: Out) -> None:
    trace.wait_over(data.call_id, at_us, out, **{genai.DECISION: "cancelled"})


def _signal_awaited(trace: RunTrace, seq: int, at_us: int, data: ev.SignalAwaited, _out: Out) -> None:
    unread = trace.signals.pop(data.name, 0)
    if unread:
        if unread > 1:
            trace.signals[data.name] = unread - 1
        return
    trace.wait(data.call_id, "signal", seq, at_us, attributes={genai.SIGNAL_NAME: data.name})


def _signal_received(trace: RunTrace, _seq: int, at_us: int, data: ev.SignalReceived, out: Out) -> None:
    trace.happened(at_us, "signal_received", signal=data.name, by=data.by)
    for key, wait in trace.waits.items():
        if wait.what == "signal" and wait.attributes.get(genai.SIGNAL_NAME) == data.name:
            trace.wait_over(key, at_us, out, **{genai.DECISION: "received", genai.DECIDED_BY: data.by})
            return
    trace.signals[data.name] = trace.signals.get(data.name, 0) + 1


def _question_asked(trace: RunTrace, seq: int, at_us: int, data: ev.QuestionAsked, _out: Out) -> None:
    attributes: Attributes = {genai.ROLE: data.role, genai.APPROVAL_ID: data.question_id, genai.UNTIL: moment(data.expires_at)}
    if trace.capture.content:
        attributes[genai.QUESTION] = trace.capture.text(genai.QUESTION, data.question)
    trace.wait(data.call_id, "answer", seq, at_us, attributes=attributes)


def _question_answered(trace: RunTrace, _seq: int, at_us: int, data: ev.QuestionAnswered, out: Out) -> None:
    trace.wait_over(data.call_id, at_us, out, **{genai.DECISION: "answered", genai.DECIDED_BY: data.by})


def _question_unanswered(trace: RunTrace, _seq: int, at_us: int, data: ev.QuestionUnanswered, out: Out) -> None:
    decision = "declined" if data.by else "expired"
    trace.wait_over(data.call_id, at_us, out, **{genai.DECISION: decision, genai.DECIDED_BY: data.by})


def _question_withdrawn(trace: RunTrace, _seq: int, at_us: int, data: ev.QuestionWithdrawn, out: Out) -> None:
    trace.wait_over(data.call_id, at_us, out, **{genai.DECISION: "withdrawn"})


def so_far(trace: RunTrace, _call_id: CallId, call: Call, now_us: int) -> Out:
    """An open child, as if it ended now."""
    return [_child(trace, call, now_us)]


HANDLERS: dict[type[ev.Data], Callable[[RunTrace, int, int, Any, Out], None]] = {
    ev.StepRequested: _step_requested,
    ev.ChildRequested: _child_requested,
    ev.ChildCompleted: _child_completed,
    ev.ChildFailed: _child_failed,
    ev.ChildCancelRequested: _child_cancel,
    ev.TimerStarted: _timer_started,
    ev.TimerFired: _timer_fired,
    ev.TimerCancelled: _cancelled,
    ev.SignalAwaited: _signal_awaited,
    ev.SignalWaitCancelled: _cancelled,
    ev.SignalReceived: _signal_received,
    ev.QuestionAsked: _question_asked,
    ev.QuestionAnswered: _question_answered,
    ev.QuestionUnanswered: _question_unanswered,
    ev.QuestionWithdrawn: _question_withdrawn,
}
