"""What every run on this worker shares, and what a run's slot asks of its owner. Contracts only, no behaviour."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from waypost_io.metrics import Metrics
from waypost_proto.subjects import Subjects
from waypost_worker.clock import DatabaseTime
from waypost_worker.effects import EffectRunner
from waypost_worker.frames import BlobStore
from waypost_worker.journal import JournalReader
from waypost_worker.outbox import Publishes
from waypost_worker.token_stream import TokenStreams
from waypost_worker.tuning import Tuning

if TYPE_CHECKING:
    from waypost_worker.slot import RunSlot


class WorkerMetrics:
    """The worker's numbers, for `/metrics`."""

    def __init__(self, metrics: Metrics) -> None:
        self.activations = metrics.counter("waypost_worker_activations_total", "Activations received.").labels()
        self.redelivered = metrics.counter(
            "waypost_worker_activations_redelivered_total", "Activations that were delivered before."
        ).labels()
        self.advances = metrics.counter("waypost_worker_advances_total", "Advances published.").labels()
        self.republished = metrics.counter(
            "waypost_worker_advances_republished_total", "Advances published again because nobody confirmed them."
        ).labels()
        self.rejected = metrics.counter("waypost_worker_advances_rejected_total", "Advances on another journal.").labels()
        self.hits = metrics.counter("waypost_worker_cache_hits_total", "Activations of a run whose coroutine was in memory.").labels()
        self.misses = metrics.counter("waypost_worker_cache_misses_total", "Activations that needed the journal.").labels()
        self.failures = metrics.counter("waypost_worker_failures_total", "Runs let go after an error of the worker itself.").labels()
        self.concurrency = metrics.gauge("waypost_worker_concurrency", "Runs that may work at one time.").labels()
        self.effects = metrics.gauge("waypost_worker_effects_running", "Local effects in flight.").labels()
        self.active = metrics.gauge("waypost_worker_runs_active", "Runs with an activation in hand.").labels()
        self.cached = metrics.gauge("waypost_worker_runs_cached", "Coroutines in memory.").labels()


@dataclass(frozen=True, slots=True, kw_only=True)
class Hosting:
    """The worker's identity and the services that all its runs use."""

    worker: str
    build: str
    bus: Publishes
    subjects: Subjects
    tuning: Tuning
    effects: EffectRunner
    reader: JournalReader
    payloads: BlobStore
    metrics: WorkerMetrics
    streams: TokenStreams
    clock: Callable[[], float] = time.time
    run_clock: DatabaseTime = field(default_factory=DatabaseTime)
    """The time that results carry."""
    """Unix seconds."""


class SlotOwner(Protocol):
    """What a slot tells and asks; all of it is synchronous."""

    def time(self) -> float:
        """The event loop's clock."""
        ...

    def spawn(self, work: Coroutine[object, object, None], slot: RunSlot) -> asyncio.Task[None]:
        """Run it beside; what it raises lets the slot go."""
        ...

    def guarded(self, slot: RunSlot, call: Callable[[], None]) -> None:
        """Call it; what it raises lets the slot go."""
        ...

    def working(self, slot: RunSlot) -> None:
        """It has sent something that waits for confirmation."""
        ...

    def confirmed(self, slot: RunSlot) -> None:
        """Everything it sent is confirmed."""
        ...

    def resting(self, slot: RunSlot) -> None:
        """It holds no activation any more."""
        ...

    def gone(self, slot: RunSlot) -> None:
        """Close and forget it."""
        ...
