"""A run's trace as a projection of its log: events in, spans out. Pure: no clock, no OpenTelemetry SDK, no I/O.

    trace = RunTrace(run_id, capture)
    for event in events:                       # in order of seq, from 1
        spans += trace.feed(event.seq, event.type, at_us, body)
    spans += trace.pending(now_us)             # what has not ended yet

The same log gives the same spans with the same ids, whoever projects it and however often.

spans        what a span is, kinds, links
capture      what of intents, arguments and results may be shown
reading      which events say something to a trace, and their decoders
run          the fold: activations and reasoning steps; it sends the rest to its families
course       the fold of model calls, pauses, warnings
calls        the fold of tool calls and their attempts
messaging    the messages that carry a run's work
said         what a model answered, as the GenAI conventions write it
shapes       what all spans of one sort have in common
waiting      the fold of children, timers, signals, questions, local steps
whole        the run's own span
open         what is remembered of what has not ended
otlp_json    spans as OTLP JSON
otlp_proto   spans as OTLP protobuf
"""

from waypost_core.tracing.capture import NOTHING, Capture
from waypost_core.tracing.run import RunTrace
from waypost_core.tracing.spans import Kind, Link, Span, SpanEvent, trace_id_of

__all__ = ["NOTHING", "Capture", "Kind", "Link", "RunTrace", "Span", "SpanEvent", "trace_id_of"]
