"""Where traces go, by the standard variables, and what a collector's answers mean."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from waypost_io.otlp_traces import Endpoint, NotTaken, OtlpSender, Refused, endpoint_of, resource_of
from waypost_proto.errors import Misconfigured


class Collector(ThreadingHTTPServer):
    """Answers with `status`; keeps what came."""

    status = 200
    retry_after = ""
    close_after = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.bodies: list[tuple[str, dict[str, str], bytes]] = []
        self.connections: set[Any] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1/traces"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Collector

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.bodies.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
        self.server.connections.add(self.client_address)
        self.send_response(self.server.status)
        if self.server.retry_after:
            self.send_header("Retry-After", self.server.retry_after)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")
        self.close_connection = self.server.close_after

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def collector() -> Iterator[Collector]:
    server = Collector()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_nothing_goes_out_unless_asked_for() -> None:
    assert endpoint_of({}) is None
    assert endpoint_of({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_TRACES_EXPORTER": "none"}) is None
    assert endpoint_of({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_SDK_DISABLED": "TRUE"}) is None
    assert endpoint_of({"OTEL_TRACES_EXPORTER": "otlp"}) == Endpoint(url="http://localhost:4318/v1/traces", headers={})


def test_the_variables_for_traces_come_before_those_for_everything() -> None:
    base = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318/", "OTEL_EXPORTER_OTLP_HEADERS": "a=1,b=x%20y", "OTEL_EXPORTER_OTLP_TIMEOUT": "3"}
    assert endpoint_of(base) == Endpoint(url="http://c:4318/v1/traces", headers={"a": "1", "b": "x y"}, timeout_seconds=3)
    own = {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "https://t/otlp", "OTEL_EXPORTER_OTLP_TRACES_COMPRESSION": "gzip"}
    found = endpoint_of({**base, **own})
    assert found is not None
    assert (found.url, found.compression) == ("https://t/otlp", "gzip")


@pytest.mark.parametrize(
    "wrong",
    [
        {"OTEL_TRACES_EXPORTER": "zipkin"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "c:4318"},
        {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_TRACES_EXPORTER": "otlp"},
        {"OTEL_EXPORTER_OTLP_COMPRESSION": "zstd", "OTEL_TRACES_EXPORTER": "otlp"},
        {"OTEL_EXPORTER_OTLP_HEADERS": "nonsense", "OTEL_TRACES_EXPORTER": "otlp"},
        {"OTEL_EXPORTER_OTLP_TIMEOUT": "soon", "OTEL_TRACES_EXPORTER": "otlp"},
    ],
)
def test_what_cannot_work_is_told(wrong: dict[str, str]) -> None:
    with pytest.raises(Misconfigured, match=next(iter(wrong))):
        endpoint_of(wrong)


def test_a_certificate_that_is_not_there_is_told() -> None:
    with pytest.raises(Misconfigured, match="OTEL_EXPORTER_OTLP_CERTIFICATE"):
        OtlpSender(Endpoint(url="https://c/v1/traces", headers={}, certificate="/nowhere/ca.pem"))


def test_the_resource_says_who_we_are() -> None:
    assert resource_of({}, "1.0") == {"service.namespace": "waypost", "service.version": "1.0"}
    given = {"OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=prod", "OTEL_SERVICE_NAME": "desk"}
    assert resource_of(given, "1.0")["service.name"] == "desk"
    assert resource_of(given, "1.0")["deployment.environment.name"] == "prod"


def test_bodies_go_over_one_connection_with_their_headers(collector: Collector) -> None:
    with OtlpSender(Endpoint(url=collector.url, headers={"X-Key": "k"})) as sender:
        sender.send(b"one")
        sender.send(b"two")
    assert [body for _, _, body in collector.bodies] == [b"one", b"two"]
    path, headers, _ = collector.bodies[0]
    assert (path, headers["content-type"], headers["x-key"]) == ("/v1/traces", "application/x-protobuf", "k")
    assert len(collector.connections) == 1


def test_a_connection_that_was_closed_is_opened_again(collector: Collector) -> None:
    collector.close_after = True
    with OtlpSender(Endpoint(url=collector.url, headers={}, compression="gzip")) as sender:
        sender.send(b"one")
        sender.send(b"two")
    assert [gzip.decompress(body) for _, _, body in collector.bodies] == [b"one", b"two"]


@pytest.mark.parametrize(
    ("status", "kind"), [(400, Refused), (413, Refused), (401, NotTaken), (404, NotTaken), (429, NotTaken), (503, NotTaken)]
)
def test_answers_about_the_body_are_final_and_all_others_pass(collector: Collector, status: int, kind: type[Exception]) -> None:
    collector.status, collector.retry_after = status, "7"
    with OtlpSender(Endpoint(url=collector.url, headers={})) as sender, pytest.raises(kind, match=str(status)) as caught:
        sender.send(b"x")
    if isinstance(caught.value, NotTaken):
        assert caught.value.retry_after_seconds == 7


def test_nobody_there_is_not_taken(free_port: int) -> None:
    with (
        OtlpSender(Endpoint(url=f"http://127.0.0.1:{free_port}/v1/traces", headers={})) as sender,
        pytest.raises(NotTaken, match="reached"),
    ):
        sender.send(b"x")
