"""Events of many runs in, spans out: the traces of the runs that go on, kept in memory and made again from the log where they are not.

Owns no position and sends nothing. What it holds can be dropped at any moment: the next event of a run makes its trace again from the run's
own history, which is one bounded read per thousand events.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

import structlog

from waypost_core.tracing import Capture, RunTrace, Span
from waypost_io.store.traces import TraceEvent
from waypost_proto.errors import BadMessage
from waypost_proto.ids import RunId

PAGE_EVENTS = 1_000
MAX_BROKEN = 1_000
"""Runs whose log cannot be projected, remembered so that each is said once."""

History = Callable[[RunId, int, int], Awaitable[Sequence[TraceEvent]]]
"""(run, after, upto) → its events with `after` < seq ≤ `upto`."""

_log = structlog.get_logger(__name__)


class Projector:
    """Keeps the traces of at most `keep` runs that have not ended."""

    def __init__(self, history: History, capture: Capture, *, prefix: str = "waypost", keep: int = 10_000) -> None:
        self._history = history
        self._capture = capture
        self._prefix = prefix
        self._keep = keep
        self._traces: dict[RunId, RunTrace] = {}
        self._broken: dict[RunId, None] = {}
        self.broken = 0
        """Runs given up so far."""

    def __len__(self) -> int:
        return len(self._traces)

    async def project(self, events: Sequence[TraceEvent]) -> list[Span]:
        """The spans that end with these events. Events of one run come in order; none is given twice until `forget`.

        Raises `TransientError` when a history cannot be read; then `forget` and give the same events again.
        """
        spans: list[Span] = []
        for event in events:
            run_id, seq, kind, at_us, body, _, _ = event
            trace = self._traces.pop(run_id, None)
            try:
                if trace is None:
                    if run_id in self._broken:
                        continue
                    trace = await self._begin(event)
                spans += trace.feed(seq, kind, at_us, body)
            except (BadMessage, ValueError) as error:
                self._give_up(event, error)
                continue
            if not trace.ended:
                self._traces[run_id] = trace  # now the youngest
        while len(self._traces) > self._keep:
            del self._traces[next(iter(self._traces))]
        return spans

    def forget(self) -> None:
        """Drop everything: the events that were given last will be given again."""
        self._traces.clear()

    async def _begin(self, event: TraceEvent) -> RunTrace:
        trace = RunTrace(event.run_id, self._capture, prefix=self._prefix)
        while trace.seq < event.seq - 1:
            page = await self._history(event.run_id, trace.seq, min(event.seq - 1, trace.seq + PAGE_EVENTS))
            if not page:
                raise ValueError(f"event {trace.seq + 1} of the run is not in the log")
            for earlier in page:
                trace.feed(earlier.seq, earlier.type, earlier.at_us, earlier.body)
        return trace

    def _give_up(self, event: TraceEvent, error: Exception) -> None:
        """A log with a hole, or with bytes that are no event, has no trace: the audit log proves that; no reason to stop here."""
        self.broken += 1
        self._broken[event.run_id] = None
        while len(self._broken) > MAX_BROKEN:
            del self._broken[next(iter(self._broken))]
        _log.error("run cannot be traced", run_id=event.run_id, seq=event.seq, error=str(error))
