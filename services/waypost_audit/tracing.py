"""Traces as a projection of the log, exported as each step closes: read what is new, make its spans, send them, move the cursor.

The cursor moves after the collector has taken the spans, so a crash at any instant repeats some and loses none; ids are derived, so what is
repeated is the same. A collector that is away stops the reading, and nothing else: runs do not know of it, the log waits, and when it is
back everything follows. What is in memory is one batch.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import attrgetter

import structlog

from waypost_audit.bell import Bell
from waypost_audit.projecting import Projector
from waypost_audit.trace_metrics import TraceMetrics
from waypost_core.tracing.otlp_proto import Encoded
from waypost_io import faults
from waypost_io.lifecycle import Stop
from waypost_io.otlp_traces import NotTaken, Refused
from waypost_io.store.traces import TraceEvent, Traces
from waypost_proto.errors import ConcurrencyError, TransientError

FIRST_DELAY_SECONDS = 0.2
MAX_DELAY_SECONDS = 30.0
GATHER_SECONDS = 1.0
"""Between two looks under load: a batch gathers in it, and the database is left to those who are waited for. After a full batch there is no
pause."""
STAND_ASIDE_SECONDS = 10.0
"""A process whose cursors another one has moved looks this often whether that one still moves them."""
SAY_SECONDS = 60.0
CHUNK_EVENTS = 64
"""Spans are encoded after so many events: what a batch makes would else be written to memory and read back from it."""
MAX_REFUSALS = 8
"""Single spans refused one after another, with nothing taken in between, before the collector is taken to be at fault."""

Send = Callable[[bytes], None]
"""Delivers one export request; blocks. Raises `NotTaken`, `Refused`."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class TracingConfig:
    """At most `batch_max` events of each partition, and `batch_bytes` of them, at once. A request goes when it has `spans_max` spans."""

    batch_max: int = 500
    batch_bytes: int = 4 * 1024 * 1024
    spans_max: int = 2_000
    poll_seconds: float = 2.0
    from_now: bool = False
    """Where no cursor is yet, begin at what is committed now instead of at the first event of the log."""
    resource: Mapping[str, str] = field(default_factory=dict)
    version: str = ""


