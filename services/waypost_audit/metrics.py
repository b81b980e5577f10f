"""What the audit logger counts. Owns the names."""

from __future__ import annotations

from collections.abc import Mapping

from waypost_io import metrics
from waypost_io.store.ports import AnchorRow, HeadRow

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


class AnchorMetrics:
    """How far each anchor is. Names of anchors are the operator's, and few."""

    def __init__(self, registry: metrics.Metrics) -> None:
        self._leaves = registry.gauge("waypost_audit_anchor_leaves", "Leaves under the last head that the anchor has.", labels=("anchor",))
        self._behind = registry.gauge(
            "waypost_audit_anchor_behind_leaves", "Leaves under a head that the anchor lacks.", labels=("anchor",)
        )
        self._at = registry.gauge("waypost_audit_anchor_time_seconds", "Unix time at which the anchor last got a head.", labels=("anchor",))
        self._failures = registry.counter("waypost_audit_anchor_failures_total", "Heads that could not be kept.", labels=("anchor",))
        self._conflict = registry.gauge(
            "waypost_audit_anchor_conflict", "1 while the anchor contradicts the audit log.", labels=("anchor",)
        )

    def seen(self, name: str, there: AnchorRow | None, newest: HeadRow | None) -> None:
        """What the anchor has, and what there is."""
        size = there.size if there else 0
        self._leaves.labels(name).set(size)
        self._at.labels(name).set(there.anchored_at if there else 0.0)
        self._behind.labels(name).set(max(0, (newest.size if newest else 0) - size))
        if newest is None or size >= newest.size:
            self._conflict.labels(name).set(0)

    def failed(self, name: str) -> None:
        self._failures.labels(name).inc()

    def conflict(self, name: str) -> None:
        self._conflict.labels(name).set(1)
