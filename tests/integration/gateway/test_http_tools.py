"""HTTP tools in a gateway process on real NATS and Postgres: a bank that counts effects by idempotency key, a kill -9 in between."""

from __future__ import annotations

import asyncio
import tempfile
import textwrap
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.integration.gateway.calling import Start, announcements, killed_at_work, reconciled
from tests.integration.gateway.process import GatewayProcess, World
from tests.unit.waypost.http.provider import Asked, Provider, Reply, as_json
from tests.unit.waypost_gateway.rig import Rig
from waypost_proto.mailbox import ToolFailed, ToolNotDone, ToolSucceeded, ToolUncertain

MODULE = """
    from msgspec import Struct

    from waypost.http import HttpLookUp, Secret, http_tool

    BANK = "{url}"


    class Amount(Struct):
        amount: int


    class Receipt(Struct):
        id: str


    signed = {{"Authorization": Secret("bank-token", "Bearer {{}}")}}
    look = http_tool("look", "GET", BANK + "/accounts/{{amount}}", effect="read", args=Amount, headers=signed, timeout=5)
    put = http_tool("put", "PUT", BANK + "/accounts/{{amount}}", effect="idempotent", args=Amount, headers=signed, timeout=5)
    post = http_tool(
        "post", "POST", BANK + "/transfers", effect="unsafe", args=Amount, result=Receipt, headers=signed, timeout=2,
        reconcile=HttpLookUp(url=BANK + "/transfers?key={{ctx.idempotency_key}}"),
    )
"""


class Bank:
    """Books a transfer for each POST that arrives, whatever its key: it forgives nothing. `hang`: it books, and then does not answer."""

    def __init__(self) -> None:
        self.booked: Counter[str] = Counter()
        self.hang = asyncio.Event()
        self.next: list[Reply] = []
        self.wrong_credentials = 0

    async def __call__(self, asked: Asked) -> Reply:
        if asked.headers.get("authorization") != "Bearer bank-s3cret":
            self.wrong_credentials += 1
            return Reply(401)
        if self.next:
            return self.next.pop(0)
        key = asked.headers.get("idempotency-key", "")
        if asked.method == "GET" and asked.path == "/transfers":
            wanted = asked.query.removeprefix("key=").replace("%2F", "/").replace("%3A", ":")
            return as_json({"id": f"found {wanted}"}) if self.booked[wanted] else Reply(404)
        if asked.method != "GET":
            self.booked[key] += 1
        if self.hang.is_set():
            await asyncio.Event().wait()
        return as_json({"id": f"booked {key}"})


@pytest.fixture
async def bank() -> AsyncIterator[tuple[Bank, Provider]]:
    counting = Bank()
    async with Provider(counting) as server:
        yield counting, server


@pytest.fixture
def world(bank: tuple[Bank, Provider]) -> Iterator[World]:
    with tempfile.TemporaryDirectory(prefix="waypost-world-") as folder:
        made = World(Path(folder))
        made.module.write_text(textwrap.dedent(MODULE.format(url=bank[1].url)))
        yield made


@pytest.fixture
def start(bank: tuple[Bank, Provider], world: World, nats_url: str, postgres_url: str, prefix: str) -> Start:
    env = {"WAYPOST_HTTP_ALLOW": f"127.0.0.1:{bank[1].port}", "WAYPOST_SECRET_BANK_TOKEN": "bank-s3cret"}
    return partial(GatewayProcess, world, nats_url=nats_url, postgres_url=postgres_url, prefix=prefix, **env)


async def test_calls_of_every_effect(rig: Rig, bank: tuple[Bank, Provider], start: Start) -> None:
    announced = await announcements(rig)
    async with start() as gateway:
        for name in ("look", "put", "post"):
            answer = await rig.run(rig.call(name))
            assert isinstance(answer, ToolSucceeded), gateway.log
        refused = await rig.run(rig.call("look", b'{"amount":"x"}'))
        assert isinstance(refused, ToolFailed)
        assert refused.error.type == "ArgumentsInvalid"
        assert await gateway.terminate() == 0, gateway.log
    found = {tool.name: tool for tool in announced[0].tools}
    assert b"amount" in bytes(found["post"].args_schema)
    assert b"Receipt" in bytes(found["post"].result_schema)
    assert found["post"].reconcile
    assert bank[0].wrong_credentials == 0
    assert "s3cret" not in gateway.log
    assert "Traceback" not in gateway.log


