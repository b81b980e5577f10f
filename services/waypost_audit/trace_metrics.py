"""What the export of traces counts. Owns the names."""

from __future__ import annotations

from waypost_io import metrics


class TraceMetrics:
    """The exporter's metrics, in the process's registry."""

    def __init__(self, registry: metrics.Metrics | None = None) -> None:
        add = registry or metrics.Metrics()
        self.events = add.counter("waypost_traces_events_total", "Events whose spans were exported.").labels()
        self.spans = add.counter("waypost_traces_spans_total", "Spans that the collector has taken.").labels()
        self.bytes = add.counter("waypost_traces_bytes_total", "Bytes of spans that the collector has taken, before compression.").labels()
        self.failed = add.counter("waypost_traces_failed_total", "Tries that ended without the collector or the database.").labels()
        self.refused = add.counter("waypost_traces_refused_total", "Spans that the collector refuses, left out.").labels()
        self.behind = add.gauge("waypost_traces_behind_events", "Committed events whose spans are not exported yet.").labels()
        self.kept = add.gauge("waypost_traces_runs_kept", "Runs whose traces are kept in memory.").labels()
        self.broken = add.gauge("waypost_traces_runs_broken", "Runs whose log has no trace: a hole, or bytes that are no event.").labels()
