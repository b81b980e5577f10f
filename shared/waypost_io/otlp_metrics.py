"""Metrics by OTLP: what `/metrics` shows, sent to a collector as well. Off unless the standard `OTEL_*` variables ask for it.

    async with OtlpMetrics("coordinator", metrics):
        ...

One set of numbers: they are counted in `metrics`, and read here once per interval, so the hot path pays nothing and both ways show the
same. Sums and histograms are cumulative since the process started. OpenTelemetry's packages (`pip install 'waypost[otlp]'`) are imported
only when it is on: they take 16 MiB. Owns the reading and the sending; the exporter and its `OTEL_EXPORTER_OTLP_*` are OpenTelemetry's.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Self, cast

import structlog

from waypost_io.metrics import AnyFamily, Counter, Exemplar, Gauge, Histogram, Metrics
from waypost_proto.errors import Misconfigured
from waypost_proto.ids import RunId, span_id

if TYPE_CHECKING:
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.sdk.metrics import Exemplar as OtelExemplar
    from opentelemetry.sdk.metrics.export import HistogramDataPoint, Metric, MetricsData
    from opentelemetry.sdk.resources import Resource

INTERVAL_MILLIS = 60_000
LAST_SECONDS = 2.0
"""How long the last numbers may take at the end of the process."""
SCOPE = "waypost"
FIRST = 1
"""The event with which a run begins, and the span of the whole run."""

_log = structlog.get_logger(__name__)


def wanted(environment: Mapping[str, str] | None = None) -> bool:
    """Whether the environment asks for metrics by OTLP: an endpoint, or `OTEL_METRICS_EXPORTER=otlp`.

    Raises `Misconfigured` for an exporter or a protocol that there is none of.
    """
    source = os.environ if environment is None else environment
    if source.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    named = {name.strip() for name in source.get("OTEL_METRICS_EXPORTER", "").lower().split(",") if name.strip()}
    if unknown := named - {"otlp", "none", "prometheus"}:
        raise Misconfigured(f"OTEL_METRICS_EXPORTER={','.join(sorted(unknown))!r}: use otlp or none; /metrics is always there")
    endpoint = source.get("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT") or source.get("OTEL_EXPORTER_OTLP_ENDPOINT")
    on = "otlp" in named or (not named and bool(endpoint))
    protocol = source.get("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL") or source.get("OTEL_EXPORTER_OTLP_PROTOCOL") or "http/protobuf"
    if on and protocol != "http/protobuf":
        raise Misconfigured(f"OTEL_EXPORTER_OTLP_PROTOCOL={protocol!r}: Waypost speaks http/protobuf (a collector's port 4318)")
    return on


class OtlpMetrics:
    """Sends while its context is open, every `OTEL_METRIC_EXPORT_INTERVAL` milliseconds and once at the end; nothing when it is not wanted.

    Raises `Misconfigured` on entering when it is wanted and cannot be. A collector that is away costs nothing but its numbers' age.
    """

    def __init__(self, service: str, metrics: Metrics, *, environment: Mapping[str, str] | None = None) -> None:
        self._service = service
        self._metrics = metrics
        self._environment = os.environ if environment is None else environment
        self._started = time.time_ns()
        self._exporter: OTLPMetricExporter | None = None
        self._resource: Resource | None = None
        self._thread: ThreadPoolExecutor | None = None
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        if wanted(self._environment):
            seconds = _interval_seconds(self._environment)
            self._open()
            self._task = asyncio.create_task(self._run(seconds), name="otlp-metrics")
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._task is None or self._thread is None or self._exporter is None:
            return
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LAST_SECONDS):
                await self._send()
        self._exporter.shutdown(timeout_millis=0)  # a retry under way ends
        self._thread.shutdown(wait=False, cancel_futures=True)
        self._task = self._thread = self._exporter = None

    def read(self) -> MetricsData:
        """Everything as it is now, in OpenTelemetry's shape."""
        from opentelemetry.sdk.metrics.export import MetricsData, ResourceMetrics, ScopeMetrics
        from opentelemetry.sdk.util.instrumentation import InstrumentationScope

        assert self._resource is not None
        now = time.time_ns()
        found = [_metric(family, self._started, now) for family in self._metrics.families() if next(family.series(), None) is not None]
        scope = ScopeMetrics(scope=InstrumentationScope(SCOPE), metrics=found, schema_url="")
        return MetricsData([ResourceMetrics(resource=self._resource, scope_metrics=[scope], schema_url="")])

    def _open(self) -> None:
        try:
            from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
            from opentelemetry.sdk.resources import Resource
        except ImportError as error:
            raise Misconfigured(f"OTEL_* asks for metrics by OTLP and {error.name} is missing: pip install 'waypost[otlp]'") from error
        attributes = {"service.name": f"waypost-{self._service}", "service.namespace": "waypost"}
        if name := self._environment.get("OTEL_SERVICE_NAME"):
            attributes["service.name"] = name
        self._resource = Resource.create(dict[str, str](attributes))
        self._exporter = OTLPMetricExporter()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="otlp-metrics")

    async def _run(self, seconds: float) -> None:
        while True:
            await asyncio.sleep(seconds)
            await self._send()

    async def _send(self) -> None:
        """The exporter keeps within `OTEL_EXPORTER_OTLP_TIMEOUT`, and says in the log why it failed."""
        assert self._exporter is not None
        await asyncio.get_running_loop().run_in_executor(self._thread, self._exporter.export, self.read())


