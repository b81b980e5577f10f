"""Spans as OTLP protobuf (opentelemetry-proto 1.x, `TracesData`, which is also the body of an export request).

Written by hand because it is on the path of every step: an attribute that was seen before costs a dictionary look-up instead of two
objects (measured, decision 0291). Fields go out in the order of their numbers, as protobuf's own serializer writes them, so the bytes are
those that it would make; a test compares them.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache

from waypost_core import genai
from waypost_core.tracing.spans import Attributes, AttributeValue, Link, Shape, Span, SpanEvent

SCOPE = "waypost"
_MAX_CACHED_CHARS = 48
"""Longer values (digests, keys, what people wrote) are seldom met twice."""
_IDS = struct.Struct("2s16s2s8s")
_TIMES = struct.Struct("<cQcQ")
_DOUBLE = struct.Struct("<d")
_ERROR = 2
_VARINTS_KEPT = 1_024


class Encoded:
    """Spans as bytes, by the service that they belong to. `add` many, then ask for the `body`."""

    __slots__ = ("_parts", "count")

    def __init__(self) -> None:
        self._parts: dict[str, list[bytes]] = {}
        self.count = 0

    def add(self, spans: Iterable[Span]) -> None:
        """Behind what is there."""
        parts = self._parts
        for span in spans:
            service = span.shape.service
            mine = parts.get(service)
            if mine is None:
                mine = parts[service] = []
            mine.append(_span(span))
            self.count += 1

    def body(self, resource: Mapping[str, str], version: str) -> bytes:
        """One `TracesData`: a resource for each service, in the order of the services' names."""
        scope = _field(1, _field(1, SCOPE.encode()) + _field(2, version.encode()))
        found = []
        for service, spans in sorted(self._parts.items()):
            described = _field(1, b"".join(_field(1, _attribute(name, value)) for name, value in of_service(resource, service).items()))
            found.append(_field(1, described + _field(2, scope + b"".join(spans))))
        return b"".join(found)

    def halves(self) -> tuple[Encoded, Encoded]:
        """The same spans in two. Neither is empty if there are two spans or more."""
        both = Encoded(), Encoded()
        for number, (service, span) in enumerate((service, span) for service, spans in sorted(self._parts.items()) for span in spans):
            half = both[2 * number >= self.count]
            half._parts.setdefault(service, []).append(span)
            half.count += 1
        return both

    def first(self) -> tuple[bytes, str]:
        """The trace id and the name of the first span, for people. Raises `IndexError` when there is none."""
        span = next((spans[0] for _, spans in sorted(self._parts.items())), None)
        if span is None:
            raise IndexError("no span")
        return _head_of(span)


def encode(spans: Iterable[Span], resource: Mapping[str, str], version: str) -> bytes:
    """One `TracesData`: a resource for each service that the spans belong to, in the order of the services' names."""
    encoded = Encoded()
    encoded.add(spans)
    return encoded.body(resource, version)


def of_service(resource: Mapping[str, str], service: str) -> dict[str, str]:
    """The resource's attributes for spans of one service: `service.name` is `<namespace>-<service>` unless one was given for all."""
    name = resource.get(genai.SERVICE_NAME) or f"{resource.get(genai.SERVICE_NAMESPACE, SCOPE)}-{service}"
    return {**resource, genai.SERVICE_NAME: name}


def _span(span: Span) -> bytes:
    shape = span.shape
    pack, named, fixed = shape.encoded or _shaped(shape)
    start, end = span.start_us * 1000, span.end_us * 1000
    parent = span.parent_id
    if parent:
        body = pack(b"\x0a\x10", span.trace_id, b"\x12\x08", span.span_id, b"\x22\x08", parent, named, b"\x39", start, b"\x41", end, fixed)
    else:
        body = _IDS.pack(b"\x0a\x10", span.trace_id, b"\x12\x08", span.span_id) + named + _TIMES.pack(b"\x39", start, b"\x41", end) + fixed
    for name, value in span.attributes.items():
        kind = type(value)
        if kind is int and -1 <= value < 1_000:  # type: ignore[operator]
            body += _kept(name, value)  # type: ignore[arg-type]
        elif kind is str:
            body += _kept(name, value) if len(value) <= _MAX_CACHED_CHARS else _text(name, value)  # type: ignore[arg-type]
        elif kind is float:
            body += _number(name) + _DOUBLE.pack(value)
        else:
            body += _field(9, _attribute(name, value))
    if span.events or span.links or span.error is not None:
        body += _rest(span)
    size = len(body)
    return b"\x12" + (_VARINTS[size] if size < _VARINTS_KEPT else _varint(size)) + body


def _shaped(shape: Shape) -> tuple[Callable[..., bytes], bytes, bytes]:
    """What is the same in all spans of a shape, and what packs one that has a parent."""
    named = _field(5, shape.name.encode()) + b"\x30" + _varint(shape.kind)
    fixed = _attributes(9, shape.attributes)
    shape.encoded = found = struct.Struct(f"<2s16s2s8s2s8s{len(named)}scQcQ{len(fixed)}s").pack, named, fixed
    return found


def _rest(span: Span) -> bytes:
    """What few spans have."""
    parts = [_field(11, _event(event)) for event in span.events]
    if span.dropped_events:
        parts.append(b"\x60" + _varint(span.dropped_events))
    parts.extend(_field(13, _link(link)) for link in span.links)
    if span.error is not None:
        message = _field(2, span.error.encode("utf-8", "replace")) if span.error else b""
        parts.append(_field(15, message + bytes((0x18, _ERROR))))
    return b"".join(parts)


def _head_of(data: bytes) -> tuple[bytes, str]:
    """The trace id and the name of an encoded span: fields 1 and 5, behind the tag and the length of the whole."""
    at = 1
    while data[at] > 127:
        at += 1
    at += 3
    trace_id, at = data[at : at + 16], at + 26
    if data[at] == 0x22:
        at += 10
    size, shift, at = 0, 0, at + 1
    while data[at] > 127:
        size, shift, at = size | (data[at] & 127) << shift, shift + 7, at + 1
    size |= data[at] << shift
    return trace_id, data[at + 1 : at + 1 + size].decode()


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


@lru_cache(maxsize=1_024)
def _key(name: str) -> bytes:
    """The name of an attribute, and the tag of its value."""
    return _field(1, name.encode()) + b"\x12"


@lru_cache(maxsize=1_024)
def _number(name: str) -> bytes:
    """An attribute of a span that is a floating-point number, up to the number."""
    key = _key(name)
    return b"\x4a" + _varint(len(key) + 10) + key + b"\x09\x21"


def _text(name: str, value: str) -> bytes:
    """An attribute of a span that is a text."""
    data = value.encode("utf-8", "replace")
    data = b"\x0a" + _varint(len(data)) + data
    data = _key(name) + _varint(len(data)) + data
    return b"\x4a" + _varint(len(data)) + data


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
    return _VARINTS[number] if number < _VARINTS_KEPT else _long_varint(number)


def _long_varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


_VARINTS = [_long_varint(number) for number in range(_VARINTS_KEPT)]
