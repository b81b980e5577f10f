"""httpx2 on guarded connections, with what comes back bounded. One transport serves HTTP tools, OpenAPI tools and MCP over HTTP.

Used below a client, so that no environment variable (proxy, .netrc), cookie jar or redirect rule of a client comes in between.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterable, AsyncIterator, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self, cast

import httpcore2
import httpx2

from waypost.http.guard import Guard, PinnedBackend
from waypost_proto.limits import MAX_PAYLOAD_BYTES

MAX_CONNECTIONS = 128
KEEP_ALIVE_CONNECTIONS = MAX_CONNECTIONS
"""As many: with fewer, calls that come in crowds would each pay for a TLS handshake. (Without TLS, on loopback, 64 calls at once: 0.8 ms of
processor time per call against 0.66 with 20; the pool looks through its connections.)"""
KEEP_ALIVE_SECONDS = 4.0
"""Shorter than servers commonly wait: a request on a connection that is just being closed puts an unsafe call in doubt."""


class ResponseTooLarge(httpx2.ReadError):
    """A response went on past the limit; the rest was not read."""


class ResponseEncoded(httpx2.ReadError):
    """A response is compressed although nobody asked for that: what it unpacks to cannot be bounded by what was read."""


class GuardedTransport(httpx2.AsyncBaseTransport):
    """Sends requests over connections that `guard` has judged. `max_bytes` bounds the body of each response."""

    def __init__(self, guard: Guard, *, tls: ssl.SSLContext | None = None, max_bytes: int = MAX_PAYLOAD_BYTES) -> None:
        self.guard = guard
        self._max_bytes = max_bytes
        self._pool = httpcore2.AsyncConnectionPool(
            ssl_context=tls,
            max_connections=MAX_CONNECTIONS,
            max_keepalive_connections=KEEP_ALIVE_CONNECTIONS,
            keepalive_expiry=KEEP_ALIVE_SECONDS,
            http1=True,
            http2=False,
            retries=0,
            network_backend=PinnedBackend(guard),
        )

    async def __aenter__(self) -> Self:
        await self._pool.__aenter__()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None = None, exc: BaseException | None = None, trace: TracebackType | None = None
    ) -> None:
        await self._pool.__aexit__(exc_type, exc, trace)

    async def aclose(self) -> None:
        await self._pool.aclose()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send one request. Raises httpx2's transport errors, `EgressRefused` before anything was sent, `ResponseEncoded`."""
        url = request.url
        sent = httpcore2.Request(
            method=request.method,
            url=httpcore2.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
            headers=request.headers.raw,
            content=cast("AsyncIterable[bytes]", request.stream),
            extensions=request.extensions,
        )
        with _translated():
            answer = await self._pool.handle_async_request(sent)
        body = _Body(cast("AsyncIterable[bytes]", answer.stream), self._max_bytes)
        response = httpx2.Response(answer.status, headers=answer.headers, stream=body, extensions=answer.extensions)
        encoding = response.headers.get("content-encoding", "identity").strip().lower()
        if encoding not in ("", "identity"):
            await body.aclose()
            raise ResponseEncoded(f"the response is encoded as {encoding[:40]!r}, only 'identity' was asked for")
        return response


class _Body(httpx2.AsyncByteStream):
    def __init__(self, inner: AsyncIterable[bytes], max_bytes: int) -> None:
        self._inner = inner
        self._max_bytes = max_bytes

    async def __aiter__(self) -> AsyncIterator[bytes]:
        total = 0
        with _translated():
            async for part in self._inner:
                total += len(part)
                if total > self._max_bytes:
                    raise ResponseTooLarge(f"the response is larger than {self._max_bytes} bytes")
                yield part

    async def aclose(self) -> None:
        close = getattr(self._inner, "aclose", None)
        if close is not None:
            await close()


_KINDS: tuple[tuple[type[Exception], type[httpx2.TransportError]], ...] = (
    (httpcore2.ConnectTimeout, httpx2.ConnectTimeout),
    (httpcore2.ReadTimeout, httpx2.ReadTimeout),
    (httpcore2.WriteTimeout, httpx2.WriteTimeout),
    (httpcore2.PoolTimeout, httpx2.PoolTimeout),
    (httpcore2.ConnectError, httpx2.ConnectError),
    (httpcore2.ReadError, httpx2.ReadError),
    (httpcore2.WriteError, httpx2.WriteError),
    (httpcore2.NetworkError, httpx2.NetworkError),
    (httpcore2.LocalProtocolError, httpx2.LocalProtocolError),
    (httpcore2.RemoteProtocolError, httpx2.RemoteProtocolError),
    (httpcore2.UnsupportedProtocol, httpx2.UnsupportedProtocol),
)


@contextmanager
def _translated() -> Iterator[None]:
    """httpcore2's errors as httpx2's, which are what its users (the MCP SDK too) catch."""
    try:
        yield
    except Exception as error:
        for core, ours in _KINDS:
            if isinstance(error, core):
                raise ours(str(error)) from error
        raise
