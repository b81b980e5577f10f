"""Spans as OTLP JSON (opentelemetry-proto's JSON mapping: ids in hex, 64-bit numbers as strings, enums as numbers)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby
from operator import attrgetter
from typing import TypeAlias

from waypost_core.tracing.otlp_proto import SCOPE, of_service
from waypost_core.tracing.spans import Attributes, AttributeValue, Span
from waypost_proto.codec import encode

Json: TypeAlias = "str | int | float | bool | list[Json] | dict[str, Json] | None"


def resource_spans(spans: Iterable[Span], resource: Mapping[str, str], version: str) -> list[Json]:
    """The list that `TracesData` holds, as `otlp_proto.encode` groups and orders it."""
    found: list[Json] = []
    for service, group in groupby(sorted(spans, key=attrgetter("service")), key=attrgetter("service")):
        found.append(
            {
                "resource": {"attributes": key_values(dict(of_service(resource, service)))},
                "scopeSpans": [{"scope": {"name": SCOPE, "version": version}, "spans": [of_span(span) for span in group]}],
            }
        )
    return found


def to_json(spans: Iterable[Span], resource: Mapping[str, str], version: str) -> bytes:
    """One `TracesData`."""
    return encode({"resourceSpans": resource_spans(spans, resource, version)})


def of_span(span: Span) -> Json:
    """One span."""
    found: dict[str, Json] = {"traceId": span.trace_id.hex(), "spanId": span.span_id.hex()}
    if span.parent_id:
        found["parentSpanId"] = span.parent_id.hex()
    found |= {
        "name": span.name,
        "kind": int(span.kind),
        "startTimeUnixNano": nanos(span.start_us),
        "endTimeUnixNano": nanos(span.end_us),
        "attributes": key_values(span.all_attributes),
    }
    if span.events:
        found["events"] = [
            {"timeUnixNano": nanos(event.at_us), "name": event.name, "attributes": key_values(event.attributes)} for event in span.events
        ]
    if span.dropped_events:
        found["droppedEventsCount"] = span.dropped_events
    if span.links:
        found["links"] = [
            {
                "traceId": link.trace_id.hex(),
                "spanId": link.span_id.hex(),
                "attributes": key_values({"waypost.link": link.what} if link.what else {}),
            }
            for link in span.links
        ]
    found["status"] = {} if span.error is None else {"code": 2, "message": span.error}
    return found


def nanos(micros: int) -> str:
    """Microseconds as nanoseconds, written as JSON's mapping of 64-bit numbers wants them."""
    return str(micros * 1000)


def key_values(attributes: Attributes) -> list[Json]:
    """Attributes as OTLP has them."""
    return [{"key": name, "value": any_value(value)} for name, value in attributes.items()]


def any_value(value: AttributeValue) -> Json:
    """One value, with its type."""
    match value:
        case str():
            return {"stringValue": value}
        case bool():
            return {"boolValue": value}
        case int():
            return {"intValue": str(value)}
        case float():
            return {"doubleValue": value}
        case list():
            return {"arrayValue": {"values": [any_value(item) for item in value]}}
