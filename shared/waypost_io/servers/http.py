"""One GET on loopback: enough to ask a server or a service of ours whether it is ready."""

from __future__ import annotations

import asyncio
import contextlib

from waypost_io.servers.ports import LOOPBACK

MAX_BODY_BYTES = 1 << 20


async def get(port: int, path: str, *, seconds: float = 1.0) -> tuple[int, bytes] | None:
    """(status, body) of `GET path` on 127.0.0.1, None when there is no answer within the time."""
    try:
        async with asyncio.timeout(seconds):
            reader, writer = await asyncio.open_connection(LOOPBACK, port)
            try:
                writer.write(f"GET {path} HTTP/1.0\r\nHost: {LOOPBACK}\r\n\r\n".encode())
                answer = await reader.read(MAX_BODY_BYTES)
                while not reader.at_eof() and len(answer) < MAX_BODY_BYTES:
                    answer += await reader.read(MAX_BODY_BYTES)
            finally:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()
    except (OSError, TimeoutError):
        return None
    head, _, body = answer.partition(b"\r\n\r\n")
    words = head.split(None, 2)
    if len(words) < 2 or not words[1].isdigit():
        return None
    return int(words[1]), body
