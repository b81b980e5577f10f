"""What a span is. Times are integer microseconds since 1970: the precision of the log."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import Final, TypeAlias

from msgspec import Struct

from waypost_proto.ids import RunId
from waypost_proto.task import format_time

AttributeValue: TypeAlias = str | int | float | bool | list[str]
Attributes: TypeAlias = dict[str, AttributeValue]

COORDINATOR: Final = "coordinator"
WORKER: Final = "worker"
GATEWAY: Final = "gateway"


class Kind(IntEnum):
    """Numbers as in OTLP."""

    INTERNAL = 1
    SERVER = 2
    CLIENT = 3
    PRODUCER = 4
    CONSUMER = 5


class Link(Struct, frozen=True, gc=False):
    """A span elsewhere that has to do with this one."""

    trace_id: bytes
    span_id: bytes
    what: str = ""
    """caller, parent or child; an attribute of the link."""


class SpanEvent(Struct, frozen=True, gc=False):
    """Something that happened at one moment of a span."""

    at_us: int
    name: str
    attributes: Attributes = {}


class Shape:
    """What all spans of one sort have in common, as one object: whoever encodes spans does it once. Compared by identity; never changed.

    `service` is the process that they stand for; `attributes` are those that all of them have.
    """

    __slots__ = ("attributes", "encoded", "kind", "name", "service")

    def __init__(self, name: str, attributes: Attributes | None = None, kind: Kind = Kind.INTERNAL, service: str = COORDINATOR) -> None:
        self.name = name
        self.attributes = attributes or {}
        self.kind = kind
        self.service = service
        self.encoded: tuple[Callable[..., bytes], bytes, bytes] | None = None
        """Room for `otlp_proto`, which fills it when it meets the shape."""


class Span(Struct, frozen=True, gc=False):
    """One span: the attributes of its `shape` and its own together are its attributes, and no name is in both.

    `error` is the message of a span that failed, None for one that did not. Made by position: six are made for every step.
    """

    trace_id: bytes
    span_id: bytes
    parent_id: bytes
    shape: Shape
    start_us: int
    end_us: int
    attributes: Attributes = {}
    error: str | None = None
    events: Sequence[SpanEvent] = ()
    dropped_events: int = 0
    links: Sequence[Link] = ()

    @property
    def name(self) -> str:
        return self.shape.name

    @property
    def kind(self) -> Kind:
        return self.shape.kind

    @property
    def service(self) -> str:
        return self.shape.service

    @property
    def all_attributes(self) -> Attributes:
        """Those of its shape first."""
        return {**self.shape.attributes, **self.attributes}


_LAST_MOMENT: Final = 253_402_300_799.0
"""The end of the year 9999, past which no date can be written."""


def moment(unix_seconds: float) -> str:
    """A time that somebody chose, RFC 3339; never raises."""
    return format_time(min(max(unix_seconds, 0.0), _LAST_MOMENT))


def trace_id_of(run_id: RunId) -> bytes:
    """The 16 bytes of a run's trace id: the digits of its own id."""
    return bytes.fromhex(run_id.replace("-", ""))


def parse_traceparent(text: str) -> tuple[bytes, bytes] | None:
    """(trace id, span id) of a W3C `traceparent`; None for what is none. Everything but version ff is read as version 00."""
    parts = text.strip().split("-")
    if len(parts) < 4 or len(parts[0]) != 2 or parts[0].lower() == "ff" or len(parts[1]) != 32 or len(parts[2]) != 16:
        return None
    try:
        trace, span = bytes.fromhex(parts[1]), bytes.fromhex(parts[2])
    except ValueError:
        return None
    return (trace, span) if any(trace) and any(span) else None
