"""What the edge counts. Owns the names."""

from __future__ import annotations

from waypost_io import metrics


class Metrics:
    """The edge's metrics, in the process's registry."""

    def __init__(self, registry: metrics.Metrics | None = None) -> None:
        self.registry = add = registry or metrics.Metrics()
        self.requests = add.counter("waypost_edge_requests_total", "Requests answered.", labels=("route", "status"))
        self.seconds = add.histogram("waypost_edge_request_seconds", "From a request to its answer.", labels=("route",))
        self.webhooks = add.counter("waypost_edge_webhooks_total", "Deliveries of events to endpoints.", labels=("webhook", "outcome"))
        self.watchers = add.gauge("waypost_edge_watchers", "Who watches live events through this edge.").labels()
        self.events_read = add.counter("waypost_edge_events_read_total", "Events read for searches.").labels()
