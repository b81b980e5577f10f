from __future__ import annotations

import asyncio
import json

import pytest

from waypost_io import ops
from waypost_io.metrics import Metrics
from waypost_io.ops import OpsServer
from waypost_proto.errors import Misconfigured


async def _get(port: int, request: bytes) -> tuple[int, bytes]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    answer = await reader.read()
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


async def _page(server: OpsServer, path: str) -> tuple[int, bytes]:
    return await _get(server.port, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())


async def test_livez_asks_nobody_and_readyz_asks_everybody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ops, "CHECK_SECONDS", 0.05)

    def refuses() -> None:
        raise ConnectionError("nats://u:hunter2@h refused")

    async def hangs() -> None:
        await asyncio.Event().wait()

    checks: dict[str, ops.Check] = {"fine": lambda: None, "no": lambda: False, "refuses": refuses, "hangs": hangs}
    async with OpsServer("127.0.0.1:0", checks=checks) as server:
        assert (await _page(server, "/livez"))[0] == 200
        status, body = await _page(server, "/readyz?verbose")
    assert status == 503
    assert json.loads(body) == {
        "ready": False,
        "checks": {
            "fine": "ok",
            "no": "not ready",
            "refuses": "ConnectionError: nats://***@h refused",
            "hangs": "no answer within 0.05 s",
        },
    }


async def test_ready_when_every_check_passes() -> None:
    async with OpsServer("127.0.0.1:0", checks={"a": lambda: True}) as server:
        assert (await _page(server, "/readyz"))[0] == 200


async def test_metrics_are_served() -> None:
    metrics = Metrics()
    metrics.counter("things_total", "Things.").labels().inc()
    async with OpsServer("127.0.0.1:0", metrics=metrics) as server:
        assert b"things_total 1\n" in (await _page(server, "/metrics"))[1]


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /nowhere HTTP/1.1\r\n\r\n", 404),
        (b"POST /livez HTTP/1.1\r\n\r\n", 405),
        (b"\r\n\r\n", 405),
        (b"GET /livez HTTP/1.1\r\nX: " + b"x" * 100_000 + b"\r\n\r\n", 431),
        (b"HEAD /livez HTTP/1.1\r\n\r\n", 200),
    ],
)
async def test_odd_requests_are_answered(request_bytes: bytes, status: int) -> None:
    async with OpsServer("127.0.0.1:0") as server:
        answer, body = await _get(server.port, request_bytes)
    assert answer == status
    assert (body == b"") == request_bytes.startswith(b"HEAD")


async def test_without_an_address_nothing_is_served() -> None:
    async with OpsServer("") as server:
        assert server.port == 0


async def test_a_taken_address_is_named() -> None:
    async with OpsServer("127.0.0.1:0") as first:
        with pytest.raises(Misconfigured, match="WAYPOST_OPS_ADDR"):
            await OpsServer(f"127.0.0.1:{first.port}").__aenter__()


async def test_a_check_may_say_more_than_ok() -> None:
    server = OpsServer("", checks={"lag": lambda: "3 events behind"})
    assert await server.readiness() == (True, {"lag": "ok: 3 events behind"})
