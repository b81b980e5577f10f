"""Gauges of the whole system: runs by status, what waits for people, calls in doubt, deadlines, queues.

A scrape only shows what the last look found; the looks are paced. Each replica looks at the runs of the partitions that it owns, so the
replicas' numbers add up and no run is counted twice; the queues are looked at by the owner of partition 0 alone. A look reads what is open
and nothing that has ended. When there is so much open that a look takes long, looks become rare: they take at most `SHARE` of the time.
"""

from __future__ import annotations

import asyncio

import structlog

from waypost_coordinator.batch import Batch
from waypost_coordinator.doubts import Doubts
from waypost_coordinator.ground import Ground
from waypost_coordinator.overview_metrics import OverviewMetrics
from waypost_coordinator.registry import Registry
from waypost_io.bus.ports import StreamLoad
from waypost_io.metrics import Metrics
from waypost_proto.errors import WaypostError
from waypost_proto.subjects import Subjects

log = structlog.get_logger(__name__)

SHARE = 0.01
"""Of the time that looks may take, all in all."""
LOOKER = 0
"""The partition whose owner looks at the queues."""
QUEUES = ("TASKS", "MAILBOX", "WORK", "TOOLS", "DEAD")
"""Streams that are shown: the work queues, and what could not be processed."""
STICKY = "sticky"
"""Queue of all the workers' own consumers together: there are as many as workers, and their names do not stay."""


class SystemOverview:
    """Run `run()` in a task."""

    def __init__(self, ground: Ground, registry: Registry, metrics: Metrics, *, look_seconds: float = 10.0) -> None:
        self._ground = ground
        self._registry = registry
        self._metrics = OverviewMetrics(metrics)
        self._doubts = Doubts(ground)
        self._look_seconds = look_seconds

    def committed(self, batch: Batch) -> None:
        """After every commit: a set look-up per event."""
        self._doubts.committed(batch)

    async def run(self) -> None:
        """Look until cancelled. A server that is away costs the numbers' age only."""
        while True:
            started = self._ground.clock.monotonic()
            try:
                await self.look()
            except WaypostError as error:
                log.debug("overview_not_taken", error=str(error))
            took = self._ground.clock.monotonic() - started
            await asyncio.sleep(max(self._look_seconds, took / SHARE))

    async def look(self) -> None:
        """One look. Raises what the store and the bus raise; then the old numbers stay."""
        started = self._ground.clock.monotonic()
        partitions = sorted(self._ground.epochs)
        overview, now = self._ground.store.overview, self._ground.clock.now()
        runs = await overview.open_runs(partitions) if partitions else []
        approvals = await overview.open_approvals(partitions) if partitions else []
        await self._doubts.seed()
        loads = await self._loads() if LOOKER in self._ground.epochs else []
        self._metrics.runs(runs, now)
        self._metrics.approvals(approvals, now)
        self._metrics.doubts(self._doubts.count())
        self._metrics.queues(loads, lambda load: waiting_in(self._ground.subjects, load))
        self._metrics.peers({kind: self._registry.living(kind) for kind in ("worker", "gateway")})
        self._metrics.looked(now, self._ground.clock.monotonic() - started)

    async def _loads(self) -> list[tuple[str, StreamLoad]]:
        """The short name and the load of each stream that is there."""
        found = [(name, await self._ground.bus.load(self._ground.subjects.stream(name))) for name in QUEUES]
        return [(name, load) for name, load in found if load is not None]


def waiting_in(subjects: Subjects, load: StreamLoad) -> dict[str, tuple[int, int]]:
    """(pending, delivered and not acked) by queue: the partition of a mailbox, the agent of work, the tool of calls."""
    found: dict[str, tuple[int, int]] = {}
    for consumer in load.consumers:
        queue = _queue_of(subjects, consumer.filter_subject) or consumer.name
        pending, unacked = found.get(queue, (0, 0))
        found[queue] = (pending + consumer.pending, unacked + consumer.unacked)
    return found


def _queue_of(subjects: Subjects, filter_subject: str) -> str:
    """Of a consumer's filter subject; "" where it has no name of its own (intake)."""
    kind, _, rest = filter_subject.removeprefix(f"{subjects.prefix}.").partition(".")
    name = rest.partition(".")[0]
    if kind == "work" and name == "*":
        return STICKY
    return name if kind in ("work", "tools", "mailbox") else ""
