"""What the audit logger counts. Owns the names."""

from __future__ import annotations

from collections.abc import Mapping

from waypost_io import metrics

LAG_BUCKETS_SECONDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 15.0, 60.0, 300.0)


class Metrics:
    """The audit logger's metrics, in the process's registry."""

    def __init__(self, registry: metrics.Metrics | None = None) -> None:
        self.registry = registry or metrics.Metrics()
        add = self.registry
        self.appended = add.counter("waypost_audit_appended_total", "Events taken over into the audit log.").labels()
        self.overtaken = add.counter("waypost_audit_overtaken_total", "Appends that another audit logger had made.").labels()
        self.gaps = add.gauge("waypost_audit_gaps", "Partitions whose events are not dense: something is missing.").labels()
        self.active = add.gauge("waypost_audit_active", "1 while this process appends, 0 while another one does.").labels()
        self.broken = add.gauge("waypost_audit_broken", "1 while the audit log contradicts its own signed head.").labels()
        self.leaves = add.gauge("waypost_audit_leaves", "Leaves of the audit log.").labels()
        self.heads = add.counter("waypost_audit_heads_total", "Heads signed.").labels()
        self.head_size = add.gauge("waypost_audit_head_leaves", "Leaves under the newest signed head.").labels()
        self.head_at = add.gauge("waypost_audit_head_time_seconds", "Unix time of the newest signed head.").labels()
        self.took = add.histogram(
            "waypost_audit_lag_seconds", "From an event's recording to its leaf, oldest of each append.", buckets=LAG_BUCKETS_SECONDS
        ).labels()
        self._lag = add.gauge("waypost_audit_lag_events", "Committed events not yet in the audit log.", labels=("partition",))
        self._looked = add.gauge("waypost_audit_last_look_seconds", "Unix time of the last look at the log.").labels()
        self._partitions: set[int] = set()

    def lag(self, lag: Mapping[int, int], now: float) -> None:
        """One look at the log, at Unix time `now`. A partition that is not named is not behind."""
        self._partitions |= lag.keys()
        for partition in self._partitions:
            self._lag.labels(str(partition)).set(lag.get(partition, 0))
        self._looked.set(now)
