"""The span of a whole run. Part of `run`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from waypost_core import genai
from waypost_core.tracing.shapes import shape_of_run
from waypost_core.tracing.spans import Attributes, Link, Span, parse_traceparent, trace_id_of
from waypost_proto import events as ev
from waypost_proto.ids import span_id
from waypost_proto.usage import usd_of

if TYPE_CHECKING:
    from waypost_core.tracing.run import RunTrace


def run_span(trace: RunTrace, status: str, end_us: int, data: ev.Data | None) -> Span:
    """The run's own span, the root of its trace. `status` is "" while it goes on; `data` is the event that ended it."""
    assert trace.start is not None
    given = trace.start.data
    operation = genai.INVOKE_AGENT if trace.model_calls else genai.INVOKE_WORKFLOW
    shape = shape_of_run(trace.agent, operation, trace.start.tenant)
    attributes: Attributes = {
        genai.CONVERSATION_ID: trace.start.correlation_id,
        genai.RUN_STATUS: status or ("paused" if trace.paused else "open"),
        genai.MODEL_CALLS: trace.model_calls,
        genai.TOOL_CALLS: trace.tool_calls,
        **{genai.LABEL + key: value for key, value in given.labels.items()},
    }
    optional: Attributes = {
        genai.AGENT_VERSION: trace.build,
        genai.STARTED_BY: given.starter,
        genai.PARENT_RUN: "" if given.parent is None else given.parent.run_id,
        genai.USAGE_INPUT_TOKENS: trace.input_tokens,
        genai.USAGE_OUTPUT_TOKENS: trace.output_tokens,
        genai.COST_USD: usd_of(trace.cost),
        genai.INPUT: trace.capture.value(genai.INPUT, given.input, given.input_ref),
        genai.TAINT: list(trace.tainted),
    }
    error = None
    match data:
        case ev.RunCompleted():
            optional[genai.OUTPUT] = trace.capture.value(genai.OUTPUT, data.result, data.result_ref)
        case ev.RunFailed():
            error = data.error.message
            optional[genai.ERROR_TYPE] = data.error.type
        case ev.RunCancelled():
            optional[genai.REASON] = data.reason
            optional[genai.DECIDED_BY] = data.by
    attributes.update((name, value) for name, value in optional.items() if value not in ("", 0, []))
    said = error if error is None else trace.capture.error(error)
    return Span(
        trace.trace_id,
        trace.root,
        b"",
        shape,
        trace.started_us,
        max(trace.started_us, end_us),
        attributes,
        said,
        list(trace.events),
        trace.dropped,
        _links(trace),
    )


def _links(trace: RunTrace) -> list[Link]:
    """The caller's span; of a child, the call in its parent's trace; of a fork, its source."""
    assert trace.start is not None
    fork = trace.start.data.fork
    source = [] if fork is None else [Link(trace_id_of(fork.run_id), span_id(fork.run_id, 1), "forked_from")]
    given = parse_traceparent(trace.start.data.trace)
    if given is None:
        return source
    return [*source, Link(*given, "caller" if trace.start.data.parent is None else "parent")]
