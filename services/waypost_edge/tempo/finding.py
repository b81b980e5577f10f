"""Search: which runs are read, and which of their traces match. Bounded in runs and events, newest first; no scan of all events.

What a run's row knows (its agent, tenant, status, labels, start) narrows the runs that are read; everything else is judged on the trace
that is made of a run's log. So a rare attribute is found among the newest runs of the range only, as many as `look_at`; Tempo too answers
with what it finds first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from waypost_core import genai
from waypost_core.tracing import Span
from waypost_edge.tempo.fields import Trace, value_of
from waypost_edge.tempo.reading import Reading
from waypost_edge.tempo.traceql import EVERYTHING, Query
from waypost_io.store.traces import RunsInTime, TracedRun
from waypost_proto.ids import NAME_PATTERN, RunId

CHUNK_RUNS = 25
_OPERATIONS = (genai.INVOKE_AGENT, genai.INVOKE_WORKFLOW)
_TERMINAL = frozenset({"completed", "failed", "cancelled"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What is asked for. `tags` match anywhere in a trace, without regard to case, as a part of the value. Times in Unix seconds."""

    query: Query = EVERYTHING
    tags: Mapping[str, str] = field(default_factory=dict)
    min_seconds: float | None = None
    max_seconds: float | None = None
    start: float | None = None
    end: float | None = None
    limit: int = 20
    spans_per_trace: int = 3
    tenant: str | None = None
    agents: frozenset[str] = frozenset()
    """Only runs of these; empty: of all."""


@dataclass(frozen=True, slots=True)
class Match:
    """A trace that matches, with the spans that do; `matched` counts them all."""

    trace: Trace
    spans: list[Span]
    matched: int


@dataclass(frozen=True, slots=True)
class Found:
    """`complete`: every run that could match was read."""

    matches: list[Match]
    runs_read: int
    events_read: int
    complete: bool


async def find(reading: Reading, search: Search, *, look_at: int) -> Found:
    """Read runs newest first until enough match, or the bounds are reached."""
    if search.query.never:
        return Found([], 0, 0, True)
    runs = await reading.traces.runs(runs_of(search, look_at))
    matches: list[Match] = []
    events = 0
    done = 0
    while done < len(runs) and len(matches) < search.limit and events < reading.max_events:
        chunk = [run for run in runs[done : done + CHUNK_RUNS] if _may_match(run, search)]
        traces, count = await reading.several([run.run_id for run in chunk])
        done, events = done + CHUNK_RUNS, events + count
        for run in chunk:
            match = _judge(traces.get(run.run_id), search)
            if match is not None and len(matches) < search.limit:
                matches.append(match)
    complete = len(matches) < search.limit and done >= len(runs) and len(runs) < look_at
    return Found(matches, min(done, len(runs)), events, complete)


def runs_of(search: Search, look_at: int) -> RunsInTime:
    """What the rows of runs can tell of a search."""
    labels: dict[str, str] = {}
    agent: str | None = None
    statuses: list[str] | None = None
    for condition in search.query.conditions:
        if condition.operator != "=" or not isinstance(condition.value, str):
            continue
        name, value = condition.field.name, condition.value
        if condition.field.scope in ("span", "any"):
            if name.startswith(genai.LABEL):
                labels[name.removeprefix(genai.LABEL)] = value
            elif name == genai.AGENT_NAME:
                agent = value
            elif name == genai.RUN_STATUS and value in _TERMINAL:
                statuses = [value]
        elif name == "rootName":
            operation, _, named = value.partition(" ")
            agent = named if operation in _OPERATIONS and NAME_PATTERN.fullmatch(named) else agent
    return RunsInTime(
        started_from=search.start,
        started_until=search.end,
        tenant=search.tenant,
        agent=agent,
        statuses=statuses,
        labels=labels,
        limit=look_at,
    )


def _may_match(run: TracedRun, search: Search) -> bool:
    """Whether it is of an agent that may be seen, and its duration can fit; that of an open run is only known from its log."""
    if search.agents and run.agent not in search.agents:
        return False
    seconds = run.updated_at - run.created_at
    return run.open or (
        (search.min_seconds is None or seconds >= search.min_seconds - 1)
        and (search.max_seconds is None or seconds <= search.max_seconds + 1)
    )


def _judge(trace: Trace | None, search: Search) -> Match | None:
    if trace is None:
        return None
    if search.min_seconds is not None and trace.seconds < search.min_seconds:
        return None
    if search.max_seconds is not None and trace.seconds > search.max_seconds:
        return None
    if search.tags and not _tagged(trace, search.tags):
        return None
    conditions = search.query.conditions
    fitting = [span for span in trace.spans if all(condition.holds(value_of(condition.field, trace, span)) for condition in conditions)]
    if not fitting:
        return None
    fitting.sort(key=lambda span: (bool(span.parent_id), span.start_us))
    return Match(trace, fitting[: search.spans_per_trace], len(fitting))


def _tagged(trace: Trace, tags: Mapping[str, str]) -> bool:
    return all(any(_has(trace, span, name, value.lower()) for span in trace.spans) for name, value in tags.items())


def _has(trace: Trace, span: Span, name: str, value: str) -> bool:
    if name == "name":
        return value in span.name.lower()
    if name in ("service.name", "resource.service.name"):
        return value in trace.service_of(span).lower()
    if name in ("error", "status", "status.code"):
        return value in (("true", "error", "2") if span.error is not None else ("false", "unset", "0"))
    found = span.attributes.get(name, span.shape.attributes.get(name, trace.resource.get(name)))
    items = found if isinstance(found, list) else [found]
    return any(item is not None and value in str(item).lower() for item in items)


def run_id_of(trace_id: str) -> RunId | None:
    """The run whose trace has this id, in hex, leading zeros left out or not; None: no run's id looks like that."""
    text = trace_id.lower().replace("-", "")
    if not 0 < len(text) <= 32 or any(digit not in "0123456789abcdef" for digit in text):
        return None
    text = text.zfill(32)
    run_id = f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
    return RunId(run_id) if run_id[14] == "7" and run_id[19] in "89ab" else None
