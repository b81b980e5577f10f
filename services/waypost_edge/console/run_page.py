"""One run: what it is, what it waits for, what can be done about it, and its tabs."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import UNSET, Raw, Struct
from starlette.responses import Response

from waypost_edge.console.pages import is_fragment
from waypost_edge.console.schema_forms import Field, fields_of
from waypost_edge.console.trace_page import grafana_link, grafana_pattern, trace_of
from waypost_proto import events as ev
from waypost_proto.api import ApprovalView, EventPage, RunRef, RunView
from waypost_proto.codec import decode
from waypost_proto.errors import BadInput, NotFound, WaypostError
from waypost_proto.ids import RunId, parse_run_id
from waypost_proto.usage import Usage, micros_of
from waypost_proto.values import TERMINAL

if TYPE_CHECKING:
    from starlette.requests import Request

    from waypost_edge.console.site import Console, Who

TABS = (
    ("timeline", "Timeline"),
    ("trace", "Trace"),
    ("events", "Events"),
    ("state", "State"),
    ("children", "Children"),
    ("data", "Input & result"),
)
EVENTS_PAGE = 200
MAX_CHILDREN = 60
MAX_DEPTH = 5
MAX_SHOWN_BYTES = 1024 * 1024


class Meter(Struct, frozen=True):
    """One limit: what is used and held of it. `share`s are per cent of the limit, `used` and `limit` as people read them."""

    name: str
    used: str
    limit: str
    share: float
    held_share: float
    level: str


class Child(Struct):
    """A run in the tree of children. `view` is None for one that has not started."""

    run_id: RunId
    agent: str
    view: RunView | None = None
    children: list[Child] = []
    more: bool = False


class StoredEvent(Struct, frozen=True):
    """An event as the list shows it."""

    seq: int
    type: str
    at: str
    text: str
    raw: str
    outside: bool


async def run(console: Console, request: Request, who: Who) -> Response:
    """`/runs/{id}`, with `tab`; for htmx only its head (`part=head`)."""
    run_id = parse_run_id(request.path_params["run_id"])
    tab = request.query_params.get("tab", "timeline")
    if tab == "trace":
        who.caller.check("traces.read")
    if tab not in dict(TABS):
        raise BadInput(f"tab={tab!r}: there are {', '.join(name for name, _ in TABS)}")
    view, approvals = await asyncio.gather(who.client.get(run_id), who.client.approvals(run_id=run_id))
    shared: dict[str, Any] = {
        "run": view,
        "approvals": approvals,
        "forms": await forms_of(who, approvals),
        "meters": meters(view, time.time()),
        "doubts": [call for call in view.open_calls if call.state == "doubt"],
        "signals": [call for call in view.open_calls if call.kind == "signal"],
        "terminal": view.status in TERMINAL,
        "in_grafana": grafana_link(console.grafana, view) if who.caller.may("traces.read") else "",
        "who": who,
        "here": "runs",
    }
    if is_fragment(request) and request.query_params.get("part") == "head":
        return console.pages.answer("parts/run_head.html", **shared)
    trace = await trace_of(console, request, view) if tab == "trace" else {"grafana": grafana_pattern(console.grafana, view)}
    if is_fragment(request) and tab == "trace":
        return console.pages.answer("parts/trace.html", **shared, **trace)
    tree = await _tree(console, who, run_id, 0, [MAX_CHILDREN]) if tab == "children" else []
    data = await _data(console, who, view) if tab == "data" else {}
    first = await _events(who, run_id, 0) if tab == "events" else ([], None)
    return console.pages.answer(
        "run.html",
        tab=tab,
        tabs=[each for each in TABS if each[0] != "trace" or who.caller.may("traces.read")],
        at=request.query_params.get("at", "") if tab == "state" else "",
        tree=tree,
        data=data,
        events=first[0],
        following=first[1],
        **shared,
        **trace,
    )


async def timeline_rows(console: Console, request: Request, who: Who) -> Response:
    """`/runs/{id}/timeline?after=SEQ`: what the timeline draws, as JSON."""
    run_id = parse_run_id(request.path_params["run_id"])
    await allowed(console, who, run_id)
    after = request.query_params.get("after", "0")
    if not after.isdecimal() or len(after) > 12:
        raise BadInput(f"after={after!r} is not the number of an event")
    look = await console.timelines.look(run_id, int(after))
    return Response(msgspec.json.encode(look), media_type="application/json")


async def events(console: Console, request: Request, who: Who) -> Response:
    """`/runs/{id}/events?after=SEQ`: the next stored events, as rows."""
    run_id = parse_run_id(request.path_params["run_id"])
    after = request.query_params.get("after", "0")
    if not after.isdecimal() or len(after) > 12:
        raise BadInput(f"after={after!r} is not the number of an event")
    found, following = await _events(who, run_id, int(after))
    return console.pages.answer("parts/events.html", events=found, following=following, run_id=run_id)


async def allowed(console: Console, who: Who, run_id: RunId) -> None:
    """Raises `NotFound` for a run that is not there, or not theirs to see: nobody learns which."""
    who.caller.check("runs.events")
    row = await console.store.reads.get(run_id)
    if row is None or not who.caller.sees(row.tenant, row.agent):
        raise NotFound(f"there is no run {run_id}")


async def forms_of(who: Who, approvals: list[ApprovalView]) -> dict[str, list[Field]]:
    """By approval id, the form of its answer, or of the arguments that somebody may edit."""
    schemas: dict[str, Raw] = {}
    if any(each.kind == "approval" for each in approvals):
        schemas = {each.definition.name: each.definition.args_schema for each in await who.client.tools()}
    found = {}
    for each in approvals:
        if each.kind == "question":
            found[each.approval_id] = fields_of(each.answer_schema, UNSET)
        elif each.args is not UNSET:
            found[each.approval_id] = fields_of(schemas.get(each.tool, UNSET), each.args)
    return found


def meters(view: RunView, now: float) -> list[Meter]:
    """A bar for each limit that the run has."""
    from waypost_edge.console import shown

    budget, used, held = view.budget, view.usage or Usage(), view.reserved or Usage()
    rows: list[tuple[str, float, float, float | None, str, str]] = [
        ("Steps", used.steps, held.steps, budget.max_steps, shown.count(used.steps), shown.count(budget.max_steps)),
        ("Tokens", used.tokens, held.tokens, budget.max_tokens, shown.count(used.tokens), shown.count(budget.max_tokens)),
    ]
    if budget.max_cost_usd is not None:
        limit = micros_of(budget.max_cost_usd)
        rows.append(("Cost", used.cost_micros, held.cost_micros, limit, shown.money(used.cost_micros), shown.money(limit)))
    began = shown.unix(view.created_at)
    if budget.max_seconds is not None and began is not None:
        over = shown.unix(view.updated_at) if view.status in TERMINAL else now
        took = max(0.0, (over or now) - began)
        rows.append(("Time", took, 0, budget.max_seconds, shown.span(took), shown.span(budget.max_seconds)))
    return [_meter(*row) for row in rows if row[3]]


def _meter(name: str, used: float, held: float, limit: float | None, *texts: str) -> Meter:
    assert limit
    share = min(100.0, used / limit * 100)
    level = "full" if share >= 100 else "near" if share >= 80 else "fine"
    return Meter(name, texts[0], texts[1], round(share, 2), round(min(100.0 - share, held / limit * 100), 2), level)


async def _events(who: Who, run_id: RunId, after: int) -> tuple[list[StoredEvent], int | None]:
    page = await who.client.call("runs.events", RunRef(run_id=run_id, after=after, limit=EVENTS_PAGE), EventPage)
    return [_stored(raw) for raw in page.events], page.next_after


def _stored(raw: Raw) -> StoredEvent:
    from waypost_edge.console import shown

    event = decode(ev.Event, bytes(raw))
    return StoredEvent(
        event.seq, event.type, event.recorded_at, shown.one_line(event.data, 160), shown.json_text(raw), event.type in ev.OUTSIDE
    )


async def _tree(console: Console, who: Who, run_id: RunId, depth: int, room: list[int]) -> list[Child]:
    """The children of a run and theirs. `room`: how many may still be shown."""
    projection, _ = await console.timelines.of(run_id)
    look = projection.seen_from(0, 0, whole=True)
    rows = sorted((row for row in (*look.rows, *look.pending) if row.kind == "child"), key=lambda row: row.start)
    found: list[Child] = []
    for row in rows:
        if room[0] <= 0:
            found.append(Child(run_id, "", more=True))
            break
        room[0] -= 1
        child = RunId(str(row.more.get("child", "")))
        try:
            view: RunView | None = await who.client.get(child)
        except WaypostError:
            view = None
        inner = await _tree(console, who, child, depth + 1, room) if view is not None and depth < MAX_DEPTH else []
        found.append(Child(child, view.agent if view is not None else row.name.rpartition(" ")[2], view, inner))
    return found


async def _data(console: Console, who: Who, view: RunView) -> dict[str, str]:
    """Input, labels' source, result and shown state, as text."""
    from waypost_edge.console import shown

    events = await console.store.traces.events_of([RunId(view.run_id)], after=0, upto=1)
    found: dict[str, str] = {}
    if events:
        start = decode(ev.RunStarted, bytes(decode(ev.Event, events[0].body).data))
        found["input"] = await value_text(who, start.input, start.input_ref)
    found["state"] = shown.json_text(view.state)
    found["result"] = await value_text(who, view.result, view.result_ref)
    return found


async def value_text(who: Who, value: Raw | msgspec.UnsetType, ref: object) -> str:
    """A recorded value as text; one that is stored apart is fetched, unless it is too large to show."""
    from waypost_edge.console import shown
    from waypost_proto.values import BlobRef

    if isinstance(ref, BlobRef):
        if ref.size > MAX_SHOWN_BYTES:
            return f"{shown.size(ref.size)}, too large to show here; SHA-256 {ref.sha256}"
        return shown.json_text(await who.client.payload(ref))
    return shown.json_text(value)
