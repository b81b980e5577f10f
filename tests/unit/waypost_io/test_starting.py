"""Waiting for servers at the start: how long, what ends it, and what `/readyz` says meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from waypost_io.lifecycle import Stop
from waypost_io.ops import OpsServer
from waypost_io.starting import StartAbandoned, Starting
from waypost_proto.errors import Misconfigured, NotMigrated, TransientError, Unreachable, WaypostError


class Server:
    """Refuses so often, then is there."""

    def __init__(self, refusals: int) -> None:
        self.refusals = refusals
        self.asked = 0
        self.open = 0

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Server]:
        self.asked += 1
        if self.asked <= self.refusals:
            raise Unreachable(f"refusal {self.asked}")
        self.open += 1
        try:
            yield self
        finally:
            self.open -= 1


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("waypost_io.starting.FIRST_DELAY_SECONDS", 0.001)


async def test_a_server_that_is_late_is_waited_for_and_readiness_says_so() -> None:
    starting, server = Starting(Stop()), Server(3)
    ops = OpsServer("", checks=starting.checks)
    assert (await ops.readiness())[0] is False
    async with AsyncExitStack() as stack:
        assert await starting.enter(stack, server.connect) is server
        ready, checks = await ops.readiness()
        assert (ready, checks) == (False, {"started": "Unreachable: refusal 3"})
        starting.done({"more": lambda: False})
        assert (await ops.readiness())[1] == {"more": "not ready"}
        assert server.open == 1
    assert (server.asked, server.open) == (4, 0)


async def test_with_a_limit_the_last_reason_is_raised() -> None:
    starting = Starting(Stop(), seconds=0.05)
    with pytest.raises(Unreachable, match="refusal"):
        await starting.enter(AsyncExitStack(), Server(1_000_000).connect)


@pytest.mark.parametrize("reason", [TransientError("error creating store for stream"), NotMigrated("the database lacks the migrations 9")])
async def test_a_server_that_answers_and_cannot_yet_is_waited_for(reason: WaypostError) -> None:
    """JetStream's disk is full: it refuses to make a stream, and will not when there is room. A job migrates the database meanwhile."""
    asked = 0

    async def make() -> str:
        nonlocal asked
        asked += 1
        if asked < 3:
            raise reason
        return "made"

    assert await Starting(Stop()).reach(make) == "made"
    asked = -1_000_000
    with pytest.raises(Unreachable, match=str(reason)):
        await Starting(Stop(), seconds=0.05).reach(make)


async def test_what_waiting_does_not_mend_is_raised_at_once() -> None:
    async def refused() -> None:
        raise Misconfigured("no such user")

    with pytest.raises(Misconfigured, match="no such user"):
        await Starting(Stop()).reach(refused)


@pytest.mark.parametrize("hangs", [False, True])
async def test_a_stop_ends_the_wait(hangs: bool) -> None:
    stop = Stop()
    ended = False

    async def attempt() -> None:
        nonlocal ended
        asyncio.get_running_loop().call_soon(stop.request, "SIGTERM")
        if not hangs:
            raise Unreachable("not there")
        try:
            await asyncio.Event().wait()
        finally:
            ended = True

    with pytest.raises(StartAbandoned):
        await Starting(stop).reach(attempt)
    assert ended is hangs, "the attempt under way is ended too"
