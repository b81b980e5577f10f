"""Names of tags and their values, for the drop-down lists of Grafana's query builder. Names are those that traces can have; values come
from what is registered, from the newest runs' labels, and from a bounded look at the newest traces."""

from __future__ import annotations

from collections.abc import Iterable

from waypost_core import genai
from waypost_edge.tempo.fields import KINDS, SHOWN_INTRINSICS, STATUSES, Field, value_of
from waypost_edge.tempo.finding import CHUNK_RUNS, Search, runs_of
from waypost_edge.tempo.reading import Reading
from waypost_edge.tempo.traceql import Query
from waypost_io.store.ports import Store

MAX_VALUES = 1_000
LOOK_AT_RUNS = 100
"""Newest runs whose traces are looked through for values."""
RESOURCE_TAGS = (genai.SERVICE_NAME, genai.SERVICE_NAMESPACE, genai.SERVICE_VERSION)
SPAN_TAGS = tuple(
    sorted(
        value
        for name, value in vars(genai).items()
        if name.isupper()
        and isinstance(value, str)
        and value.startswith(("gen_ai.", "messaging.", "waypost.", "error."))
        and not name.startswith("METRIC_")
        and value not in (genai.LABEL, genai.TOKEN_MODALITY)
    )
)

_FIXED = {"status": STATUSES, "kind": tuple(KINDS.values())}


async def names(store: Store, tenant: str | None) -> dict[str, list[str]]:
    """Scope → names, labels of the newest runs among them."""
    labels = {genai.LABEL + name for name, _ in await store.traces.labels(tenant=tenant)}
    return {"span": sorted({*SPAN_TAGS, *labels}), "resource": list(RESOURCE_TAGS), "intrinsic": list(SHOWN_INTRINSICS)}


async def values(store: Store, reading: Reading, field: Field, query: Query, tenant: str | None) -> list[tuple[str, str]]:
    """(type, value) of a field, sorted. `query` narrows what is looked at."""
    if field.scope == "intrinsic" and field.name in _FIXED:
        return [("keyword", value) for value in _FIXED[field.name]]
    if field.scope == "intrinsic" and field.name not in ("name", "rootName", "rootServiceName"):
        return []
    known: set[tuple[str, str]] = set()
    if not query.conditions:
        known |= {("string", value) for value in await _registered(store, field, tenant)}
    search = Search(query=query, tenant=tenant)
    runs = await reading.traces.runs(runs_of(search, LOOK_AT_RUNS))
    for first in range(0, len(runs), CHUNK_RUNS):
        traces, _ = await reading.several([run.run_id for run in runs[first : first + CHUNK_RUNS]])
        for trace in traces.values():
            for span in trace.spans:
                if all(condition.holds(value_of(condition.field, trace, span)) for condition in query.conditions):
                    known.update(_typed(value_of(field, trace, span)))
        if len(known) >= MAX_VALUES:
            break
    return sorted(known)[:MAX_VALUES]


async def _registered(store: Store, field: Field, tenant: str | None) -> Iterable[str]:
    if field.name == genai.AGENT_NAME:
        return {agent.name for agent in await store.definitions.agents()}
    if field.name == genai.TOOL_NAME:
        return {tool.name for tool in await store.definitions.tools()}
    if field.name.startswith(genai.LABEL):
        label = field.name.removeprefix(genai.LABEL)
        return {value for name, value in await store.traces.labels(tenant=tenant) if name == label}
    return ()


def _typed(value: object) -> set[tuple[str, str]]:
    match value:
        case None:
            return set()
        case list():
            return {("string", str(item)) for item in value}
        case bool():
            return {("bool", "true" if value else "false")}
        case int():
            return {("int", str(value))}
        case float():
            return {("float", f"{value:g}")}
        case _:
            return {("string", str(value))}
