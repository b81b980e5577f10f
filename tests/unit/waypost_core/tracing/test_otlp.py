"""OTLP as others read it: the hand-written protobuf is what protobuf's own classes write, and the JSON says the same."""

from __future__ import annotations

import base64
import json

from google.protobuf.json_format import MessageToDict
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from waypost_core.tracing.otlp_json import to_json
from waypost_core.tracing.otlp_proto import Encoded, encode
from waypost_core.tracing.spans import Kind, Link, Shape, Span, SpanEvent

texts = st.text(st.characters(codec="utf-8"), max_size=200)
named = st.text(st.characters(codec="utf-8"), min_size=1, max_size=200)
"""What is empty or zero may be left out: we write it, protobuf does not, and both read the same."""
values = st.one_of(
    texts, st.integers(-(2**63), 2**63 - 1), st.booleans(), st.floats(allow_nan=False, allow_infinity=False), st.lists(texts, max_size=3)
)
attributes = st.dictionaries(named, values, max_size=6)
times = st.integers(1, 2**53)
spans = st.builds(
    Span,
    trace_id=st.binary(min_size=16, max_size=16),
    span_id=st.binary(min_size=8, max_size=8),
    parent_id=st.one_of(st.just(b""), st.binary(min_size=8, max_size=8)),
    shape=st.builds(
        Shape,
        named,
        st.dictionaries(st.sampled_from(("a", "b")), st.one_of(texts, st.integers(0, 2**40)), max_size=2),
        st.sampled_from(Kind),
        st.sampled_from(("worker", "gateway", "coordinator")),
    ),
    start_us=times,
    end_us=times,
    attributes=attributes,
    events=st.lists(st.builds(SpanEvent, at_us=times, name=named, attributes=attributes), max_size=2),
    links=st.lists(st.builds(Link, st.binary(min_size=16, max_size=16), st.binary(min_size=8, max_size=8), texts), max_size=2),
    error=st.one_of(st.none(), texts),
)
RESOURCE = {"service.namespace": "desk", "deployment.environment.name": "test"}


@given(st.lists(spans, max_size=5))
def test_protobuf_reads_what_we_write_and_would_write_the_same(found: list[Span]) -> None:
    body = encode(found, RESOURCE, "1.2")
    request = ExportTraceServiceRequest.FromString(body)
    assert request.SerializeToString(deterministic=True) == body
    assert sum(len(scope.spans) for part in request.resource_spans for scope in part.scope_spans) == len(found)


@given(st.lists(spans, max_size=5))
def test_json_says_what_protobuf_says(found: list[Span]) -> None:
    request = ExportTraceServiceRequest.FromString(encode(found, RESOURCE, "1.2"))
    assert _plain(json.loads(to_json(found, RESOURCE, "1.2"))) == _plain(_hex(MessageToDict(request)))


@given(st.lists(spans, min_size=1, max_size=9))
def test_what_is_halved_is_all_there_and_the_last_one_says_what_it_is(found: list[Span]) -> None:
    whole, ids = Encoded(), sorted(span.span_id for span in found)
    for span in found:
        whole.add([span])
    assert whole.body(RESOURCE, "1.2") == encode(found, RESOURCE, "1.2")
    left = [whole]
    while any(part.count > 1 for part in left):
        left = [half for part in left for half in (part.halves() if part.count > 1 else (part,))]
    assert all(part.count == 1 for part in left)
    requests = [ExportTraceServiceRequest.FromString(part.body(RESOURCE, "1.2")) for part in left]
    single = [request.resource_spans[0].scope_spans[0].spans[0] for request in requests]
    assert sorted(span.span_id for span in single) == ids
    assert [part.first() for part in left] == [(span.trace_id, span.name) for span in single]


def test_services_are_resources_of_their_own() -> None:
    def span(service: str) -> Span:
        return Span(b"t" * 16, service[:8].encode().ljust(8), b"", Shape(service, service=service), 1, 2)

    found = json.loads(to_json([span("worker"), span("gateway"), span("worker")], RESOURCE, "1.2"))["resourceSpans"]
    names = [{a["key"]: a["value"]["stringValue"] for a in part["resource"]["attributes"]}["service.name"] for part in found]
    assert names == ["desk-gateway", "desk-worker"]
    one = json.loads(to_json([span("worker")], {**RESOURCE, "service.name": "ours"}, "1.2"))["resourceSpans"][0]
    assert {"key": "service.name", "value": {"stringValue": "ours"}} in one["resource"]["attributes"]


def _hex(value: object) -> object:
    """protobuf's JSON has ids in base64, OTLP's in hex."""
    if isinstance(value, dict):
        ids = ("traceId", "spanId", "parentSpanId")
        return {key: base64.b64decode(item).hex() if key in ids else _hex(item) for key, item in value.items()}
    return [_hex(item) for item in value] if isinstance(value, list) else value


_NAMED = {"STATUS_CODE_ERROR": 2, **{f"SPAN_KIND_{kind.name}": int(kind) for kind in Kind}}


def _plain(value: object) -> object:
    """Without what either may leave out (zeros, empty lists and texts), enums as numbers, numbers as numbers."""
    if isinstance(value, dict):
        kept = {key: _number(key, _plain(item)) for key, item in value.items()}
        return {key: item for key, item in kept.items() if item not in ("", [], {}, 0)}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return _NAMED.get(value, value) if isinstance(value, str) else value


def _number(key: str, value: object) -> object:
    return int(value) if isinstance(value, str) and (key.endswith("UnixNano") or key == "intValue") else value
