"""Reading runs: `runs.get`, `runs.list`, `runs.events`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from msgspec import UNSET, Raw, structs

from waypost_coordinator.api.belonging import missing
from waypost_coordinator.api.exchange import PAGE_BYTES, bounded, read
from waypost_coordinator.api.ports import Api
from waypost_coordinator.views import needs_attention, run_view, state_of
from waypost_io.bus.ports import Message
from waypost_io.store.ports import ApprovalRow, EventRow, RunFilter, RunRow
from waypost_proto.api import EventPage, RunPage, RunRef, RunsList, RunView
from waypost_proto.codec import encode
from waypost_proto.errors import BadInput
from waypost_proto.ids import RunId, parse_run_id
from waypost_proto.task import check_texts
from waypost_proto.values import RunStatus

MAX_RUNS = 500
MAX_EVENTS = 1_000
MAX_OPEN_APPROVALS = 1_000
_CHUNK = 100
"""Rows per query while a page fills: events may be large, so a page is never read in one go."""


async def get(api: Api, message: Message) -> RunView:
    """`runs.get`: one run with its open calls, its state and its result. Raises `NotFound`."""
    request = read(RunRef, message.body)
    row = await existing(api, parse_run_id(request.run_id))
    view = run_view(row, state_of(row), await _approvals(api, [row]), now=api.clock(), full=True)
    if len(encode(view)) > PAGE_BYTES:
        view = structs.replace(view, state=UNSET, open_calls=[])  # the result always fits: larger ones are references
    return view


async def list_runs(api: Api, message: Message) -> RunPage:
    """`runs.list`: newest first, without states and results; the page ends early when it is full in bytes."""
    request = read(RunsList, message.body)
    limit = bounded(request.limit, MAX_RUNS)
    query = RunFilter(
        tenant=api.caller.bound_to,
        agent=request.agent,
        statuses=_statuses(request.status),
        labels=_labels(request.labels),
        before=parse_run_id(request.before) if request.before is not None else None,
        limit=limit,
        text=_text(request.text),
        parent=parse_run_id(request.parent) if request.parent is not None else None,
        created_from=_time("created_from", request.created_from),
        created_to=_time("created_to", request.created_to),
        updated_from=_time("updated_from", request.updated_from),
        updated_to=_time("updated_to", request.updated_to),
        attention=request.needs_attention,
    )
    rows = await _listed(api, query)
    full = len(rows) == limit
    last = rows[-1].run_id if rows else None
    if request.needs_attention:
        rows = [row for row in rows if needs_attention(row, state_of(row))]
    approvals = await _approvals(api, rows)
    now = api.clock()
    views: list[RunView] = []
    size = 0
    for row in rows:
        view = run_view(row, state_of(row), approvals, now=now, full=False)
        size += len(encode(view))
        if views and size > PAGE_BYTES:
            break
        views.append(view)
    if len(views) < len(rows):
        last, full = RunId(views[-1].run_id), True
    return RunPage(runs=views, next_before=last if full else None)


async def _listed(api: Api, query: RunFilter) -> list[RunRow]:
    """Of a caller that is limited to agents, only these: a page of each, and the newest of all."""
    agents = api.caller.agents
    if not agents:
        return await api.store.reads.list(query)
    found: list[RunRow] = []
    for agent in agents:
        if query.agent in (None, agent):
            found += await api.store.reads.list(replace(query, agent=agent))
    return sorted(found, key=lambda row: row.run_id, reverse=True)[: query.limit]


async def events(api: Api, message: Message) -> EventPage:
    """`runs.events`: the stored bytes of the events after `after`, in order of seq, without a gap. Raises `NotFound`."""
    request = read(RunRef, message.body)
    run_id = parse_run_id(request.run_id)
    rows, more = await page_of_events(api, run_id, after=request.after, limit=bounded(request.limit, MAX_EVENTS))
    if not rows:
        await existing(api, run_id)
    return EventPage(events=[Raw(row.body) for row in rows], next_after=rows[-1].seq if rows and more else None)


async def page_of_events(
    api: Api, run_id: RunId, *, after: int, limit: int, types: Sequence[str] | None = None, upto: int | None = None
) -> tuple[list[EventRow], bool]:
    """The events after `after` (and not after `upto`) that fit into one answer, and whether there may be more."""
    page: list[EventRow] = []
    size = 0
    while len(page) < limit:
        wanted = min(_CHUNK, limit - len(page))
        rows = await api.store.log.load_events(run_id, after=after, limit=wanted, types=types)
        for row in rows:
            if upto is not None and row.seq > upto:
                return page, False
            size += len(row.body) + 1
            if page and size > PAGE_BYTES:
                return page, True
            page.append(row)
        if len(rows) < wanted:
            return page, False
        after = rows[-1].seq
    return page, True


async def existing(api: Api, run_id: RunId) -> RunRow:
    """The run's row. Raises `NotFound`."""
    row = await api.store.reads.get(run_id)
    if row is None or not api.caller.sees(row.tenant, row.agent):
        raise missing(run_id)
    return row


async def _approvals(api: Api, rows: Sequence[RunRow]) -> Mapping[str, ApprovalRow]:
    """The open approvals by id, if one of these runs waits for one: a single query, whatever their number."""
    waiting = [row for row in rows if row.status == RunStatus.WAITING_APPROVAL]
    if not waiting:
        return {}
    only = waiting[0].run_id if len(waiting) == 1 else None
    found = await api.store.approvals.list(state="open", run_id=only, limit=MAX_OPEN_APPROVALS)
    return {row.approval_id: row for row in found}


def _statuses(text: str | None) -> list[str]:
    if text is None:
        return []
    found = [part.strip() for part in text.split(",")]
    for part in found:
        if part not in set(RunStatus):
            raise BadInput(f"status {part[:80]!r} is not one of {', '.join(RunStatus)}")
    return list(dict.fromkeys(found))


def _labels(labels: Mapping[str, str]) -> dict[str, str]:
    check_texts(idempotency_key=None, correlation_id=None, labels=labels)
    return dict(labels)


def _text(text: str | None) -> str | None:
    check_texts(idempotency_key=None, correlation_id=None, labels={"text": text or ""})
    return text


def _time(name: str, text: str | None) -> float | None:
    """Unix seconds. Raises `BadInput`."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
        at = moment.timestamp() if moment.tzinfo is not None else None
    except (ValueError, OverflowError) as error:
        raise BadInput(f"{name} {text[:80]!r} is no time: write 2026-12-01T17:00:00Z") from error
    if at is None:
        raise BadInput(f"{name} {text!r} has no time zone: add 'Z' or an offset such as +01:00")
    return at
