"""What the coordinator counts."""

from __future__ import annotations

from waypost_io.metrics import Metrics


class CoordinatorMetrics:
    """Named once; label sets are bounded."""

    def __init__(self, metrics: Metrics) -> None:
        self._events = metrics.counter("waypost_events_committed_total", "Events committed to the log.").labels()
        self._letters = metrics.counter("waypost_letters_total", "Messages decided and committed.").labels()
        self._seconds = metrics.histogram("waypost_commit_seconds", "Duration of one group commit.").labels()
        self._published = metrics.counter("waypost_dispatches_total", "Dispatches confirmed by JetStream.").labels()
        self._dead = metrics.counter("waypost_dead_letters_total", "Messages that could not be handled.", labels=("origin",))
        self._owned = metrics.gauge("waypost_partitions_owned", "Partitions that this replica owns.").labels()

    def committed(self, events: int, letters: int, seconds: float) -> None:
        """One group commit of so many events, for so many messages."""
        self._events.inc(events)
        self._letters.inc(letters)
        self._seconds.observe(seconds)

    def published(self, count: int) -> None:
        self._published.inc(count)

    def dead(self, origin: str) -> None:
        self._dead.labels(origin).inc()

    def owned(self, count: int) -> None:
        self._owned.set(count)
