"""A small HTTP/1.1 server on asyncio streams: one request per connection, JSON in and out. Enough for the legacy services, and no more."""

from __future__ import annotations

import asyncio
import http
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec

MAX_BODY_BYTES = 256 * 1024
READ_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Request:
    """`segments` are the path's parts, percent-decoded."""

    method: str
    segments: tuple[str, ...]
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Answer:
    """`value` is sent as JSON."""

    status: int
    value: Any
    headers: dict[str, str] = field(default_factory=dict)


Handler = Callable[[Request], Awaitable[Answer | None]]
"""Returns None to break the connection without an answer."""


async def serve(handler: Handler, host: str, port: int) -> asyncio.Server:
    """Listen on `host:port` (0: any free port). Close the returned server to stop."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await _one_request(handler, reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError):
            pass  # the caller went away or sent no HTTP: there is nobody to tell
        finally:
            writer.close()

    return await asyncio.start_server(connected, host, port)


async def _one_request(handler: Handler, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    async with asyncio.timeout(READ_SECONDS):
        request = await _read(reader)
    answer = Answer(400, {"error": "not an HTTP request this server understands"}) if request is None else await handler(request)
    if answer is None:
        writer.transport.abort()
        return
    body = msgspec.json.encode(answer.value)
    headers = {"Content-Type": "application/json", "Content-Length": str(len(body)), "Connection": "close", **answer.headers}
    head = f"HTTP/1.1 {answer.status} {http.HTTPStatus(answer.status).phrase}\r\n" + "".join(f"{k}: {v}\r\n" for k, v in headers.items())
    writer.write(head.encode() + b"\r\n" + body)
    await writer.drain()


async def _read(reader: asyncio.StreamReader) -> Request | None:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    parts = head[0].split(" ")
    if len(parts) != 3:
        return None
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
    length = headers.get("content-length", "0")
    if not length.isdigit() or int(length) > MAX_BODY_BYTES:
        return None
    body = await reader.readexactly(int(length))
    path = urlsplit(parts[1]).path
    return Request(parts[0], tuple(unquote(segment) for segment in path.split("/") if segment), headers, body)
