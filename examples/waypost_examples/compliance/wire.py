"""The tools' HTTP client: one request per connection, JSON in and out, on asyncio streams. The tool's time limit is the only one.

Says exactly what a caller of an unsafe service needs to know: `Unsent` when surely nothing reached the service, any other error
when something may have.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import quote, urlsplit

import msgspec

T = TypeVar("T")
MAX_ANSWER_BYTES = 1024 * 1024


class Unsent(ConnectionError):
    """No connection was made: the service surely saw nothing of the request."""


@dataclass(frozen=True, slots=True)
class Response:
    """An answer, whatever its status."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def retry_after(self) -> float | None:
        """Seconds that a 429 or 503 asks to wait."""
        text = self.headers.get("retry-after", "")
        return float(text) if text.isdigit() else None

    def read(self, kind: type[T]) -> T:
        """The body as `kind`. Raises `msgspec.DecodeError` that names the path and the value."""
        return msgspec.json.decode(self.body, type=kind)


async def get(base: str, *segments: str) -> Response:
    """GET `base/segment/…`. Raises `Unsent`, or `ConnectionError` when the connection broke before the answer was complete."""
    return await _request("GET", base, segments, {}, b"")


async def post(base: str, *segments: str, body: bytes, headers: dict[str, str]) -> Response:
    """POST `body` as JSON. Raises like `get`."""
    return await _request("POST", base, segments, headers, body)


async def _request(method: str, base: str, segments: tuple[str, ...], headers: dict[str, str], body: bytes) -> Response:
    host, port = urlsplit(base).hostname, urlsplit(base).port
    try:
        reader, writer = await asyncio.open_connection(host, port, limit=MAX_ANSWER_BYTES)
    except OSError as error:
        raise Unsent(f"{base} cannot be reached: {error.strerror or error}") from error
    try:
        lines = {"Host": f"{host}:{port}", "Content-Length": str(len(body)), "Connection": "close", **headers}
        path = "/" + "/".join(quote(segment, safe="") for segment in segments)
        head = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        writer.write(head.encode("latin-1") + b"\r\n" + body)
        return await _response(base, reader)
    finally:
        writer.close()


async def _response(base: str, reader: asyncio.StreamReader) -> Response:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
        body = await reader.readexactly(min(int(headers.get("content-length", "0")), MAX_ANSWER_BYTES))
        return Response(int(head[0].split(" ")[1]), headers, body)
    except (asyncio.IncompleteReadError, ConnectionError) as error:
        raise ConnectionError(f"{base} broke the connection before it had answered") from error
    except (ValueError, IndexError, asyncio.LimitOverrunError) as error:
        raise ConnectionError(f"{base} answered something that is not HTTP") from error
