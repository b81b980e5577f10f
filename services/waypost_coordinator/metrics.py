"""What the coordinator counts on its way: letters, commits, publishes. What it sees of the whole system is in `overview`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from waypost_io.metrics import Metrics

_SIZES = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1_000.0, 2_000.0)


class CoordinatorMetrics:
    """Named once; label sets are bounded."""

    def __init__(self, metrics: Metrics) -> None:
        self.registry = metrics
        self._events = metrics.counter("waypost_events_committed_total", "Events committed to the log.").labels()
        self._letters = metrics.counter("waypost_letters_total", "Messages decided and committed.").labels()
        self._seconds = metrics.histogram("waypost_commit_seconds", "Duration of one group commit.").labels()
        self._batch_letters = metrics.histogram("waypost_batch_letters", "Messages in one group commit.", buckets=_SIZES).labels()
        self._batch_events = metrics.histogram("waypost_batch_events", "Events in one group commit.", buckets=_SIZES).labels()
        self._failed = metrics.counter("waypost_commits_failed_total", "Group commits that failed, by what is known.", labels=("why",))
        self._published = metrics.counter("waypost_dispatches_total", "Dispatches confirmed by JetStream.").labels()
        self._dead = metrics.counter("waypost_dead_letters_total", "Messages that could not be handled.", labels=("origin",))
        self._owned = metrics.gauge("waypost_partitions_owned", "Partitions that this replica owns.").labels()
        self._partitions = metrics.gauge("waypost_partitions", "Partitions that there are.").labels()
        self._waiting = metrics.gauge("waypost_letters_waiting", "Messages in memory that are not decided yet.").labels()
        self._cached = metrics.gauge("waypost_runs_cached", "Runs in memory.").labels()
        # from 0 on: `increase()` does not see the first of a series that begins at 1
        for why in ("refused", "unknown"):
            self._failed.labels(why)
        for origin in ("tasks", "mailbox"):
            self._dead.labels(origin)

    def follow(self, *, partitions: int, waiting: Callable[[], int], cached: Callable[[], int]) -> None:
        """Where to look at each scrape for the letters that wait, and the runs in memory; and how many partitions there are."""
        self._partitions.set(partitions)
        self._waiting.follow(waiting)
        self._cached.follow(cached)

    def committed(self, events: int, letters: int, seconds: float) -> None:
        """One group commit of so many events, for so many messages."""
        self._events.inc(events)
        self._letters.inc(letters)
        self._seconds.observe(seconds)
        self._batch_letters.observe(letters)
        self._batch_events.observe(events)

    def failed(self, why: Literal["refused", "unknown"]) -> None:
        """A commit wrote nothing (`refused`), or may have written everything (`unknown`)."""
        self._failed.labels(why).inc()

    def published(self, count: int) -> None:
        self._published.inc(count)

    def dead(self, origin: str) -> None:
        self._dead.labels(origin).inc()

    def owned(self, count: int) -> None:
        self._owned.set(count)
