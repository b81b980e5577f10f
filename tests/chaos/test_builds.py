"""Two builds of an agent at once: a run stays with the build that it began with, new runs get the current one, and the last worker of a
build leaves its runs to the other, which replays them and says where it differs."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.chaos.stack import Stack, stack
from tests.waiting import wait_until
from waypost.client import Client

TELLER = """
from tests.chaos.desk_module import look_up
from waypost import Context, agent

@agent(name="teller", tools=[look_up])
async def teller(ctx: Context, number: int) -> str:
    first = await ctx.call(look_up, {first!r})
    word = await ctx.signal("go", str)
    return {build!r} + " " + first + " " + word + " " + await ctx.call(look_up, "z")
"""


@asynccontextmanager
async def tellers(tmp_path: Path, nats_url: str, database: str) -> AsyncIterator[Stack]:
    """Coordinator and gateway; workers as a test says. The gateway hosts `look_up`."""
    for build, first in (("a", "x"), ("b", "x"), ("other", "y")):
        (tmp_path / f"{build}.py").write_text(TELLER.format(build=build, first=first))
    root = str(Path(__file__).parents[2])
    environment = {"PYTHONPATH": os.pathsep.join([*sys.path, root])}
    async with stack(tmp_path, nats_url=nats_url, postgres_url=database, environment=environment) as services:
        await services.kill("worker")  # it hosts nothing that is needed here
        yield services


async def host(services: Stack, client: Client, build: str, folder: Path) -> None:
    """A worker of a build, and the coordinator knows it."""
    await services.start("worker", key=build, module=folder / f"{build}.py", build=build)
    await builds(client, build, there=True)


async def leave(services: Stack, client: Client, build: str) -> None:
    services.processes[build].send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(services.processes[build].wait(), 30) == 0, services.log()
    await builds(client, build, there=False)


async def builds(client: Client, build: str, *, there: bool) -> None:
    async def seen() -> bool:
        live = {one.build for view in await client.agents() if view.definition.name == "teller" for one in view.builds}
        return (build in live) is there

    await wait_until(seen, seconds=20)


async def begun(client: Client, count: int = 1) -> list[str]:
    """Runs that wait for their signal."""
    run_ids = [(await client.start("teller", number)).run_id for number in range(count)]

    async def all_wait() -> bool:
        return all([(await client.get(run_id)).waiting_for.startswith("signal") for run_id in run_ids])

    await wait_until(all_wait, seconds=20)
    return run_ids


async def go(client: Client, run_id: str) -> str:
    await client.signal(run_id, "go", "now")
    return await client.result(run_id, timeout=30, type=str)


@pytest.mark.crash
async def test_a_run_stays_with_its_build_while_that_lives(tmp_path: Path, nats_url: str, database: str) -> None:
    async with tellers(tmp_path, nats_url, database) as services, services.client() as client:
        await host(services, client, "a", tmp_path)
        (old, moved) = await begun(client, 2)
        await host(services, client, "b", tmp_path)
        (new,) = await begun(client)
        assert [(await client.get(run_id)).build for run_id in (old, moved, new)] == ["a", "a", "b"]
        (view,) = [view for view in await client.agents() if view.definition.name == "teller"]
        assert (view.definition.build, [build.build for build in view.builds]) == ("b", ["b", "a"])
        assert await go(client, old) == "a X now Z"
        assert await go(client, new) == "b X now Z"
        await leave(services, client, "a")  # its last worker
        assert await go(client, moved) == "b X now Z"
        assert (await client.get(moved)).build == "b"
        types = [event.type async for event in client.events(moved)]
        assert types.count("tool_call_completed") == 2, "what was recorded was not done again"


@pytest.mark.crash
async def test_a_build_that_does_not_fit_pauses_the_run_readably(tmp_path: Path, nats_url: str, database: str) -> None:
    async with tellers(tmp_path, nats_url, database) as services, services.client() as client:
        await host(services, client, "a", tmp_path)
        (run_id,) = await begun(client)
        await host(services, client, "other", tmp_path)
        await services.kill("a")
        await builds(client, "a", there=False)
        await client.signal(run_id, "go", "now")

        async def paused() -> bool:
            return (await client.get(run_id)).status == "paused"

        await wait_until(paused, seconds=20, message=services.log)
        (tripped,) = [event async for event in client.events(run_id) if event.type == "breaker_tripped"]
        difference = bytes(tripped.data).decode()
        assert "replay asked for tool call 0:1" in difference, difference
        assert "the journal has tool call 0:1" in difference, difference
        await host(services, client, "a", tmp_path)  # rolled back
        await leave(services, client, "other")
        await client.resume(run_id, by="ann")
        assert await client.result(run_id, timeout=30) == "a X now Z"


@pytest.mark.crash
@pytest.mark.slow
async def test_what_no_worker_of_a_build_has_taken_up_moves_too(tmp_path: Path, nats_url: str, database: str) -> None:
    """The only worker of the build is paused: first activations lie in its queue; then it is gone, and another build is there."""
    async with tellers(tmp_path, nats_url, database) as services, services.client() as client:
        await host(services, client, "a", tmp_path)
        services.processes["a"].send_signal(signal.SIGSTOP)
        run_ids = [(await client.start("teller", number)).run_id for number in range(4)]
        await services.kill("a")
        await builds(client, "a", there=False)
        await host(services, client, "b", tmp_path)
        for run_id in run_ids:
            assert await go(client, run_id) == "b X now Z", services.log()
