"""What the audit logger counts. Owns the names."""

from __future__ import annotations

from collections.abc import Mapping

from waypost_io import metrics


class Metrics:
    """The audit logger's metrics, in the process's registry."""

    def __init__(self, registry: metrics.Metrics | None = None) -> None:
        self.registry = registry or metrics.Metrics()
        self.appended = self.registry.counter("waypost_audit_appended_total", "Events taken over into the audit log.").labels()
        self.overtaken = self.registry.counter("waypost_audit_overtaken_total", "Appends that another audit logger had made.").labels()
        self.gaps = self.registry.gauge("waypost_audit_gaps", "Partitions whose events are not dense: something is missing.").labels()
        self._lag = self.registry.gauge("waypost_audit_lag_events", "Committed events not yet in the audit log.", labels=("partition",))
        self._looked = self.registry.gauge("waypost_audit_last_look_seconds", "Unix time of the last look at the log.").labels()

    def lag(self, lag: Mapping[int, int], now: float) -> None:
        """One look at the log, at Unix time `now`."""
        for partition, count in lag.items():
            self._lag.labels(str(partition)).set(count)
        self._looked.set(now)
