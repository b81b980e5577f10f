"""`waypost traces show` and `export`: a run's trace, projected here from its events."""

from __future__ import annotations

import sys
import time
from contextlib import aclosing
from importlib.metadata import version
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from waypost_cli.connect import connected
from waypost_cli.options import AsJson
from waypost_cli.output import note, print_json_line, say
from waypost_core import genai

if TYPE_CHECKING:
    from waypost_core.tracing import Span

Format = Literal["otlp-json", "otlp-proto", "lines"]
_INDENT = "   "


async def export(
    run_id: str,
    /,
    *,
    format: Annotated[Format, Parameter(help="otlp-json, otlp-proto (binary), or lines: one span of JSON a line.")] = "otlp-json",  # noqa: A002
    pending: Annotated[bool, Parameter(name="--pending", help="Also what has not ended yet, as if it ended now.")] = False,
    json: AsJson = False,
) -> None:
    """Write a run's trace to standard output: the same spans with the same ids that a collector gets.

    What is shown of contents follows WAYPOST_TRACES_CONTENT here as there.
    """
    import os

    from waypost_core.tracing.otlp_json import of_span, to_json
    from waypost_core.tracing.otlp_proto import encode
    from waypost_io.otlp_traces import resource_of

    spans, open_now = await _spans(run_id)
    spans += open_now if pending else []
    release = version("waypost")
    match "otlp-json" if json else format:
        case "otlp-json":
            say(to_json(spans, resource_of(os.environ, release), release).decode())
        case "otlp-proto":
            sys.stdout.buffer.write(encode(spans, resource_of(os.environ, release), release))
            sys.stdout.buffer.flush()
        case "lines":
            for span in spans:
                print_json_line(of_span(span))
    if not pending and open_now:
        note(f"{len(open_now)} spans have not ended yet: --pending shows them as well")


async def show(run_id: str, /, *, json: AsJson = False) -> None:
    """Show a run's trace as a tree, what has not ended yet included; with --json one span a line."""
    from waypost_core.tracing.otlp_json import of_span

    spans, open_now = await _spans(run_id)
    if json:
        for span in [*spans, *open_now]:
            print_json_line(of_span(span))
        return
    for line in tree([*spans, *open_now]):
        say(line)


def tree(spans: list[Span]) -> list[str]:
    """The spans as lines, children below their parents in the order in which they began. The sending of a message is a moment that its
    `process` shows as well: it gets no line, and what lies under it stands in its place."""
    through = {span.span_id: span.parent_id for span in spans if span.all_attributes.get(genai.KIND) == "message"}
    spans = [span for span in spans if span.span_id not in through]
    here = {span.span_id for span in spans}
    children: dict[bytes, list[Span]] = {}
    for span in sorted(spans, key=lambda span: (span.start_us, -span.end_us)):
        parent = through.get(span.parent_id, span.parent_id)
        children.setdefault(parent if parent in here else b"", []).append(span)
    begin = min((span.start_us for span in spans), default=0)
    lines: list[str] = []
    stack = [(span, 0) for span in reversed(children.get(b"", []))]
    while stack:
        span, depth = stack.pop()
        lines.append(_line(span, depth, begin))
        stack.extend((child, depth + 1) for child in reversed(children.get(span.span_id, [])))
    return lines


def _line(span: Span, depth: int, begin_us: int) -> str:
    said = span.all_attributes
    parts = [f"{_seconds(span.start_us - begin_us):>10} {_seconds(span.end_us - span.start_us):>10}  {_INDENT * depth}{span.name}"]
    named = (genai.INTENT, genai.STEP_NAME, genai.DECISION, genai.DECIDED_BY, genai.REASON)
    notes = [str(said[name]) for name in named if name in said and span.name != f"step {said[name]}"]
    if said.get(genai.ATTEMPT, 1) != 1:
        notes.append(f"attempt {said[genai.ATTEMPT]}")
    if said.get(genai.PENDING):
        notes.append("not ended")
    if span.error is not None:
        notes.append(f"failed: {span.error}")
    return "  ".join([*parts, *(["· " + ", ".join(notes)] if notes else [])])


def _seconds(micros: int) -> str:
    return (
        f"{micros / 1e6:.3f} s"
        if micros < 60_000_000
        else f"{micros / 6e7:.1f} min"
        if micros < 3_600_000_000
        else f"{micros / 3.6e9:.1f} h"
    )


async def _spans(run_id: str) -> tuple[list[Span], list[Span]]:
    """What has ended, and what has not, of a run's trace."""
    from waypost_core.tracing import RunTrace
    from waypost_io.settings import Settings, load
    from waypost_io.trace_content import capture_of
    from waypost_proto.codec import encode
    from waypost_proto.ids import parse_run_id
    from waypost_proto.task import parse_time

    trace = RunTrace(parse_run_id(run_id), capture_of(), prefix=load(Settings).prefix)
    spans: list[Span] = []
    async with connected() as client, aclosing(client.events(run_id)) as events:
        async for event in events:
            spans += trace.feed(event.seq, event.type, round(parse_time(event.recorded_at) * 1e6), encode(event))
    return spans, trace.pending(round(time.time() * 1e6))
