"""What a condition speaks of: an attribute of a span or its resource, or one of the intrinsics; and its value in a trace."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from waypost_core import genai
from waypost_core.tracing import Kind, Span
from waypost_core.tracing.otlp_proto import of_service
from waypost_core.tracing.spans import AttributeValue
from waypost_proto.errors import BadInput

Scope = Literal["span", "resource", "any", "intrinsic"]
INTRINSICS = {
    "name": "name",
    "span:name": "name",
    "duration": "duration",
    "span:duration": "duration",
    "status": "status",
    "span:status": "status",
    "statusMessage": "statusMessage",
    "span:statusMessage": "statusMessage",
    "kind": "kind",
    "span:kind": "kind",
    "span:id": "span:id",
    "trace:id": "trace:id",
    "rootName": "rootName",
    "trace:rootName": "rootName",
    "rootServiceName": "rootServiceName",
    "trace:rootService": "rootServiceName",
    "traceDuration": "traceDuration",
    "trace:duration": "traceDuration",
    "nestedSetParent": "nestedSetParent",
}
"""Every way to write an intrinsic → the one that we go by."""
SHOWN_INTRINSICS = ("duration", "kind", "name", "rootName", "rootServiceName", "status", "statusMessage", "traceDuration")
STATUSES = ("error", "ok", "unset")
KINDS = {Kind.INTERNAL: "internal", Kind.SERVER: "server", Kind.CLIENT: "client", Kind.PRODUCER: "producer", Kind.CONSUMER: "consumer"}


@dataclass(frozen=True, slots=True)
class Field:
    """`text` is how it was written; `name` the attribute or intrinsic."""

    scope: Scope
    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Trace:
    """A run's spans, with what is asked of the trace as a whole. `root` is there from the first event on."""

    spans: list[Span]
    root: Span
    resource: Mapping[str, str]

    @property
    def start_us(self) -> int:
        return self.root.start_us

    @property
    def seconds(self) -> float:
        """From its start to the last thing that is known of it."""
        return (max(span.end_us for span in self.spans) - self.root.start_us) / 1e6

    def service_of(self, span: Span) -> str:
        """The name of the service that a span belongs to."""
        return of_service(self.resource, span.service)[genai.SERVICE_NAME]


def field_of(text: str) -> Field:
    """Read `span.x`, `resource.x`, `.x`, or an intrinsic. Raises `BadInput`."""
    if text in INTRINSICS:
        return Field("intrinsic", INTRINSICS[text], text)
    scope, dot, name = text.partition(".")
    name = re.sub(r'"((?:[^"\\]|\\.)*)"', lambda found: found[1].replace('\\"', '"'), name)
    if dot and name and scope in ("span", "resource", ""):
        return Field("any" if not scope else "span" if scope == "span" else "resource", name, text)
    raise BadInput(
        f"{text!r} is no field of a span: use span.<attribute>, resource.<attribute>, .<attribute>, or one of {', '.join(SHOWN_INTRINSICS)}"
    )


def value_of(field: Field, trace: Trace, span: Span) -> AttributeValue | None:
    """The field's value at a span; None: it has none."""
    match field.scope:
        case "intrinsic":
            return _intrinsic(field.name, trace, span)
        case "span":
            return _attribute(span, field.name)
        case "resource":
            return of_service(trace.resource, span.service).get(field.name)
        case "any":
            found = _attribute(span, field.name)
            return of_service(trace.resource, span.service).get(field.name) if found is None else found


def status_of(span: Span) -> str:
    """`error` or `unset`: the log knows no other."""
    return "unset" if span.error is None else "error"


def _attribute(span: Span, name: str) -> AttributeValue | None:
    found = span.attributes.get(name)
    return span.shape.attributes.get(name) if found is None else found


def _intrinsic(name: str, trace: Trace, span: Span) -> AttributeValue | None:  # noqa: PLR0911 - one line each
    match name:
        case "name":
            return span.name
        case "duration":
            return (span.end_us - span.start_us) / 1e6
        case "status":
            return status_of(span)
        case "statusMessage":
            return span.error or ""
        case "kind":
            return KINDS[span.kind]
        case "span:id":
            return span.span_id.hex()
        case "trace:id":
            return span.trace_id.hex()
        case "rootName":
            return trace.root.name
        case "rootServiceName":
            return trace.service_of(trace.root)
        case "traceDuration":
            return trace.seconds
        case "nestedSetParent":
            return 1 if span.parent_id else -1
        case _:
            return None
