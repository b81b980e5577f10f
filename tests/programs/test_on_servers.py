"""Random programs on real NATS and Postgres, with real services; the worker is killed with kill -9 at random points of its work.

Real time decides the order, so each log is held against the oracle: it must hold what its code asks for on just these events.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.chaos.stack import Stack, hosted, stack
from tests.programs import kit
from tests.programs.campaign import collected
from tests.programs.oracle import check_log, check_replay
from tests.programs.pythons import environment
from tests.programs.runs import Run
from tests.programs.tree import Program
from tests.programs.world import World
from tests.waiting import wait_until
from waypost.client import Client
from waypost_io.servers import EmbeddedPostgres
from waypost_proto import events as ev
from waypost_proto.errors import Conflict
from waypost_proto.values import TERMINAL

SEED = int(os.environ.get("PROGRAMS_SEED", "1"))
PROGRAMS = 8
KILLS = 5
UNIT = 0.08
"""Seconds for each unit of a program's time."""
LONGEST = 15.0
QUIET_SECONDS = 4.0
"""After the last kill: longer than a lost worker's runs take to be taken up by the next."""
POINTS = [f"worker.{boundary}.{side}" for boundary in ("activation", "publish", "ack") for side in ("before", "after")]
HEAD = "import asyncio\n\nfrom tests.programs.kit import *\nfrom waypost import Approval, ToolFailed\n\n"


@pytest.fixture
async def database(postgres: EmbeddedPostgres, postgres_template: str) -> AsyncIterator[str]:
    """URL of a migrated database of this test."""
    name = f"p{uuid.uuid4().hex[:12]}"
    yield await postgres.create_database(name, template=postgres_template)
    await postgres.drop_database(name)


@pytest.mark.crash
@pytest.mark.slow
async def test_random_programs_on_real_servers(tmp_path: Path, nats_url: str, database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = collected(SEED, PROGRAMS, worth_it)
    sources = [program.source(unit=UNIT, prefix=f"p{number}") for number, program in enumerate(programs)]
    module = tmp_path / "random_programs.py"
    module.write_text(HEAD + "\n\n".join(sources), encoding="utf-8")
    commands = {
        "coordinator": ["-m", "waypost_coordinator"],
        "worker": ["-m", "waypost_worker", str(module)],
        "gateway": ["-m", "waypost_gateway", kit.__name__],
    }
    monkeypatch.setenv("PYTHONPATH", environment()["PYTHONPATH"])
    chance = random.Random(SEED)
    async with stack(tmp_path, nats_url=nats_url, postgres_url=database, commands=commands) as services, services.client() as client:
        await hosted(client)
        killing = asyncio.create_task(keep_killing(services, chance))
        roots = [(await client.start(f"p{number}main")).run_id for number in range(PROGRAMS)]
        await asyncio.gather(*(signals(client, root, program) for root, program in zip(roots, programs, strict=True)))
        kills = await killing
        await asyncio.gather(*(ended(client, services, root) for root in roots))
        for root, source in zip(roots, sources, strict=True):
            await check_family(client, root, HEAD + source)
    assert kills == KILLS, services.log()


async def keep_killing(services: Stack, chance: random.Random) -> int:
    """Arm each worker with one random passage to die at, and start the next; at last one that lives."""
    kills = 0
    await services.kill("worker")
    for _ in range(KILLS):
        point = f"{chance.choice(POINTS)}:{chance.randint(1, 5)}"
        process = await services.start("worker", faults=point)
        try:
            async with asyncio.timeout(3):
                await process.wait()
        except TimeoutError:
            process.kill()  # it does not pass there so often any more
            await process.wait()
        kills += 1
    await services.start("worker")
    return kills


async def signals(client: Client, root: str, program: Program) -> None:
    for number, (_, name) in enumerate(program.signals):
        with contextlib.suppress(Conflict):  # it has ended
            await client.signal(root, name, f"{name}{number}")


def worth_it(program: Program) -> bool:
    """It asks for enough, and comes to its end by itself, soon."""
    world = World(program).live()
    last = world.root.log[-1]
    soon = last.at - world.root.log[0].at <= LONGEST
    return 12 <= len(world.root.log) <= 60 and soon and last.type != "run_cancelled"


async def ended(client: Client, services: Stack, root: str) -> None:
    """Wait for the end. In real time the code may have come to where it waits for ever: then it is cancelled."""
    while not await is_over(client, root):
        if await quiet_for(client, root, QUIET_SECONDS):
            await client.cancel(root, by="owner", reason="it waits for ever")
            await wait_until(lambda: is_over(client, root), seconds=20, message=services.log)


async def is_over(client: Client, root: str) -> bool:
    return (await client.get(root)).status in TERMINAL


async def quiet_for(client: Client, root: str, seconds: float) -> bool:
    """Nothing was recorded for so long; False as soon as something is."""
    before = (await client.get(root)).last_seq
    try:
        await wait_until(lambda: moved(client, root, before), seconds=seconds)
    except AssertionError:
        return True
    return False


async def moved(client: Client, root: str, before: int) -> bool:
    return (await client.get(root)).last_seq != before


async def check_family(client: Client, run_id: str, source: str) -> None:
    """A run's log, and those of its children."""
    run = Run.recorded([event async for event in client.events(run_id)])
    assert run.state.terminal, run_id
    check_log(source, run)
    check_replay(source, run)
    asked = [event.data for event in run.log if isinstance(event.data, ev.ChildRequested)]
    failed = {event.data.call_id for event in run.log if isinstance(event.data, ev.ChildFailed)}
    for child in asked:
        if child.call_id not in failed:  # it may never have been started
            await check_family(client, child.child_run_id, source)
