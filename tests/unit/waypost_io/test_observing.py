"""What every service shows of itself, over a real socket."""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack

from waypost_io import exposition
from waypost_io.metrics import Metrics
from waypost_io.observing import observe


async def _get(port: int, path: str, accept: str) -> tuple[str, str]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\naccept:  {accept}\r\n\r\n".encode())
    head, _, body = (await reader.read()).decode().partition("\r\n\r\n")
    writer.close()
    return head, body


async def test_the_process_shows_itself_in_the_format_that_was_asked_for() -> None:
    async with AsyncExitStack() as stack:
        server = await observe(stack, "worker", "127.0.0.1:0", checks={}, metrics=Metrics())
        plain = await _get(server.port, "/metrics", "*/*")
        rich = await _get(server.port, "/metrics", "application/openmetrics-text;version=1.0.0,text/plain;q=0.5")
    assert exposition.TEXT in plain[0]
    assert exposition.OPENMETRICS in rich[0]
    assert rich[1].endswith("# EOF\n")
    values = {line.split()[0]: float(line.split()[1]) for line in plain[1].splitlines() if not line.startswith("#")}
    assert values["process_resident_memory_bytes"] > 5e6
    assert 0 < values["process_cpu_seconds_total"] <= sum(os.times()[:2]) + 0.1
    assert 3 <= values["process_open_fds"] < 10_000
