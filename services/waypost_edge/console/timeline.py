"""The projection of a run's log (`waypost_core.tracing`) as rows that a browser can draw. Nothing is folded here a second time.

A run's projection is kept while somebody looks at it, and is only fed what is new; so a look at a run of ten thousand events that is
watched live costs what happened since the last look. Beside the spans it keeps by call id which events spoke of a call,
and what each cost.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable

import msgspec
from msgspec import Struct, UnsetType, field

from waypost_core import genai
from waypost_core.tracing import Capture, RunTrace, Span
from waypost_io.store.traces import TraceEvent, Traces
from waypost_proto.errors import BadMessage
from waypost_proto.ids import CallId, RunId
from waypost_proto.usage import Usage

MAX_KEPT = 64
"""Projections that are kept, the one looked at longest ago goes first."""
PAGE_EVENTS = 500
MAX_ROWS = 20_000
SHOWN = Capture(intent=True, max_bytes=2_000, messages=False)
"""Contents are in the panel of a step, straight from the log; that a message was sent is no step."""
_ATTRIBUTES: dict[str, str] = {
    genai.SEQ: "seq",
    genai.TOOL_NAME: "tool",
    genai.TOOL_CALL_ID: "call",
    genai.CALL_ID: "call",
    genai.EFFECT: "effect",
    genai.ATTEMPT: "attempt",
    genai.ATTEMPTS: "attempts",
    genai.MAX_ATTEMPTS: "of",
    genai.EXECUTION_SECONDS: "ran",
    genai.INTENT: "intent",
    genai.WAIT: "wait",
    genai.UNTIL: "until",
    genai.REASON: "reason",
    genai.DECIDED_BY: "by",
    genai.RESUMED_BY: "by",
    genai.DECISION: "decision",
    genai.ROLE: "role",
    genai.VIA: "via",
    genai.LIMIT: "limit",
    genai.CHILD_RUN: "child",
    genai.ERROR_TYPE: "error_type",
    genai.USAGE_INPUT_TOKENS: "input_tokens",
    genai.USAGE_OUTPUT_TOKENS: "output_tokens",
    genai.WORKER: "worker",
    genai.SIGNAL_NAME: "signal",
    genai.REQUEST_MODEL: "model",
    genai.STEP_NAME: "step",
}


class Row(Struct, frozen=True, omit_defaults=True):
    """One span. Times are microseconds since the run's start; `kind` is `waypost.kind`."""

    id: str
    parent: str
    kind: str
    name: str
    start: int
    end: int
    open: bool = False
    error: str | None = None
    cost: int = 0
    """Micro-dollars."""
    more: dict[str, str | int | float | bool | list[str]] = {}


class Marker(Struct, frozen=True, omit_defaults=True):
    """Something that happened to the run as a whole at one moment."""

    at: int
    name: str
    more: dict[str, str | int | float | bool | list[str]] = {}


class Timeline(Struct, frozen=True):
    """What a page gets. `rows` are those of spans that ended with an event after `after`; `pending` replaces what was pending before."""

    run_id: str
    agent: str
    started_us: int
    now_us: int
    after: int
    seq: int
    ended: bool
    whole: bool
    rows: list[Row]
    pending: list[Row]
    markers: list[Marker] = []


class _Spoken(Struct):
    """What of an event the index needs."""

    call_id: CallId | None = None
    usage: Usage | None = None


class _Body(Struct):
    data: _Spoken = field(default_factory=_Spoken)


_BODY = msgspec.json.Decoder(_Body)


