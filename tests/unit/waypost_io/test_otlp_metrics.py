"""Metrics by OTLP, received by a real HTTP server and read with OpenTelemetry's own protobuf classes."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from tests.waiting import wait_until
from waypost_io.genai_metrics import INPUT_TOKENS
from waypost_io.metrics import Metrics
from waypost_io.otlp_metrics import OtlpMetrics, wanted
from waypost_proto.errors import Misconfigured
from waypost_proto.ids import RunId, span_id

RUN = "01890000-0000-7000-8000-00000000000a"


class Receiver:
    """A collector: keeps every request. `port` is where."""

    def __init__(self) -> None:
        self.received: list[ExportMetricsServiceRequest] = []
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
        body = await reader.readexactly(int(fields["content-length"]))
        if fields.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        self.received.append(ExportMetricsServiceRequest.FromString(body))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()


def some_metrics() -> Metrics:
    metrics = Metrics()
    metrics.counter_of(INPUT_TOKENS).labels("chat", "openai", "gpt", "", "unknown").inc(120, RUN)
    seconds = metrics.histogram("waypost_commit_seconds", "Commits.", labels=("agent",), buckets=(0.1, 1.0)).labels("a")
    for value in (0.05, 0.5, 7):
        seconds.observe(value, RUN)
    metrics.gauge("waypost_lag", "Lag.").labels().follow(lambda: 7)
    metrics.gauge("waypost_nothing_yet", "No series.", labels=("agent",))
    return metrics


@pytest.mark.parametrize("interval", ["10", "600000"], ids=["each interval", "at the end"])
async def test_what_metrics_shows_goes_out(monkeypatch: pytest.MonkeyPatch, interval: str) -> None:
    async with receiving() as receiver:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{receiver.port}")
        monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", interval)
        async with OtlpMetrics("coordinator", some_metrics()):
            if interval == "10":
                await wait_until(lambda: len(receiver.received) >= 2)
    (resource,) = receiver.received[-1].resource_metrics
    attributes = {each.key: each.value.string_value for each in resource.resource.attributes}
    assert attributes["service.name"] == "waypost-coordinator"
    (scope,) = resource.scope_metrics
    found = {metric.name: metric for metric in scope.metrics}
    assert set(found) == {"gen_ai.client.inference.usage.input_tokens", "waypost_commit", "waypost_lag"}

    tokens = found["gen_ai.client.inference.usage.input_tokens"]
    assert tokens.unit == "{token}"
    assert tokens.sum.is_monotonic
    (point,) = tokens.sum.data_points
    assert point.as_double == 120
    assert {each.key: each.value.string_value for each in point.attributes} == {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "gpt",
        "gen_ai.token.modality": "unknown",
    }
    assert point.start_time_unix_nano < point.time_unix_nano

    (spread,) = found["waypost_commit"].histogram.data_points
    assert found["waypost_commit"].unit == "s"
    assert (list(spread.bucket_counts), list(spread.explicit_bounds), spread.count, spread.sum) == ([1, 1, 1], [0.1, 1.0], 3, 7.55)
    assert not spread.HasField("min")
    assert [each.trace_id.hex() for each in spread.exemplars] == [RUN.replace("-", "")] * 3
    assert spread.exemplars[0].span_id == span_id(RunId(RUN), 1)
    assert found["waypost_lag"].gauge.data_points[0].as_double == 7


async def test_nothing_is_sent_or_imported_unless_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    async with OtlpMetrics("worker", some_metrics(), environment={}) as quiet:
        assert quiet._task is None


async def test_a_collector_that_is_away_holds_nobody_up(monkeypatch: pytest.MonkeyPatch, free_port: int) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{free_port}")
    monkeypatch.setattr("waypost_io.otlp_metrics.LAST_SECONDS", 0.05)
    async with asyncio.timeout(5):
        async with OtlpMetrics("worker", some_metrics()):
            pass


@pytest.mark.parametrize(
    ("environment", "answer"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://c:4318/v1/metrics"}, True),
        ({"OTEL_METRICS_EXPORTER": "otlp"}, True),
        ({"OTEL_METRICS_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, False),
        ({"OTEL_METRICS_EXPORTER": "prometheus", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, False),
        ({"OTEL_SDK_DISABLED": "true", "OTEL_METRICS_EXPORTER": "otlp"}, False),
    ],
)
def test_the_standard_variables_decide(environment: dict[str, str], answer: bool) -> None:
    assert wanted(environment) is answer


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({"OTEL_METRICS_EXPORTER": "console"}, "console"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "http/protobuf"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_METRIC_EXPORT_INTERVAL": "often"}, "OTEL_METRIC_EXPORT_INTERVAL"),
    ],
)
async def test_what_cannot_be_is_said_at_the_start(environment: dict[str, str], words: str) -> None:
    with pytest.raises(Misconfigured, match=words):
        async with OtlpMetrics("worker", Metrics(), environment=environment):
            pass