async def test_what_the_bank_says_becomes_what_the_coordinator_needs(rig: Rig, bank: tuple[Bank, Provider], start: Start) -> None:
    counting, _ = bank
    expected: list[tuple[Reply, type[Any], Any]] = [
        (Reply(429, b"", {"Retry-After": "7"}), ToolFailed, (True, 7.0, "HttpBusy")),
        (Reply(422, b"no bank-s3cret"), ToolFailed, (False, None, "HttpRefused")),
        (Reply(500), ToolUncertain, "HttpFailed"),
        (Reply(503, b"", {"Retry-After": "7"}), ToolUncertain, "HttpUnavailable"),
        (Reply(raw=b"", drop=True), ToolUncertain, "NoAnswer"),
        (as_json({"odd": 1}), ToolUncertain, "ResultUnusable"),
    ]
    async with start():
        for reply, kind, more in expected:
            counting.next = [reply]
            answer = await rig.run(rig.call("post"))
            assert isinstance(answer, kind), (reply, answer)
            assert "s3cret" not in answer.error.message
            if isinstance(answer, ToolFailed):
                assert (answer.retryable, answer.retry_after_seconds, answer.error.type) == more
            else:
                assert answer.error.type == more


async def test_a_private_address_is_refused_without_the_operators_word(rig: Rig, bank: tuple[Bank, Provider], start: Start) -> None:
    async with start(WAYPOST_HTTP_ALLOW="10.0.0.0/8"):
        answer = await rig.run(rig.call("post"))
    assert isinstance(answer, ToolFailed)
    assert (answer.error.type, answer.retryable) == ("EgressRefused", False)
    assert "loopback" in answer.error.message
    assert not bank[1].asked


async def test_settings_that_cannot_work_end_the_gateway_with_one_line(bank: tuple[Bank, Provider], start: Start) -> None:
    async with start(WAYPOST_HTTP_ALLOW="127.1") as gateway:
        assert await gateway.process.wait() == 2
    assert "WAYPOST_HTTP_ALLOW" in gateway.log
    assert "Traceback" not in gateway.log


@pytest.mark.crash
@pytest.mark.parametrize("booked", [pytest.param(True, marks=pytest.mark.slow), False])
async def test_killed_while_the_bank_has_the_request(rig: Rig, bank: tuple[Bank, Provider], start: Start, booked: bool) -> None:
    counting, server = bank
    counting.hang.set()
    call = rig.call("post")
    await killed_at_work(start, rig, call, lambda: counting.booked[call.idempotency_key])
    counting.hang.clear()
    if not booked:
        counting.booked.clear()  # the bank rolled it back
    async with start() as second:
        settled = await reconciled(rig, call, second)
        if booked:
            assert isinstance(settled, ToolSucceeded)
            assert (settled.via, bytes(settled.result)) == ("reconcile", f'{{"id":"found {call.idempotency_key}"}}'.encode())
        else:
            assert isinstance(settled, ToolNotDone)
    assert counting.booked[call.idempotency_key] == int(booked)
    assert sum(asked.method == "POST" for asked in server.asked) == 1


@pytest.mark.crash
async def test_an_idempotent_call_goes_again_under_the_same_key(rig: Rig, bank: tuple[Bank, Provider], start: Start) -> None:
    counting, _ = bank
    counting.hang.set()
    call = rig.call("put")
    await killed_at_work(start, rig, call, lambda: counting.booked[call.idempotency_key])
    counting.hang.clear()
    async with start():
        assert isinstance(await rig.answer(call), ToolSucceeded)
    assert counting.booked == {call.idempotency_key: 2}