class Projection:
    """One run's, as far as it was read."""

    def __init__(self, run_id: RunId, prefix: str) -> None:
        self.trace = RunTrace(run_id, SHOWN, prefix=prefix)
        self.ended: list[tuple[int, Row]] = []
        """Each with the event that ended it, in order of that."""
        self.calls: dict[CallId, list[int]] = {}
        """Which events spoke of a call."""
        self.costs: dict[int, int] = {}
        """Micro-dollars by event."""
        self.lock = asyncio.Lock()
        self.broken = ""

    def feed(self, event: TraceEvent) -> None:
        """Take one event. Raises as `RunTrace.feed`."""
        self._index(event)
        for span in self.trace.feed(event.seq, event.type, event.at_us, event.body):
            if len(self.ended) < MAX_ROWS:
                self.ended.append((event.seq, self._row(span)))

    def _index(self, event: TraceEvent) -> None:
        try:
            spoken = _BODY.decode(event.body).data
        except msgspec.MsgspecError:
            return
        if spoken.call_id is not None:
            self.calls.setdefault(spoken.call_id, []).append(event.seq)
        if spoken.usage is not None and not isinstance(spoken.usage, UnsetType) and spoken.usage.cost_micros:
            self.costs[event.seq] = spoken.usage.cost_micros

    def seen_from(self, after: int, now_us: int, *, whole: bool) -> Timeline:
        """What ended after event `after`, and all that has not ended."""
        trace = self.trace
        first = _first_after(self.ended, after)
        pending = [self._row(span) for span in trace.pending(now_us)]
        return Timeline(
            run_id=trace.run_id,
            agent=trace.agent,
            started_us=trace.started_us,
            now_us=max(now_us, trace.last_us) - trace.started_us,
            after=after,
            seq=trace.seq,
            ended=trace.ended,
            whole=whole and len(self.ended) < MAX_ROWS,
            rows=[row for _, row in self.ended[first:]],
            pending=pending,
            markers=[Marker(event.at_us - trace.started_us, event.name, event.attributes) for event in trace.events],
        )

    def _row(self, span: Span) -> Row:
        attributes = span.all_attributes
        more = {short: attributes[name] for name, short in _ATTRIBUTES.items() if name in attributes}
        seq = more.get("seq")
        call = more.get("call")
        cost = self.costs.get(seq, 0) if isinstance(seq, int) else 0
        if not cost and isinstance(call, str) and attributes.get(genai.KIND) in ("tool_call", "child"):
            cost = sum(self.costs.get(number, 0) for number in self.calls.get(CallId(call), []))
        return Row(
            id=span.span_id.hex(),
            parent=span.parent_id.hex(),
            kind=str(attributes.get(genai.KIND, "")),
            name=span.name,
            start=span.start_us - self.trace.started_us,
            end=span.end_us - self.trace.started_us,
            open=genai.PENDING in attributes,
            error=span.error,
            cost=cost,
            more=more,
        )


def _first_after(ended: list[tuple[int, Row]], after: int) -> int:
    low, high = 0, len(ended)
    while low < high:
        middle = (low + high) // 2
        if ended[middle][0] <= after:
            low = middle + 1
        else:
            high = middle
    return low


class Timelines:
    """The projections that are looked at. `clock` gives Unix seconds."""

    def __init__(self, traces: Traces, *, prefix: str, max_events: int, clock: Callable[[], float] = time.time) -> None:
        self._traces = traces
        self._prefix = prefix
        self._max_events = max_events
        self._clock = clock
        self._kept: OrderedDict[RunId, Projection] = OrderedDict()

    async def of(self, run_id: RunId) -> tuple[Projection, bool]:
        """The projection of everything that is committed by now, and whether all of the log went into it.

        Raises `BadMessage` for a log that cannot be read; whether the asker may see the run is the caller's affair.
        """
        projection = self._kept.get(run_id)
        if projection is None:
            projection = self._kept[run_id] = Projection(run_id, self._prefix)
            while len(self._kept) > MAX_KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(run_id)
        async with projection.lock:
            whole = await self._catch_up(projection)
        return projection, whole

    async def look(self, run_id: RunId, after: int) -> Timeline:
        """What has changed since event `after` (0: everything). Raises `BadMessage`."""
        projection, whole = await self.of(run_id)
        return projection.seen_from(after, round(self._clock() * 1e6), whole=whole)

    async def _catch_up(self, projection: Projection) -> bool:
        trace = projection.trace
        while not trace.ended:
            upto = min(trace.seq + PAGE_EVENTS, self._max_events)
            if trace.seq >= upto:
                return False
            page = await self._traces.events_of([trace.run_id], after=trace.seq, upto=upto)
            try:
                for event in page:
                    projection.feed(event)
            except (BadMessage, ValueError) as error:
                self._kept.pop(trace.run_id, None)  # half fed: the next look begins anew
                raise BadMessage(f"the log of run {trace.run_id} cannot be shown as a timeline: {error}") from error
            if trace.seq < upto:
                return True
        return True
