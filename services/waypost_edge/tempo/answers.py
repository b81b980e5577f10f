"""The shapes of Tempo's answers (grafana/tempo, pkg/tempopb/tempo.proto, and its HTTP API's page)."""

from __future__ import annotations

from waypost_core.tracing import Span
from waypost_core.tracing.otlp_json import Json, any_value, nanos, resource_spans
from waypost_core.tracing.otlp_proto import encode as encode_traces
from waypost_edge.tempo.fields import Field, Trace, status_of, value_of
from waypost_edge.tempo.finding import Found, Match
from waypost_edge.tempo.traceql import Query
from waypost_proto.codec import encode

PARTIAL = "the run has more events than one answer may be made of (WAYPOST_TRACES_MAX_EVENTS): the trace is cut"


def trace_json(trace: Trace, version: str, *, v2: bool, whole: bool) -> bytes:
    """`/api/traces/{id}` (`batches`) or `/api/v2/traces/{id}` (`trace`); spans as in OTLP JSON."""
    spans = resource_spans(trace.spans, trace.resource, version)
    if not v2:
        return encode({"batches": spans})
    answer: dict[str, Json] = {"trace": {"resourceSpans": spans}, "metrics": {}}
    if not whole:
        answer |= {"status": "PARTIAL", "message": PARTIAL}
    return encode(answer)


def trace_proto(trace: Trace, version: str, *, v2: bool, whole: bool) -> bytes:
    """The same as protobuf: `TracesData`, or `TraceByIDResponse` (trace 1, metrics 2, status 3, message 4) around it."""
    body = encode_traces(trace.spans, trace.resource, version)
    if not v2:
        return body
    wrapped = b"\x0a" + _varint(len(body)) + body
    message = PARTIAL.encode()
    return wrapped if whole else wrapped + b"\x18\x01\x22" + _varint(len(message)) + message


def search_json(found: Found, query: Query) -> bytes:
    """`/api/search`."""
    jobs = {"completedJobs": 1, "totalJobs": 1 if found.complete else 2, "totalBlocks": 1}
    metrics: dict[str, Json] = {
        "inspectedTraces": found.runs_read,
        "inspectedSpans": str(sum(len(m.trace.spans) for m in found.matches)),
        **jobs,
    }
    return encode({"traces": [_match(match, query) for match in found.matches], "metrics": metrics})


def _match(match: Match, query: Query) -> Json:
    trace = match.trace
    shown = [*(condition.field for condition in query.conditions), *query.select]
    spans: list[Json] = [_span(trace, span, shown) for span in match.spans]
    span_set: Json = {"spans": spans, "matched": match.matched}
    services: dict[str, Json] = {}
    for service in sorted({trace.service_of(span) for span in trace.spans}):
        mine = [span for span in trace.spans if trace.service_of(span) == service]
        errors = sum(span.error is not None for span in mine)
        services[service] = {"spanCount": len(mine), **({"errorCount": errors} if errors else {})}
    return {
        "traceID": trace.root.trace_id.hex(),
        "rootServiceName": trace.service_of(trace.root),
        "rootTraceName": trace.root.name,
        "startTimeUnixNano": nanos(trace.start_us),
        "durationMs": round(trace.seconds * 1000),
        "spanSet": span_set,
        "spanSets": [span_set],
        "serviceStats": services,
    }


def _span(trace: Trace, span: Span, shown: list[Field]) -> Json:
    attributes: list[Json] = []
    seen = set()
    for field in shown:
        value = value_of(field, trace, span)
        if value is None or field.name in seen or field.name in ("name", "duration"):
            continue
        seen.add(field.name)
        attributes.append({"key": field.name, "value": any_value(value)})
    if "status" not in seen and span.error is not None:
        attributes.append({"key": "status", "value": {"stringValue": status_of(span)}})
    return {
        "spanID": span.span_id.hex(),
        "name": span.name,
        "startTimeUnixNano": nanos(span.start_us),
        "durationNanos": nanos(span.end_us - span.start_us),
        "attributes": attributes,
    }


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)
