"""NATS services: answers, errors, concurrency, discovery."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from waypost_io.bus.ports import Endpoint, Headers, Message
from waypost_proto.api import ApiError
from waypost_proto.codec import decode
from waypost_proto.errors import Conflict, NotFound, Unreachable
from waypost_proto.limits import MAX_MESSAGE_BYTES


async def echo(message: Message) -> bytes:
    return message.body


async def with_headers(message: Message) -> tuple[bytes, Headers]:
    return b"chunk", {"Waypost-Chunks": message.headers["Want"]}


async def missing(message: Message) -> bytes:
    raise NotFound(f"no run {message.body.decode()}\nsecond line")


async def conflict(message: Message) -> bytes:
    raise Conflict("the same key with other input")


async def broken(message: Message) -> bytes:
    raise KeyError("a secret inside")


async def oversized(message: Message) -> bytes:
    return b"x" * (MAX_MESSAGE_BYTES + 1)


def endpoints(prefix: str, **handlers: Any) -> list[Endpoint]:
    return [
        Endpoint(name=name.replace("_", "-"), subject=f"{prefix}.api.{name.replace('_', '.')}", handler=handler)
        for name, handler in handlers.items()
    ]


async def test_answers(world: Any) -> None:
    host, client = await world.bus("host"), await world.bus("client")
    await host.serve(f"{world.prefix}-svc", "1.2.3", "a test", endpoints(world.prefix, runs_echo=echo, runs_chunk=with_headers))
    answer = await client.request(f"{world.prefix}.api.runs.echo", b"hello")
    assert (answer.body, dict(answer.headers)) == (b"hello", {})
    answer = await client.request(f"{world.prefix}.api.runs.chunk", b"", headers={"Want": "3"})
    assert (answer.body, dict(answer.headers)) == (b"chunk", {"Waypost-Chunks": "3"})


@pytest.mark.parametrize(
    ("handler", "code", "title", "detail"),
    [
        (missing, "404", "NotFound", "no run r1\nsecond line"),
        (conflict, "409", "Conflict", "the same key with other input"),
        (broken, "500", "InternalError", "an internal error; the log of the service says more"),
        (oversized, "413", "TooLarge", None),
    ],
)
async def test_errors(world: Any, handler: Any, code: str, title: str, detail: str | None) -> None:
    bus = await world.bus()
    await bus.serve(f"{world.prefix}-svc", "1.0.0", "a test", endpoints(world.prefix, x_y=handler))
    answer = await bus.request(f"{world.prefix}.api.x.y", b"r1")
    assert answer.headers["Nats-Service-Error-Code"] == code
    assert "\n" not in answer.headers["Nats-Service-Error"]
    error = decode(ApiError, answer.body)
    assert (error.status, error.title) == (int(code), title)
    assert detail is None or error.detail == detail
    assert b"secret" not in answer.body + answer.headers["Nats-Service-Error"].encode()


async def test_requests_are_answered_concurrently(world: Any) -> None:
    bus = await world.bus()
    together = asyncio.Barrier(20)

    async def meet(message: Message) -> bytes:
        await together.wait()
        return message.body

    await bus.serve(f"{world.prefix}-svc", "1.0.0", "a test", endpoints(world.prefix, x_meet=meet))
    answers = await asyncio.gather(*(bus.request(f"{world.prefix}.api.x.meet", str(n).encode()) for n in range(20)))
    assert [answer.body for answer in answers] == [str(n).encode() for n in range(20)]


async def test_two_hosts_share_the_requests(world: Any) -> None:
    one, two, client = await world.bus("one"), await world.bus("two"), await world.bus("client")
    counted: list[int] = []

    def counting(n: int) -> Any:
        async def handle(message: Message) -> bytes:
            counted.append(n)
            return message.body

        return handle

    for n, bus in enumerate((one, two)):
        await bus.serve(f"{world.prefix}-svc", "1.0.0", "a test", endpoints(world.prefix, x_y=counting(n)))
    for _ in range(40):
        await client.request(f"{world.prefix}.api.x.y", b"")
    assert len(counted) == 40
    assert set(counted) == {0, 1}


async def test_discovery(world: Any) -> None:
    bus, client = await world.bus(), await world.bus("client")
    name = f"{world.prefix}-svc"
    await bus.serve(name, "1.2.3", "a test", endpoints(world.prefix, runs_echo=echo, runs_missing=missing))
    await client.request(f"{world.prefix}.api.runs.echo", b"")
    await client.request(f"{world.prefix}.api.runs.missing", b"r1")
    ping = json.loads((await client.request(f"$SRV.PING.{name}", b"")).body)
    assert (ping["type"], ping["name"], ping["version"]) == ("io.nats.micro.v1.ping_response", name, "1.2.3")
    info = json.loads((await client.request(f"$SRV.INFO.{name}.{ping['id']}", b"")).body)
    assert info["description"] == "a test"
    assert [(endpoint["name"], endpoint["subject"]) for endpoint in info["endpoints"]] == [
        ("runs-echo", f"{world.prefix}.api.runs.echo"),
        ("runs-missing", f"{world.prefix}.api.runs.missing"),
    ]
    stats = json.loads((await client.request(f"$SRV.STATS.{name}", b"")).body)
    assert [(endpoint["num_requests"], endpoint["num_errors"]) for endpoint in stats["endpoints"]] == [(1, 0), (1, 1)]
    assert stats["endpoints"][1]["last_error"].startswith("404: no run")


async def test_closing_lets_requests_finish_and_takes_no_more(world: Any) -> None:
    bus, client = await world.bus(), await world.bus("client")
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slow(message: Message) -> bytes:
        begun.set()
        await go_on.wait()
        return message.body

    service = await bus.serve(f"{world.prefix}-svc", "1.0.0", "a test", endpoints(world.prefix, x_y=slow))
    asked = asyncio.ensure_future(client.request(f"{world.prefix}.api.x.y", b"late"))
    await begun.wait()
    closing = asyncio.ensure_future(service.close())
    await client.flush()
    go_on.set()
    await closing
    await service.close()
    assert (await asked).body == b"late"
    with pytest.raises(Unreachable):
        await client.request(f"{world.prefix}.api.x.y", b"", timeout_seconds=1)
