"""Traces by OTLP/HTTP: where they go, as the standard `OTEL_*` variables say, and how a body gets there. Owns no span.

    endpoint = endpoint_of(os.environ)         # None: nobody asked for traces
    with OtlpSender(endpoint) as sender:
        sender.send(body)                      # blocks; call it in a thread

The bodies are ready when they come here (`waypost_core.tracing.otlp_proto`), so the OpenTelemetry SDK is not needed: measured, its span
objects and encoder cost more than everything else that a step's trace takes (decision 0291).
"""

from __future__ import annotations

import gzip
import http.client
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self
from urllib.parse import unquote, urlsplit

from waypost_core import genai
from waypost_proto.errors import Misconfigured, PermanentError, TransientError

DEFAULT_ENDPOINT = "http://localhost:4318"
PATH = "/v1/traces"
DEFAULT_TIMEOUT_SECONDS = 10.0
REFUSING = frozenset({400, 413, 422})
"""Answers that are about the body. Every other one that is not 2xx is about the collector, its proxy or our credentials: somebody mends it,
and nothing is given up meanwhile. (OTLP lets a client drop what was not answered with 429, 502, 503 or 504; the log lets us wait.)"""
MAX_ANSWER_BYTES = 64 * 1024


class Refused(PermanentError):
    """The collector will not take this body; it may take a part of it."""


