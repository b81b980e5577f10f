"""What the log says of one step, and what a run's state was after any event. Both read the log itself: the arguments, results and errors
that people look for are in it, in the bytes that were recorded."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from waypost_core.evolve import evolve, initial
from waypost_core.state import RunState
from waypost_edge.console import shown
from waypost_edge.console.run_page import allowed, value_text
from waypost_io.store.traces import TraceEvent
from waypost_proto import events as ev
from waypost_proto.codec import decode, decode_union
from waypost_proto.errors import BadInput, NotFound, TooLarge
from waypost_proto.ids import CallId, RunId, parse_run_id
from waypost_proto.task import parse_time

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from waypost_edge.console.site import Console, Who

MAX_EVENTS_OF_STEP = 60
MAX_FOLD = 20_000
"""Events that one look at a state folds."""
PAGE = 500
_CONTENTS = ("args", "input", "result", "payload", "answer", "value", "answer_schema", "error", "model", "state", "writes")
_TITLES = {"args": "Arguments", "value": "State", "answer_schema": "Form", "state": "Checkpoint"}


class Content(Struct, frozen=True):
    """One value that an event recorded."""

    title: str
    text: str
    bad: bool = False


class Moment(Struct, frozen=True):
    """One event of a step."""

    seq: int
    type: str
    at: str
    facts: list[tuple[str, str]]
    contents: list[Content]
    raw: str


class Change(Struct, frozen=True):
    """What an event changed in the state: path, before, after."""

    path: str
    before: str
    after: str


async def step(console: Console, request: Request, who: Who) -> Response:
    """`/runs/{id}/steps/{seq}`: the event that a span begins with, and all that speak of the same call."""
    run_id = parse_run_id(request.path_params["run_id"])
    await allowed(console, who, run_id)
    seq = int(request.path_params["seq"])
    projection, _ = await console.timelines.of(run_id)
    first = await _event(console, run_id, seq)
    if first is None:
        raise NotFound(f"run {run_id} has no event {seq}")
    call = CallId(request.query_params.get("call", ""))
    seqs = sorted({seq, *projection.calls.get(call, [])})
    more = max(0, len(seqs) - MAX_EVENTS_OF_STEP)
    read = await asyncio.gather(*(_event(console, run_id, number) for number in seqs[:MAX_EVENTS_OF_STEP]))
    moments = [await _moment(who, event) for event in read if event is not None]
    return console.pages.answer("parts/step.html", run_id=run_id, seq=seq, call=call, moments=moments, more=more, who=who)


async def _event(console: Console, run_id: RunId, seq: int) -> TraceEvent | None:
    found = await console.store.traces.events_of([run_id], after=seq - 1, upto=seq)
    return found[0] if found else None


async def _moment(who: Who, event: TraceEvent) -> Moment:
    envelope = decode(ev.Event, event.body)
    data: ev.AnyData = decode_union(ev.AnyData, envelope.data)
    contents = [each async for each in _contents(who, data)]
    return Moment(event.seq, event.type, envelope.recorded_at, list(_facts(data)), contents, shown.json_text(event.body))


async def _contents(who: Who, data: ev.AnyData) -> Any:
    for name in _CONTENTS:
        value = getattr(data, name, UNSET)
        ref = getattr(data, f"{name}_ref", UNSET)
        title = _TITLES.get(name, name.capitalize())
        if name in ("error", "model"):
            if value not in (UNSET, None):
                yield Content(title, shown.json_text(msgspec.json.encode(value)), name == "error")
        elif isinstance(value, Raw) or not isinstance(ref, UnsetType):
            yield Content(title, await value_text(who, value, ref))


def _facts(data: ev.AnyData) -> Iterator[tuple[str, str]]:
    """What else an event says, in short: texts and numbers."""
    times = ("next_attempt_at", "expires_at", "fire_at", "reconcile_at", "deadline_at")
    for name in data.__struct_fields__:
        value = getattr(data, name)
        if name in _CONTENTS or name in ("mark", "seen", "at") or value in (None, UNSET, "", 0, [], (), False):
            continue
        label = name.replace("_", " ")
        if name in times and isinstance(value, float):
            yield label, shown.clock(value)
        elif name.endswith("_seconds") and isinstance(value, int | float):
            yield label.removesuffix(" seconds"), shown.span(value)
        elif isinstance(value, str | int | float):
            yield label, str(value)
        elif not name.endswith("_ref"):
            yield label, msgspec.json.encode(value).decode("utf-8", "replace")[:500]


# -- the state at an event


async def state(console: Console, request: Request, who: Who) -> Response:
    """`/runs/{id}/state?at=SEQ`: the run's state after that event, folded from the log, and what the event changed."""
    run_id = parse_run_id(request.path_params["run_id"])
    await allowed(console, who, run_id)
    row = await console.store.reads.get(run_id)
    assert row is not None
    text = request.query_params.get("at", str(row.seq))
    if not text.isdecimal() or len(text) > 12 or not 1 <= int(text) <= row.seq:
        raise BadInput(f"at={text!r}: the run has the events 1 to {row.seq}")
    at = int(text)
    if at > MAX_FOLD:
        raise TooLarge(f"event {at} is past the {MAX_FOLD} events that one look folds; `waypost runs events` shows them")
    before, after, event = await _fold(console, run_id, at)
    return console.pages.answer(
        "parts/state.html",
        run_id=run_id,
        at=at,
        last=row.seq,
        type=event.type,
        recorded_at=event.at_us / 1e6,
        changes=list(_changes("", before, after)),
        state=shown.json_text(msgspec.json.encode(after)),
        run_status=after.get("status", "pending") if isinstance(after, dict) else "",
        event=shown.json_text(event.body),
        who=who,
    )


async def _fold(console: Console, run_id: RunId, at: int) -> tuple[object, object, TraceEvent]:
    """The state before and after event `at`, as plain values."""
    folded: RunState | None = None
    before: object = {}
    last: TraceEvent | None = None
    while last is None or last.seq < at:
        begin = 0 if last is None else last.seq
        page = await console.store.traces.events_of([run_id], after=begin, upto=min(begin + PAGE, at))
        if not page:
            raise NotFound(f"the log of run {run_id} ends before event {at}")
        for each in page:
            event = decode(ev.Event, each.body)
            folded = folded or initial(event)
            if each.seq == at:
                before = _plain(folded) if at > 1 else {}
            data: ev.AnyData = decode_union(ev.AnyData, event.data)
            evolve(folded, event.seq, parse_time(event.recorded_at), data, event.cause)
            last = each
    assert folded is not None
    return before, _plain(folded), last


def _plain(state: RunState) -> object:
    return msgspec.json.decode(msgspec.json.encode(state))


def _changes(path: str, before: object, after: object) -> Iterable[Change]:
    if before == after:
        return
    if isinstance(before, dict) and isinstance(after, dict):
        for key in sorted({*before, *after}):
            yield from _changes(f"{path}.{key}" if path else str(key), before.get(key), after.get(key))
        return
    yield Change(path, _short(before), _short(after))


def _short(value: object) -> str:
    if value is None:
        return ""
    text = msgspec.json.encode(value).decode("utf-8", "replace")
    return text if len(text) <= 300 else f"{text[:300]}…"
