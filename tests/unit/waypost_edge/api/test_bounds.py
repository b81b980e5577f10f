"""What bounds a request: origins, bodies, headers, time."""

from __future__ import annotations

import asyncio

import pytest

from tests.unit.waypost_edge.api.rig import Edge, edge_over
from waypost_io.bus.memory import MemoryBus

PAGE = "https://desk.example"
PREFLIGHT = {"origin": PAGE, "access-control-request-method": "POST", "access-control-request-headers": "idempotency-key"}


async def test_no_page_elsewhere_may_call_unless_it_is_named(edge: Edge) -> None:
    for answer in (await edge.http.options("/v1/runs", headers=PREFLIGHT), await edge.http.get("/v1/runs", headers={"origin": PAGE})):
        assert "access-control-allow-origin" not in answer.headers


async def test_a_page_that_is_named_may_call() -> None:
    async with MemoryBus() as bus, edge_over(bus, origins=[PAGE]) as edge:
        answer = await edge.http.options("/v1/runs", headers=PREFLIGHT)
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, PAGE)
        assert "access-control-allow-credentials" not in answer.headers
        answer = await edge.http.get("/v1/runs", headers={"origin": PAGE})
        assert answer.headers["access-control-allow-origin"] == PAGE
        assert "access-control-allow-origin" not in (await edge.http.get("/v1/runs", headers={"origin": "https://other.example"})).headers


async def exchange(edge: Edge, *pieces: bytes) -> bytes:
    """All that the edge answers to these bytes, until it closes."""
    reader, writer = await asyncio.open_connection(*edge.address)
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
        return await reader.read()
    finally:
        writer.close()


async def test_a_hundred_mebibytes_are_refused_before_they_are_sent(edge: Edge) -> None:
    head = b"POST /v1/runs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 104857600\r\n\r\n"
    answer = await exchange(edge, head)
    assert answer.startswith(b"HTTP/1.1 413 ")
    assert b"the limit is" in answer


async def test_a_body_of_unknown_length_is_read_to_its_limit_only(edge: Edge) -> None:
    head = b"POST /v1/runs/x/pause HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    piece = b"10000\r\n" + b" " * 65_536 + b"\r\n"
    answer = await exchange(edge, head, *[piece] * 9)
    assert answer.startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET /v1/runs HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 60_000, b"431"),
        (b"NONSENSE\r\n\r\n", b"400"),
        (b"GET /v1/runs HTTP/1.1\r\nHost: localhost\r\nBad Header\r\n\r\n", b"400"),
    ],
)
async def test_what_is_no_request_is_a_problem_too(edge: Edge, sent: bytes, status: bytes) -> None:
    answer = await exchange(edge, sent)
    assert answer.startswith(b"HTTP/1.1 " + status)
    assert b"application/problem+json" in answer


async def test_headers_that_do_not_come_end_the_connection(edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("waypost_edge.serving.HEADER_SECONDS", 0.1)
    for sent in (b"", b"GET /v1/runs HTTP/1.1\r\nHost: lo"):
        assert await asyncio.wait_for(exchange(edge, sent), 10) == b""


async def test_a_body_that_does_not_come_is_not_awaited_for_ever(edge: Edge, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("waypost_edge.api.binding.BODY_SECONDS", 0.1)
    head = b"POST /v1/runs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
    answer = await asyncio.wait_for(exchange(edge, head), 10)
    assert answer.startswith(b"HTTP/1.1 408 ")
