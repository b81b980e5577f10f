"""The fold of tool calls: the call, each of its attempts, and what it waits for. Part of `run`.

An attempt is under way from the commit that sends it to the commit that records its answer. One that a gateway would not start (an open
breaker, a policy that wants an approval) is no attempt: the same number is sent again later, and that one is shown.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from waypost_core import genai
from waypost_core.tracing.messaging import sent
from waypost_core.tracing.open import Call
from waypost_core.tracing.shapes import shape_of_attempt, shape_of_call, shape_of_call_sent
from waypost_core.tracing.spans import Attributes, Span, moment
from waypost_proto import events as ev
from waypost_proto.ids import CallId, idempotency_key, span_id
from waypost_proto.values import Effect

if TYPE_CHECKING:
    from waypost_core.tracing.run import RunTrace

Out = list[Span]


def _requested(trace: RunTrace, seq: int, at_us: int, data: ev.ToolCallRequested, _out: Out) -> None:
    attributes: Attributes = {
        genai.TOOL_CALL_ID: data.call_id,
        genai.SEQ: seq,
        genai.ARGS_DIGEST: data.args_digest,
    }
    effect = data.effect
    if effect is not None:
        attributes[genai.EFFECT] = effect.value
    if effect is not Effect.READ:
        attributes[genai.IDEMPOTENCY_KEY] = idempotency_key(trace.run_id, data.call_id)
    if data.because is not None:
        attributes[genai.BECAUSE] = data.because
    if trace.capture.content and (arguments := trace.capture.value(genai.TOOL_CALL_ARGUMENTS, data.args, data.args_ref)):
        attributes[genai.TOOL_CALL_ARGUMENTS] = arguments
    trace.tool_calls += 1
    call = Call("tool", seq, data.tool, at_us, attributes, data.because, unfunded=data.unfunded)
    trace.asked(data.call_id, call)
    if data.unfunded:
        return
    if effect is None:
        trace.wait(data.call_id, "host", seq, at_us, parent=call.span)
    elif data.approval is None:
        _sent(trace, call, at_us)


def _sent(trace: RunTrace, call: Call, at_us: int) -> None:
    if trace.paused:
        call.unsent = True
    elif not call.attempt_us:
        call.attempt_us = at_us


def _funded(trace: RunTrace, _seq: int, at_us: int, data: ev.CallFunded, out: Out) -> None:
    trace.wait_over(data.call_id, at_us, out)
    call = trace.calls.get(data.call_id)
    if call is not None and call.kind == "tool":
        call.unfunded = False
        _sent(trace, call, at_us)


def _dispatched(trace: RunTrace, seq: int, at_us: int, data: ev.ToolCallDispatched, out: Out) -> None:
    trace.wait_over(data.call_id, at_us, out)
    call = trace.calls.get(data.call_id)
    if call is None:
        return
    if data.effect is not None:
        call.attributes[genai.EFFECT] = str(data.effect)
    if data.mode == "reconcile":
        call.reconcile = (seq, at_us)
        return
    call.attempt = data.attempt
    _sent(trace, call, at_us)


def _attempt_failed(trace: RunTrace, seq: int, at_us: int, data: ev.ToolAttemptFailed, out: Out) -> None:
    call = trace.calls.get(data.call_id)
    if call is None:
        return
    _used(trace, data.usage)
    _tried(trace, call, at_us, out, error=(data.error.type, data.error.message))
    if data.next_attempt_at is not None:
        trace.wait_over(data.call_id, at_us, out)
        due: Attributes = {genai.ATTEMPT: data.attempt + 1, genai.MAX_ATTEMPTS: data.max_attempts, genai.ERROR_TYPE: data.error.type}
        due[genai.UNTIL] = moment(data.next_attempt_at)
        trace.wait(data.call_id, "retry", seq, at_us, parent=call.span, attributes=due)


def _deferred(trace: RunTrace, seq: int, at_us: int, data: ev.ToolCallDeferred, out: Out) -> None:
    call = trace.calls.get(data.call_id)
    if call is None:
        return
    start_us = call.attempt_us or at_us
    call.attempt_us = 0
    trace.wait_over(data.call_id, at_us, out)
    due: Attributes = {
        genai.ATTEMPT: data.attempt,
        genai.UNTIL: moment(data.next_attempt_at),
        genai.REASON: trace.capture.error(data.message),
    }
    trace.wait(data.call_id, data.why, seq, start_us, parent=call.span, attributes=due)


def _in_doubt(trace: RunTrace, seq: int, at_us: int, data: ev.ToolCallInDoubt, out: Out) -> None:
    call = trace.calls.get(data.call_id)
    if call is None:
        return
    _tried(trace, call, at_us, out, error=(data.error.type, data.error.message), decision="in doubt")
    trace.wait_over(data.call_id, at_us, out)
    doubt: Attributes = {genai.ATTEMPT: data.attempt, genai.ERROR_TYPE: data.error.type}
    if data.reconcile_at is not None:
        doubt[genai.UNTIL] = moment(data.reconcile_at)
    trace.wait(data.call_id, "doubt", seq, at_us, parent=call.span, attributes=doubt)


def _completed(trace: RunTrace, _seq: int, at_us: int, data: ev.ToolCallCompleted, out: Out) -> None:
    call = trace.calls.pop(data.call_id, None)
    if call is None:
        return
    if data.usage is not None:
        trace.cost += data.usage.cost_micros
    if data.call_id in trace.waits:
        trace.wait_over(data.call_id, at_us, out, **{genai.DECIDED_BY: data.by})
    overtaken = "" if data.attempt == call.attempt else f"attempt {data.attempt} has answered"
    seconds = 0.0 if overtaken else data.duration_seconds
    _tried(trace, call, at_us, out, None, overtaken or ("" if data.via == "call" else data.via), seconds)
    more: Attributes = {genai.ATTEMPTS: max(call.attempt, data.attempt), genai.VIA: data.via}
    if data.taint:
        more[genai.TAINT] = list(data.taint)
    if trace.capture.content:
        more[genai.TOOL_CALL_RESULT] = trace.capture.value(genai.TOOL_CALL_RESULT, data.result, data.result_ref)
    if data.by:
        more[genai.DECIDED_BY] = data.by
    _closed(trace, call, at_us, out, more, None)


def _failed(trace: RunTrace, _seq: int, at_us: int, data: ev.ToolCallFailed, out: Out) -> None:
    call = trace.calls.pop(data.call_id, None)
    if call is None:
        return
    _used(trace, data.usage)
    trace.wait_over(data.call_id, at_us, out)
    _tried(trace, call, at_us, out, error=(data.error.type, data.error.message))
    more: Attributes = {genai.ATTEMPTS: call.attempt, genai.ERROR_TYPE: data.error.type, genai.DECIDED_BY: data.by}
    if data.taint:
        more[genai.TAINT] = list(data.taint)
    _closed(trace, call, at_us, out, more, trace.capture.error(data.error.message))


def _cancelled(trace: RunTrace, _seq: int, at_us: int, data: ev.ToolCallCancelled, out: Out) -> None:
    call = trace.calls.pop(data.call_id, None)
    if call is None:
        return
    trace.wait_over(data.call_id, at_us, out, **{genai.DECISION: "cancelled"})
    _tried(trace, call, at_us, out, decision="cancelled")
    _closed(trace, call, at_us, out, {genai.DECISION: "cancelled"}, None)


def _cancel_requested(trace: RunTrace, _seq: int, _at_us: int, data: ev.ToolCallCancelRequested, _out: Out) -> None:
    call = trace.calls.get(data.call_id)
    if call is not None:
        call.attributes[genai.DECISION] = "no longer wanted"


# -- approvals


def _approval_requested(trace: RunTrace, seq: int, at_us: int, data: ev.ApprovalRequested, out: Out) -> None:
    call = trace.calls.get(data.call_id)
    if call is None:
        return
    start_us = call.attempt_us or at_us  # a policy at the gateway wanted it: the attempt was not made
    call.attempt_us, call.unsent = 0, False
    trace.wait_over(data.call_id, at_us, out)
    attributes: Attributes = {genai.ROLE: data.role, genai.APPROVAL_ID: data.approval_id, genai.UNTIL: moment(data.expires_at)}
    attributes[genai.ARGS_DIGEST] = data.args_digest
    for name, value in ((genai.POLICY_RULE, data.rule), (genai.POLICY_VERSION, data.policy_version)):
        if value:
            attributes[name] = value
    trace.wait(data.call_id, "approval", seq, start_us, parent=call.span, attributes=attributes)


def _approval_granted(trace: RunTrace, seq: int, at_us: int, data: ev.ApprovalGranted, out: Out) -> None:
    _decided(trace, at_us, data, out, "granted")
    call = trace.calls.get(data.call_id)
    if call is None or call.unfunded:
        return
    if genai.EFFECT not in call.attributes:
        trace.wait(data.call_id, "host", seq, at_us, parent=call.span)
    else:
        _sent(trace, call, at_us)


def _decided(trace: RunTrace, at_us: int, data: ev.ApprovalGranted | ev.ApprovalDenied | ev.ApprovalEdited, out: Out, what: str) -> None:
    by = ", ".join(data.given_by) if isinstance(data, ev.ApprovalGranted) and data.given_by else data.by
    reason = trace.capture.text(genai.DECISION_REASON, data.reason) if data.reason and trace.capture.content else ""
    trace.wait_over(data.call_id, at_us, out, **{genai.DECISION: what, genai.DECIDED_BY: by, genai.DECISION_REASON: reason})


def _approval_denied(trace: RunTrace, _seq: int, at_us: int, data: ev.ApprovalDenied, out: Out) -> None:
    _decided(trace, at_us, data, out, "denied")


def _approval_edited(trace: RunTrace, _seq: int, at_us: int, data: ev.ApprovalEdited, out: Out) -> None:
    _decided(trace, at_us, data, out, "edited")
    call = trace.calls.get(data.call_id)
    if call is not None:
        call.attributes[genai.ARGS_DIGEST] = data.args_digest
        if trace.capture.content:
            call.attributes[genai.TOOL_CALL_ARGUMENTS] = trace.capture.text(
                genai.TOOL_CALL_ARGUMENTS, bytes(data.args).decode("utf-8", "replace")
            )


def _approval_expired(trace: RunTrace, _seq: int, at_us: int, data: ev.ApprovalExpired, out: Out) -> None:
    trace.wait_over(data.call_id, at_us, out, **{genai.DECISION: "expired"})


def _approval_escalated(trace: RunTrace, _seq: int, at_us: int, data: ev.ApprovalEscalated, out: Out) -> None:
    trace.wait_over(data.call_id, at_us, out, **{genai.DECISION: f"escalated to {data.role}"})


def _approval_given(trace: RunTrace, _seq: int, at_us: int, data: ev.ApprovalGiven, _out: Out) -> None:
    trace.happened(at_us, "approval_given", by=data.by, given=data.given, quorum=data.quorum)


# -- spans


def _tried(
    trace: RunTrace, call: Call, at_us: int, out: Out, error: tuple[str, str] | None = None, decision: str = "", seconds: float = 0.0
) -> None:
    """The attempt, or the question whether it took effect, that was under way has ended."""
    _attempt(trace, call, at_us, out, error, decision, seconds)
    call.attempt_us, call.reconcile = 0, None


def _attempt(
    trace: RunTrace, call: Call, at_us: int, out: Out, error: tuple[str, str] | None = None, decision: str = "", seconds: float = 0.0
) -> None:
    if not call.attempt_us and call.reconcile is None:
        return
    seq, start_us = call.reconcile or (call.seq, call.attempt_us)
    asked = call.reconcile is not None
    mine = span_id(trace.run_id, seq, 0 if asked else call.attempt)
    parent = sent(trace, shape_of_call_sent(trace.prefix, trace.agent, call.name), mine, start_us, call.span, out)
    shape = shape_of_attempt(trace.prefix, trace.agent, call.name, "reconcile" if asked else "attempt")
    attributes: Attributes = {genai.TOOL_CALL_ID: call.attributes[genai.TOOL_CALL_ID], genai.ATTEMPT: call.attempt}
    if decision:
        attributes[genai.DECISION] = decision
    if seconds:
        attributes[genai.EXECUTION_SECONDS] = seconds
    message = None
    if error is not None:
        attributes[genai.ERROR_TYPE] = error[0]
        message = trace.capture.error(error[1])
    end_us = max(start_us, at_us)
    out.append(Span(trace.trace_id, mine, parent, shape, start_us, end_us, attributes, message))


def _closed(trace: RunTrace, call: Call, at_us: int, out: Out, more: Attributes, error: str | None) -> None:
    attributes = call.attributes
    for name, value in more.items():
        if value != "":
            attributes[name] = value
    out.append(_whole(trace, call, at_us, attributes, error))
    if call.because is not None:
        trace.settled(call.because, at_us)


def _whole(trace: RunTrace, call: Call, at_us: int, attributes: Attributes, error: str | None = None) -> Span:
    shape, start_us = shape_of_call(trace.agent, call.name), call.start_us
    return Span(trace.trace_id, call.span, call.parent, shape, start_us, max(start_us, at_us), attributes, error)


def _used(trace: RunTrace, usage: Any) -> None:
    if usage is not None:
        trace.cost += usage.cost_micros


def so_far(trace: RunTrace, _call_id: CallId, call: Call, now_us: int) -> Out:
    """An open call and what is under way of it, as if they ended now."""
    out: Out = []
    _attempt(trace, call, now_us, out)
    out.append(_whole(trace, call, now_us, dict(call.attributes)))
    return out


def held_back(trace: RunTrace, at_us: int) -> None:
    """The run was paused by the commit of `at_us`: what the same commit would have sent is not sent."""
    for call in trace.calls.values():
        if call.kind == "tool" and call.attempt_us == at_us:
            call.attempt_us, call.unsent = 0, True


def sent_after_pause(trace: RunTrace, at_us: int) -> None:
    """The run goes on: what was held back is sent."""
    for call in trace.calls.values():
        if call.unsent:
            call.unsent, call.attempt_us = False, at_us


HANDLERS: dict[type[ev.Data], Callable[[RunTrace, int, int, Any, Out], None]] = {
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
    ev.ApprovalRequested: _approval_requested,
    ev.ApprovalGranted: _approval_granted,
    ev.ApprovalDenied: _approval_denied,
    ev.ApprovalEdited: _approval_edited,
    ev.ApprovalExpired: _approval_expired,
    ev.ApprovalEscalated: _approval_escalated,
    ev.ApprovalGiven: _approval_given,
}
