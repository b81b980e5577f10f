"""A trace as the rows of a waterfall: its spans in the order of the tree, each with its place on a scale of a thousand. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from msgspec import Struct

from waypost_core import genai
from waypost_core.tracing import Span
from waypost_core.tracing.spans import Attributes, AttributeValue
from waypost_edge.tempo.fields import KINDS, Trace

SCALE = 1_000.0
"""Units from the begin of what is shown to its end."""
LEAST = 2.0
"""A bar is never narrower."""
MAX_INDENT = 14
"""Spans that lie deeper are drawn as deep as this."""
MARKS = 4
_KNOWN = frozenset({genai.KIND, genai.SEQ, genai.PENDING})
"""Attributes that a row shows in another way."""


class Told(Struct, frozen=True):
    """An event of a span: `after` seconds since what is shown began."""

    name: str
    after: float
    facts: list[tuple[str, str]]


class Elsewhere(Struct, frozen=True):
    """A link to a span of another trace. `run_id` is "" where that is no run of ours."""

    what: str
    trace_id: str
    span_id: str
    run_id: str


class Line(Struct, frozen=True, kw_only=True):
    """One span. `left` and `width` are of `SCALE`; `begins` and `took` are seconds; `seq` is the event with which it begins, 0: none."""

    span_id: str
    name: str
    kind: str
    """Its `waypost.kind`, or how OpenTelemetry calls it."""
    paint: str
    """What it is coloured by: the kind, and of a wait what for."""
    service: str
    depth: int
    left: float
    width: float
    begins: float
    took: float
    open: bool
    error: str | None
    seq: int
    below: int
    """How many spans lie below it."""
    facts: list[tuple[str, str]]
    told: list[Told]
    links: list[Elsewhere]


class Waterfall(Struct, frozen=True, kw_only=True):
    """What is shown of a trace: a page of lines, from line `first` of `count`. `marks` are seconds at equal distances; `path` leads from
    the root to the span that is looked into."""

    lines: list[Line]
    first: int
    count: int
    spans: int
    seconds: float
    marks: list[float]
    path: list[tuple[str, str]]
    failed: int


def waterfall(trace: Trace, *, within: str = "", span: str = "", first: int = 0, most: int = 400) -> Waterfall:
    """All of a trace, or the span `within` and what lies below it: `most` lines from `first` on, or the page with `span`.

    Spans are named by their ids in hex. Raises `KeyError` when the trace has none that is called `within`.
    """
    below = _children(trace)
    by_id = {each.span_id: each for each in trace.spans}
    top = trace.root if not within else by_id[_id_of(within)]
    order = list(_walk(top, below))
    start = min(each.start_us for each, _ in order)
    length = max(max(each.end_us for each, _ in order) - start, 1)
    sizes = _sizes(order, below)
    at = next((number for number, (each, _) in enumerate(order) if each.span_id.hex() == span), None) if span else None
    first = first if at is None else at // most * most
    return Waterfall(
        lines=[_line(trace, each, depth, start, length, sizes[each.span_id]) for each, depth in order[first : first + most]],
        first=first,
        count=len(order),
        spans=len(trace.spans),
        seconds=length / 1e6,
        marks=[length / 1e6 * each / MARKS for each in range(MARKS + 1)],
        path=_path(top, by_id) if within else [],
        failed=sum(each.error is not None for each in trace.spans),
    )


def _children(trace: Trace) -> dict[bytes, list[Span]]:
    """By parent, the earliest first. What has a parent that is not there (the log was cut) lies below the root."""
    known = {span.span_id for span in trace.spans}
    found: dict[bytes, list[Span]] = {}
    for span in trace.spans:
        if span is not trace.root:
            found.setdefault(span.parent_id if span.parent_id in known else trace.root.span_id, []).append(span)
    for spans in found.values():
        spans.sort(key=lambda span: (span.start_us, -span.end_us, span.attributes.get(genai.SEQ, 0)))
    return found


def _walk(top: Span, below: dict[bytes, list[Span]]) -> Iterator[tuple[Span, int]]:
    """Depth first; a stack and no recursion, because how deep a trace is is not ours to say."""
    stack, seen = [(top, 0)], {top.span_id}
    while stack:
        span, depth = stack.pop()
        yield span, depth
        for child in reversed(below.get(span.span_id, [])):
            if child.span_id not in seen:
                seen.add(child.span_id)
                stack.append((child, depth + 1))


def _sizes(order: list[tuple[Span, int]], below: dict[bytes, list[Span]]) -> dict[bytes, int]:
    """How many spans lie below each."""
    sizes: dict[bytes, int] = {}
    for span, _ in reversed(order):
        sizes[span.span_id] = sum(1 + sizes.get(child.span_id, 0) for child in below.get(span.span_id, []))
    return sizes


def _path(top: Span, by_id: dict[bytes, Span]) -> list[tuple[str, str]]:
    """(span id, name) from the root to a span."""
    found: list[tuple[str, str]] = []
    at: Span | None = top
    while at is not None and len(found) < MAX_INDENT:
        found.append((at.span_id.hex(), at.name))
        at = by_id.get(at.parent_id)
    return found[::-1]


def _line(trace: Trace, span: Span, depth: int, start: int, length: int, below: int) -> Line:
    attributes = span.all_attributes
    left = min((span.start_us - start) / length * SCALE, SCALE - LEAST)
    width = max((span.end_us - span.start_us) / length * SCALE, LEAST)
    kind = str(attributes.get(genai.KIND, "")) or KINDS[span.kind]
    seq = attributes.get(genai.SEQ, 0)
    return Line(
        span_id=span.span_id.hex(),
        name=span.name,
        kind=kind.replace("_", " "),
        paint="failed" if span.error is not None and kind not in ("run", "reasoning_step") else _paint(kind, attributes),
        service=trace.service_of(span),
        depth=min(depth, MAX_INDENT),
        left=round(left, 2),
        width=round(min(width, SCALE - left), 2),
        begins=(span.start_us - trace.root.start_us) / 1e6,
        took=(span.end_us - span.start_us) / 1e6,
        open=genai.PENDING in attributes,
        error=span.error,
        seq=seq if isinstance(seq, int) else 0,
        below=below,
        facts=list(_facts(attributes)),
        told=[Told(event.name, (event.at_us - trace.root.start_us) / 1e6, list(_facts(event.attributes))) for event in span.events],
        links=[_elsewhere(link.what, link.trace_id, link.span_id) for link in span.links],
    )


def _paint(kind: str, attributes: Attributes) -> str:
    return f"wait-{attributes.get(genai.WAIT, '')}" if kind == "wait" else kind


def _facts(attributes: Attributes) -> Iterable[tuple[str, str]]:
    return ((name, _text(value)) for name, value in attributes.items() if name not in _KNOWN)


def _text(value: AttributeValue) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case list():
            return ", ".join(value)
        case float():
            return f"{value:.6f}".rstrip("0").rstrip(".")
        case _:
            return str(value)


def _elsewhere(what: str, trace_id: bytes, span_id: bytes) -> Elsewhere:
    digits = trace_id.hex()
    ours = what in ("parent", "child")  # a caller's trace is somebody else's
    run_id = f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}" if ours else ""
    return Elsewhere(what or "link", digits, span_id.hex(), run_id)


def _id_of(text: str) -> bytes:
    """The bytes of a span id. Raises `KeyError` for what is none."""
    try:
        found = bytes.fromhex(text)
    except ValueError:
        raise KeyError(text) from None
    if len(found) != 8:
        raise KeyError(text)
    return found