class NotTaken(TransientError):
    """The collector did not take the body now. `retry_after_seconds` if it said when."""

    def __init__(self, message: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where traces go, and how."""

    url: str
    headers: Mapping[str, str]
    timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS
    compression: Literal["none", "gzip"] = "none"
    certificate: str = ""
    client_certificate: str = ""
    client_key: str = ""


def wanted(environment: Mapping[str, str]) -> bool:
    """Whether somebody asks for traces by OTLP: an endpoint, or `OTEL_TRACES_EXPORTER=otlp`. Raises `Misconfigured`."""
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    named = {name.strip() for name in environment.get("OTEL_TRACES_EXPORTER", "").lower().split(",") if name.strip()}
    if unknown := named - {"otlp", "none"}:
        raise Misconfigured(f"OTEL_TRACES_EXPORTER={','.join(sorted(unknown))!r}: use otlp or none")
    return "otlp" in named or (not named and bool(_of(environment, "ENDPOINT")))


def endpoint_of(environment: Mapping[str, str]) -> Endpoint | None:
    """Where traces go; None when nobody asks for them. Raises `Misconfigured` for what cannot work."""
    if not wanted(environment):
        return None
    protocol = _of(environment, "PROTOCOL") or "http/protobuf"
    if protocol != "http/protobuf":
        raise Misconfigured(f"OTEL_EXPORTER_OTLP_PROTOCOL={protocol!r}: Waypost speaks http/protobuf (a collector's port 4318)")
    own = environment.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "").strip()
    url = own or (environment.get("OTEL_EXPORTER_OTLP_ENDPOINT", "").strip() or DEFAULT_ENDPOINT).rstrip("/") + PATH
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Misconfigured(f"OTEL_EXPORTER_OTLP_ENDPOINT={url!r}: use http://host:4318")
    compression = _of(environment, "COMPRESSION") or "none"
    if compression not in ("none", "gzip"):
        raise Misconfigured(f"OTEL_EXPORTER_OTLP_COMPRESSION={compression!r}: use none or gzip")
    return Endpoint(
        url=url,
        headers=_pairs("OTEL_EXPORTER_OTLP_HEADERS", _of(environment, "HEADERS")),
        timeout_seconds=_seconds(_of(environment, "TIMEOUT")),
        compression="gzip" if compression == "gzip" else "none",
        certificate=_of(environment, "CERTIFICATE"),
        client_certificate=_of(environment, "CLIENT_CERTIFICATE"),
        client_key=_of(environment, "CLIENT_KEY"),
    )


def resource_of(environment: Mapping[str, str], version: str) -> dict[str, str]:
    """The attributes of the resource of every span. `OTEL_SERVICE_NAME` makes one service of all; else each span names its own."""
    given = _pairs("OTEL_RESOURCE_ATTRIBUTES", environment.get("OTEL_RESOURCE_ATTRIBUTES", ""))
    found = {genai.SERVICE_NAMESPACE: "waypost", genai.SERVICE_VERSION: version, **given}
    name = environment.get("OTEL_SERVICE_NAME", "").strip()
    return {**found, genai.SERVICE_NAME: name} if name else found


class OtlpSender:
    """One kept connection to a collector. Used from one thread at a time; `close` is idempotent."""

    def __init__(self, endpoint: Endpoint) -> None:
        """Raises `Misconfigured` for certificates that cannot be read."""
        self._endpoint = endpoint
        parts = urlsplit(endpoint.url)
        self._host, self._port = parts.hostname or "localhost", parts.port
        self._target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._tls = _tls(endpoint) if parts.scheme == "https" else None
        self._connection: http.client.HTTPConnection | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def send(self, body: bytes) -> None:
        """Deliver one `ExportTraceServiceRequest`. Returns when the collector has taken it.

        Raises `NotTaken` (try again later), `Refused` (never again). A connection that the collector has closed is opened anew once.
        """
        headers = {"Content-Type": "application/x-protobuf", "User-Agent": "waypost", **self._endpoint.headers}
        if self._endpoint.compression == "gzip":
            body, headers["Content-Encoding"] = gzip.compress(body, 6), "gzip"
        for fresh in (self._connection is None, True):
            try:
                status, retry_after, text = self._post(body, headers)
                break
            except (OSError, http.client.HTTPException) as error:
                self.close()
                if fresh:
                    raise NotTaken(f"{self._endpoint.url} cannot be reached: {type(error).__name__}: {error}") from error
        if status in REFUSING:
            raise Refused(f"{self._endpoint.url} answers {status}: {text}")
        if not 200 <= status < 300:
            raise NotTaken(f"{self._endpoint.url} answers {status}: {text}", retry_after)

    def close(self) -> None:
        """Give the connection up."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _post(self, body: bytes, headers: Mapping[str, str]) -> tuple[int, float | None, str]:
        connection = self._connection
        if connection is None:
            seconds = self._endpoint.timeout_seconds
            if self._tls is not None:
                connection = http.client.HTTPSConnection(self._host, self._port, timeout=seconds, context=self._tls)
            else:
                connection = http.client.HTTPConnection(self._host, self._port, timeout=seconds)
            self._connection = connection
        connection.request("POST", self._target, body, dict(headers))
        answer = connection.getresponse()
        text = answer.read(MAX_ANSWER_BYTES)
        if answer.will_close or not answer.isclosed():
            self.close()
        return answer.status, _after(answer.getheader("Retry-After")), text[:300].decode("utf-8", "replace")


def _of(environment: Mapping[str, str], name: str) -> str:
    """The variable for traces, or else the one for every signal."""
    own = environment.get(f"OTEL_EXPORTER_OTLP_TRACES_{name}", "").strip()
    return own or environment.get(f"OTEL_EXPORTER_OTLP_{name}", "").strip()


def _pairs(variable: str, text: str) -> dict[str, str]:
    """`key=value,…`, percent-encoded, as W3C baggage has it."""
    found = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = part.partition("=")
        if not equals or not name.strip():
            raise Misconfigured(f"{variable}: {part[:40]!r} is not key=value")
        found[unquote(name.strip())] = unquote(value.strip())
    return found


def _seconds(text: str) -> float:
    """`OTEL_EXPORTER_OTLP_TIMEOUT` is in seconds in Python's SDK, whose users set it, though the specification counts milliseconds."""
    if not text:
        return DEFAULT_TIMEOUT_SECONDS
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if seconds <= 0:
        raise Misconfigured(f"OTEL_EXPORTER_OTLP_TIMEOUT={text!r}: a number of seconds, for example 10")
    return seconds


def _after(text: str | None) -> float | None:
    return float(text) if text is not None and text.isdecimal() else None


def _tls(endpoint: Endpoint) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=endpoint.certificate or None)
        if endpoint.client_certificate:
            context.load_cert_chain(endpoint.client_certificate, endpoint.client_key or None)
    except (OSError, ssl.SSLError) as error:
        names = ", ".join(filter(None, (endpoint.certificate, endpoint.client_certificate, endpoint.client_key)))
        raise Misconfigured(f"OTEL_EXPORTER_OTLP_CERTIFICATE, _CLIENT_CERTIFICATE or _CLIENT_KEY ({Path(names).name}): {error}") from error
    return context
