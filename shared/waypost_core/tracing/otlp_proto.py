"""Spans as OTLP protobuf (opentelemetry-proto 1.x, `TracesData`, which is also the body of an export request).

Written by hand because it is on the path of every step: an attribute that was seen before costs a dictionary look-up instead of two
objects (measured, decision 0291). Fields go out in the order of their numbers, as protobuf's own serializer writes them, so the bytes are
those that it would make; a test compares them.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from functools import lru_cache
from itertools import groupby
from operator import attrgetter

from waypost_core import genai
from waypost_core.tracing.spans import Attributes, AttributeValue, Fixed, Link, Span, SpanEvent

SCOPE = "waypost"
_MAX_CACHED_CHARS = 128
_IDS = struct.Struct("2s16s2s8s")
_TIMES = struct.Struct("<cQcQ")
_DOUBLE = struct.Struct("<d")
_ERROR = 2


def encode(spans: Iterable[Span], resource: Mapping[str, str], version: str) -> bytes:
    """One `TracesData`: a resource for each service that the spans belong to, in the order of the services' names."""
    ordered = sorted(spans, key=attrgetter("service"))  # stable: within a service the order stays
    scope = _field(1, _field(1, SCOPE.encode()) + _field(2, version.encode()))
    parts = []
    for service, group in groupby(ordered, key=attrgetter("service")):
        described = _field(1, b"".join(_field(1, _attribute(name, value)) for name, value in of_service(resource, service).items()))
        parts.append(_field(1, described + _field(2, scope + b"".join(map(_span, group)))))
    return b"".join(parts)


def of_service(resource: Mapping[str, str], service: str) -> dict[str, str]:
    """The resource's attributes for spans of one service: `service.name` is `<namespace>-<service>` unless one was given for all."""
    name = resource.get(genai.SERVICE_NAME) or f"{resource.get(genai.SERVICE_NAMESPACE, SCOPE)}-{service}"
    return {**resource, genai.SERVICE_NAME: name}


def _span(span: Span) -> bytes:
    parts = [
        _IDS.pack(b"\x0a\x10", span.trace_id, b"\x12\x08", span.span_id),
        b"\x22\x08" + span.parent_id if span.parent_id else b"",
        _named(span.name, span.kind),
        _TIMES.pack(b"\x39", span.start_us * 1000, b"\x41", span.end_us * 1000),
        _fixed(span.fixed),
    ]
    for name, value in span.attributes.items():
        kind = type(value)
        if (kind is str and len(value) <= _MAX_CACHED_CHARS) or (kind is int and -1 <= value < 1_000):  # type: ignore[arg-type, operator]
            parts.append(_kept(name, value))  # type: ignore[arg-type]
        else:
            parts.append(_field(9, _attribute(name, value)))
    if span.events or span.links:
        parts.extend(_field(11, _event(event)) for event in span.events)
        if span.dropped_events:
            parts.append(b"\x60" + _varint(span.dropped_events))
        parts.extend(_field(13, _link(link)) for link in span.links)
    if span.error is not None:
        message = _field(2, span.error.encode("utf-8", "replace")) if span.error else b""
        parts.append(_field(15, message + bytes((0x18, _ERROR))))
    body = b"".join(parts)
    return b"\x12" + _varint(len(body)) + body


@lru_cache(maxsize=4_096)
def _named(name: str, kind: int) -> bytes:
    return _field(5, name.encode()) + b"\x30" + _varint(kind)


@lru_cache(maxsize=8_192)
def _fixed(fixed: Fixed) -> bytes:
    return _attributes(9, fixed.attributes)


def _event(event: SpanEvent) -> bytes:
    return b"\x09" + (event.at_us * 1000).to_bytes(8, "little") + _field(2, event.name.encode()) + _attributes(3, event.attributes)


def _link(link: Link) -> bytes:
    said = _field(4, _attribute("waypost.link", link.what)) if link.what else b""
    return b"\x0a\x10" + link.trace_id + b"\x12\x08" + link.span_id + said


def _attributes(number: int, attributes: Attributes) -> bytes:
    return b"".join(_field(number, _attribute(name, value)) for name, value in attributes.items())


@lru_cache(maxsize=16_384)
def _kept(name: str, value: str | int) -> bytes:
    """An attribute of a span with its tag. What is short is kept: most values were seen before."""
    return _field(9, _attribute(name, value))


def _attribute(name: str, value: AttributeValue) -> bytes:
    return _field(1, name.encode()) + _field(2, _value(value))


def _value(value: AttributeValue) -> bytes:
    match value:
        case str():
            return _field(1, value.encode("utf-8", "replace"))
        case bool():
            return b"\x10\x01" if value else b"\x10\x00"
        case int():
            return b"\x18" + _varint(value & 0xFFFF_FFFF_FFFF_FFFF)
        case float():
            return b"\x21" + _DOUBLE.pack(value)
        case list():
            return _field(5, b"".join(_field(1, _value(item)) for item in value))


def _field(number: int, data: bytes) -> bytes:
    """A length-delimited field."""
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _varint(number: int) -> bytes:
    if number < 128:
        return bytes((number,))
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)
