"""The exporter of traces as the settings of this process make it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version

import structlog

from waypost_audit.bell import Bell
from waypost_audit.projecting import Projector
from waypost_audit.trace_metrics import TraceMetrics
from waypost_audit.tracing import TraceExporter, TracingConfig
from waypost_io.bus.ports import Bus
from waypost_io.metrics import Metrics
from waypost_io.otlp_traces import Endpoint, OtlpSender, resource_of
from waypost_io.settings import AuditSettings
from waypost_io.store.ports import Store
from waypost_io.store.traces import TraceEvent
from waypost_io.trace_content import capture_of
from waypost_proto.ids import RunId

_log = structlog.get_logger(__name__)


@contextmanager
def exporting(settings: AuditSettings, endpoint: Endpoint, store: Store, bus: Bus, registry: Metrics) -> Iterator[TraceExporter]:
    """Ready to `run`; its connection to the collector is closed at the end. Raises `Misconfigured`."""
    config = TracingConfig(
        batch_max=settings.traces_batch_max,
        poll_seconds=settings.poll_seconds,
        from_now=settings.traces_from == "now",
        resource=resource_of(os.environ, version("waypost")),
        version=version("waypost"),
    )

    async def history(run_id: RunId, after: int, upto: int) -> list[TraceEvent]:
        return await store.traces.events_of([run_id], after=after, upto=upto)

    projector = Projector(history, capture_of(), prefix=settings.prefix, keep=settings.traces_keep_runs)
    with OtlpSender(endpoint) as sender:
        bell = Bell(bus, settings.subjects.all_events())
        _log.info("traces are exported", url=endpoint.url, compression=endpoint.compression)
        yield TraceExporter(store.traces, projector, sender.send, bell, config, metrics=TraceMetrics(registry))
