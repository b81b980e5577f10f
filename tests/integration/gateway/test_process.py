"""The gateway as a process of its own, on real NATS and Postgres: what it answers, and what it leaves when it is killed."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.integration.gateway.calling import Start, announcements, killed_at_work, reconciled
from tests.integration.gateway.process import GatewayProcess, World
from tests.unit.waypost_gateway.rig import Rig
from tests.waiting import wait_until
from waypost_proto.mailbox import ToolFailed, ToolNotDone, ToolSucceeded, ToolUncertain
from waypost_proto.values import Effect

BOUNDARIES = [
    (name, f"gateway.{boundary}.{side}")
    for name in ("look", "put", "post")
    for boundary in ("start", "execute", "settle", "publish", "ack")
    for side in ("before", "after")
    if not (name == "look" and boundary in ("start", "settle"))  # reads do not touch the ledger
]
QUICK = (("look", "execute.before"), ("put", "execute.after"), ("post", "execute.after"), ("post", "settle.after"))
"""On both sides of the effect; the public test command dies only here, CI everywhere."""


def case(name: str, point: str) -> object:
    quick = (name, point.removeprefix("gateway.")) in QUICK
    return pytest.param(name, point, marks=() if quick else pytest.mark.slow)


@pytest.fixture
def world() -> Iterator[World]:
    with tempfile.TemporaryDirectory(prefix="waypost-world-") as folder:
        yield World(Path(folder))


@pytest.fixture
def start(world: World, nats_url: str, postgres_url: str, prefix: str) -> Start:
    return partial(GatewayProcess, world, nats_url=nats_url, postgres_url=postgres_url, prefix=prefix)


async def test_calls_of_every_effect_are_answered(rig: Rig, world: World, start: Start) -> None:
    async with start() as gateway:
        for name in ("look", "put", "post"):
            call = rig.call(name)
            answer = await rig.run(call)
            assert isinstance(answer, ToolSucceeded), gateway.log
            assert bytes(answer.result) == f'"by {gateway.process.pid}"'.encode()
            assert world.effects(call.idempotency_key) == 1
        await rig.settled()
        assert await gateway.terminate() == 0, gateway.log
    assert "Traceback" not in gateway.log


async def test_it_announces_its_tools_and_says_when_it_is_ready(rig: Rig, start: Start, free_port: int) -> None:
    async with start(ops_port=free_port) as gateway:
        await gateway.serving()
        status, _ = await gateway.page("/readyz")
        assert status == 503, "no coordinator has taken its tools yet"
        announced = await announcements(rig)
        await wait_until(lambda: _ready(gateway))
        await rig.run(rig.call("look"))
        await rig.settled()
        _, metrics = await gateway.page("/metrics")
    found = {tool.name: tool for tool in announced[0].tools}
    assert announced[0].kind == "gateway"
    assert {name: tool.effect for name, tool in found.items()} == {
        "look": Effect.READ,
        "post": Effect.UNSAFE,
        "put": Effect.IDEMPOTENT,
    }
    assert (found["post"].reconcile, found["post"].timeout_seconds) == (True, 2.0)
    assert re.search(r'waypost_gateway_calls_total\{tool="look",outcome="succeeded"\} 1\b', metrics)


async def _ready(gateway: GatewayProcess) -> bool:
    status, _ = await gateway.page("/readyz")
    return status == 200


async def test_retry_after_reaches_the_coordinator_and_the_next_attempt_succeeds(rig: Rig, world: World, start: Start) -> None:
    world.set("busy", True)
    async with start():
        call = rig.call("post")
        refused = await rig.run(call)
        assert isinstance(refused, ToolFailed)
        assert (refused.error.type, refused.retryable, refused.retry_after_seconds) == ("NotExecuted", True, 2.5)
        world.set("busy", False)
        again = rig.call("post", run_id=call.run_id, call_id=call.call_id, attempt=2)
        await rig.permit(again)
        await rig.send(again)
        assert isinstance(await rig.answer(call, 2), ToolSucceeded)
    assert world.effects(call.idempotency_key) == 1


@pytest.mark.crash
async def test_killed_in_the_middle_of_an_unsafe_call(rig: Rig, world: World, start: Start) -> None:
    world.set("hang", True)
    call = rig.call("post")
    await killed_at_work(start, rig, call, lambda: world.effects(call.idempotency_key))
    world.set("hang", False)
    async with start() as second:
        settled = await reconciled(rig, call, second)
        assert isinstance(settled, ToolSucceeded)
        assert (settled.via, bytes(settled.result)) == ("reconcile", b'"found 1"')
    assert world.effects(call.idempotency_key) == 1
    assert (await rig.row(call)).state == "done"


@pytest.mark.crash
async def test_killed_in_the_middle_of_an_idempotent_call(rig: Rig, world: World, start: Start) -> None:
    world.set("hang", True)
    call = rig.call("put")
    await killed_at_work(start, rig, call, lambda: world.effects(call.idempotency_key))
    world.set("hang", False)
    async with start():
        assert isinstance(await rig.answer(call), ToolSucceeded)
        await rig.settled()
    assert world.effects(call.idempotency_key) == 2, "the same key both times"


@pytest.mark.crash
@pytest.mark.parametrize(("name", "point"), [case(name, point) for name, point in BOUNDARIES])
async def test_killed_at_every_boundary(rig: Rig, world: World, start: Start, name: str, point: str) -> None:
    """Whatever the instant, an unsafe call has at most one effect and ends known or in doubt; anything else ends in success."""
    call = rig.call(name)
    async with start(WAYPOST_FAULTS=point) as first:
        if call.permit:
            await rig.permit(call)
        await rig.send(call)
        await first.dies()
    async with start() as second:
        answer = await rig.answer(call)
        if isinstance(answer, ToolUncertain):
            await rig.send(rig.call("post", run_id=call.run_id, call_id=call.call_id, mode="reconcile"))
            answer = await rig.answer(call, 2)
        await rig.settled()
    if name == "post":
        assert world.effects(call.idempotency_key) <= 1
        if isinstance(answer, ToolNotDone):
            assert world.effects(call.idempotency_key) == 0
            return
        assert world.effects(call.idempotency_key) == 1
    assert isinstance(answer, ToolSucceeded), second.log


async def test_sigterm_writes_down_what_it_interrupts(rig: Rig, world: World, start: Start) -> None:
    world.set("hang", True)
    call = rig.call("put")
    async with start(WAYPOST_DRAIN_SECONDS="0.5") as first:
        await rig.permit(call)
        await rig.send(call)
        await wait_until(lambda: world.effects(call.idempotency_key))
        assert await first.terminate() == 0, first.log
    row = await rig.row(call)
    assert row.state == "started"
    assert row.lease_until is not None
    assert row.lease_until <= await rig.store.leases.now(), "given back, not left to lapse"


async def test_a_module_without_tools_is_a_usage_error(world: World, start: Start) -> None:
    world.module.write_text("x = 1\n")
    async with start() as gateway:
        assert await gateway.process.wait() == 2
    assert "no tools are defined" in gateway.log


async def test_a_server_that_is_not_there_is_said_in_one_line_with_exit_3(world: World, start: Start, free_port: int) -> None:
    async with start(WAYPOST_NATS_URL=f"nats://127.0.0.1:{free_port}", WAYPOST_START_SECONDS="0.5") as gateway:
        assert await gateway.process.wait() == 3
    last = gateway.log.strip().splitlines()[-1]
    assert last.startswith("waypost gateway: cannot reach NATS")
    assert "Traceback" not in gateway.log