class TraceExporter:
    """`run` it once. `send` is called in a thread, once at a time."""

    def __init__(
        self, traces: Traces, projector: Projector, send: Send, bell: Bell, config: TracingConfig, *, metrics: TraceMetrics | None = None
    ) -> None:
        self._traces = traces
        self._projector = projector
        self._send = send
        self._bell = bell
        self._config = config
        self._metrics = metrics or TraceMetrics()
        self._cursors: dict[int, int] | None = None
        self._said_at = float("-inf")
        self._refusals = 0
        self._more = False
        """Whether the last look left something behind because its batch was full."""
        self._left_to_another: dict[int, int] | None = None
        """Where the cursors were when they were last looked at, while another process moves them."""
        self.trouble = ""
        """What is in the way, for people; never a reason not to be ready: runs do not wait for their traces."""

    async def run(self, stop: Stop) -> None:
        """Export until `stop`. Waits out a silent database or collector. Cancelling is as safe as a crash."""
        delay = FIRST_DELAY_SECONDS
        while not stop.requested:
            try:
                if self._left_to_another is not None:
                    await stop.sleep(STAND_ASIDE_SECONDS)
                    await self.watch()
                    continue
                taken = await self.step()
                self.trouble, delay = "", FIRST_DELAY_SECONDS
            except ConcurrencyError:
                self._drop()
                self._left_to_another = {}
                _log.info("another process exports traces, standing aside")
                continue
            except TransientError as error:
                self._drop()
                self._metrics.failed.inc()
                pause = error.retry_after_seconds if isinstance(error, NotTaken) and error.retry_after_seconds else delay
                self._say(error, pause)
                await stop.sleep(min(pause, MAX_DELAY_SECONDS))
                delay = min(delay * 2, MAX_DELAY_SECONDS)
                continue
            if not taken:
                await self._bell.idle(stop, self._config.poll_seconds, self.look)
            elif not self._more:
                await stop.sleep(GATHER_SECONDS)

    async def step(self) -> int:
        """One look: export what ended with the next events; how many events that were.

        Raises `ConcurrencyError` when another process was faster, `TransientError`; then nothing is lost, and some of it may be sent again.
        """
        if self._cursors is None:
            if self._config.from_now:
                await self._traces.skip()
            self._cursors = await self._traces.cursors()
        events = await self._traces.pending(self._config.batch_max, self._config.batch_bytes)
        if not events:
            return 0
        moves = self._moves(events)
        encoded = Encoded()
        for first in range(0, len(events), CHUNK_EVENTS):
            encoded.add(await self._projector.project(events[first : first + CHUNK_EVENTS]))
            if encoded.count >= self._config.spans_max:
                await self._export(encoded)
                encoded = Encoded()
        if encoded.count:
            await self._export(encoded)
        faults.point("audit.traces.before")
        await self._traces.move(moves)
        faults.point("audit.traces.after")
        self._cursors.update((partition, after) for partition, (_, after) in moves.items())
        self._metrics.events.inc(len(events))
        self._metrics.broken.set(self._projector.broken)
        self._metrics.kept.set(len(self._projector))
        return len(events)

    async def watch(self) -> None:
        """Look whether the process that exports still does: if there is something to do and no cursor has moved since the last look, it is
        ours again. Raises `TransientError`."""
        cursors, behind = await self._traces.cursors(), await self.look()
        if behind and cursors == self._left_to_another:
            self._left_to_another = None
            _log.info("nobody exports traces any more, taking over")
        else:
            self._left_to_another = cursors

    async def look(self) -> bool:
        """Whether there is anything to do."""
        behind = await self._traces.behind()
        self._metrics.behind.set(sum(behind.values()))
        return bool(behind)

    def _moves(self, events: Sequence[TraceEvent]) -> dict[int, tuple[int, int]]:
        """Where each partition's cursor is, and where it will be. Raises `ConcurrencyError` when another process has moved one."""
        assert self._cursors is not None
        found, self._more = {}, False
        for partition, group in groupby(events, key=attrgetter("partition")):
            mine = list(group)
            before = self._cursors.get(partition, 0)
            if mine[0].position <= before:
                raise ConcurrencyError(f"the cursor of partition {partition} went back")
            found[partition] = before, mine[-1].position
            self._more |= len(mine) >= self._config.batch_max or sum(len(event.body) for event in mine) >= self._config.batch_bytes
        return found

    async def _export(self, encoded: Encoded) -> None:
        """Send one request; what a collector finds too large or wrong is halved, until the one span at fault is left out."""
        body = encoded.body(self._config.resource, self._config.version)
        try:
            await asyncio.to_thread(self._send, body)
        except Refused as error:
            if encoded.count == 1:
                self._left_out(encoded, len(body), error)
                return
            for half in encoded.halves():
                await self._export(half)
            return
        self._refusals = 0
        self._metrics.spans.inc(encoded.count)
        self._metrics.bytes.inc(len(body))

    def _left_out(self, encoded: Encoded, size: int, error: Refused) -> None:
        """One span is refused by itself. When nothing but refusals comes, it is not the spans: raises `NotTaken`."""
        self._refusals += 1
        if self._refusals > MAX_REFUSALS:
            raise NotTaken(f"every span is refused: {error}")
        self._metrics.refused.inc()
        trace_id, name = encoded.first()
        _log.error("the collector refuses a span", span=name, trace_id=trace_id.hex(), bytes=size, error=str(error))

    def _drop(self) -> None:
        """Read everything behind the cursors again."""
        self._cursors = None
        self._projector.forget()

    def _say(self, error: TransientError, pause: float) -> None:
        self.trouble = str(error)
        now = asyncio.get_running_loop().time()
        if now - self._said_at > SAY_SECONDS:
            self._said_at = now
            _log.warning("traces cannot be exported, trying again", error=str(error), delay_seconds=pause)