def _interval_seconds(source: Mapping[str, str]) -> float:
    text = source.get("OTEL_METRIC_EXPORT_INTERVAL", "").strip() or str(INTERVAL_MILLIS)
    try:
        millis = float(text)
    except ValueError:
        millis = 0.0
    if millis < 1:
        raise Misconfigured(f"OTEL_METRIC_EXPORT_INTERVAL={text!r}: a number of milliseconds, for example {INTERVAL_MILLIS}")
    return millis / 1000


def _metric(family: AnyFamily, started: int, now: int) -> Metric:
    from opentelemetry.sdk.metrics import export as otel

    instrument = family.instrument
    points: list[otel.NumberDataPoint] = []
    spread: list[otel.HistogramDataPoint] = []
    for attributes, series in _series(family):
        if isinstance(series, Histogram):
            spread.append(_spread(series, attributes, started, now))
        elif isinstance(series, Counter):
            points.append(otel.NumberDataPoint(attributes, started, now, float(series.value), _exemplars([series.exemplar])))
        else:
            points.append(otel.NumberDataPoint(attributes, started, now, float(series.value)))
    cumulative = otel.AggregationTemporality.CUMULATIVE
    data: otel.Sum | otel.Gauge | otel.Histogram
    match instrument.kind:
        case "counter":
            data = otel.Sum(points, cumulative, is_monotonic=True)
        case "gauge":
            data = otel.Gauge(points)
        case "histogram":
            data = otel.Histogram(spread, cumulative)
    return otel.Metric(name=instrument.otel_name, description=instrument.text, unit=instrument.unit, data=data)


def _series(family: AnyFamily) -> Iterator[tuple[dict[str, str], Counter | Gauge | Histogram]]:
    """Attributes and numbers of each series; a label without a value is left out, as OpenTelemetry has it."""
    names = family.instrument.otel_attributes
    for values, series in family.series():
        yield {name: value for name, value in zip(names, values, strict=True) if value}, series


def _spread(series: Histogram, attributes: dict[str, str], started: int, now: int) -> HistogramDataPoint:
    from opentelemetry.sdk.metrics import export as otel

    unknown = cast("float", None)  # smallest and largest are optional on the wire, and are not kept
    return otel.HistogramDataPoint(
        attributes=attributes,
        start_time_unix_nano=started,
        time_unix_nano=now,
        count=sum(series.counts),
        sum=series.total,
        bucket_counts=list(series.counts),
        explicit_bounds=list(series.bounds),
        min=unknown,
        max=unknown,
        exemplars=_exemplars(series.exemplars.values()),
    )


def _exemplars(kept: Iterable[Exemplar | None]) -> list[OtelExemplar]:
    """The runs behind some observations, as the span of the whole run."""
    from opentelemetry.sdk.metrics import Exemplar as OtelExemplar

    return [
        OtelExemplar(
            {}, each.value, int(each.at * 1e9), int.from_bytes(span_id(RunId(each.run_id), FIRST)), int(each.run_id.replace("-", ""), 16)
        )
        for each in kept
        if each is not None
    ]
