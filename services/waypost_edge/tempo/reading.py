"""The log of runs as traces: bounded reads, nothing kept."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import attrgetter

import structlog

from waypost_core.tracing import NOTHING, Capture, RunTrace, Span
from waypost_edge.tempo.fields import Trace
from waypost_io.store.traces import TraceEvent, Traces
from waypost_proto.errors import BadMessage
from waypost_proto.ids import RunId

PAGE_EVENTS = 1_000
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How traces are read: what they show, and how many events one answer may be made of."""

    traces: Traces
    capture: Capture = NOTHING
    prefix: str = "waypost"
    resource: Mapping[str, str] = field(default_factory=dict)
    max_events: int = 50_000
    clock: Callable[[], float] = time.time

    async def one(self, run_id: RunId) -> tuple[Trace | None, bool]:
        """The whole trace of a run, and whether all of its log was read. None for a run that nobody knows."""
        made = RunTrace(run_id, self.capture, prefix=self.prefix)
        spans: list[Span] = []
        whole = False
        while not whole and made.seq < self.max_events:
            upto = min(made.seq + PAGE_EVENTS, self.max_events)
            page = await self.traces.events_of([run_id], after=made.seq, upto=upto)
            for event in page:
                spans += made.feed(event.seq, event.type, event.at_us, event.body)
            whole = made.seq < upto or made.ended
        return self._trace(made, spans), whole

    async def several(self, run_ids: Sequence[RunId]) -> tuple[dict[RunId, Trace], int]:
        """The traces of these runs, of the first thousand events of each, and how many events that were. What has no trace is left out."""
        events = await self.traces.events_of(run_ids, after=0, upto=PAGE_EVENTS)
        found = {}
        for run_id, history in groupby(events, key=attrgetter("run_id")):
            trace = self._of(run_id, history)
            if trace is not None:
                found[run_id] = trace
        return found, len(events)

    def _of(self, run_id: RunId, history: Iterable[TraceEvent]) -> Trace | None:
        made = RunTrace(run_id, self.capture, prefix=self.prefix)
        spans: list[Span] = []
        try:
            for event in history:
                spans += made.feed(event.seq, event.type, event.at_us, event.body)
        except (BadMessage, ValueError) as error:
            _log.warning("run cannot be traced", run_id=run_id, error=str(error))
            return None
        return self._trace(made, spans)

    def _trace(self, made: RunTrace, spans: list[Span]) -> Trace | None:
        whole = [*spans, *made.pending(round(self.clock() * 1e6))]
        root = next((span for span in whole if not span.parent_id), None)
        return None if root is None else Trace(whole, root, self.resource)
