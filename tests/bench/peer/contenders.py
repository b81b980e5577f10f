"""The sides of the comparison, ready to work: Waypost in both durabilities, the floor, LangGraph. All on one embedded Postgres."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Literal, Protocol

import msgspec

from tests.bench import floor, tape
from tests.bench.driver import Batch, Driver, Stalled
from tests.bench.gauges import Gauges
from tests.bench.measuring import MEASURED
from tests.bench.platform import WORK_FILE, Waypost, floor_beside
from waypost_cli.dev import DevOptions, Supervisor

SCRIPT = Path(__file__).with_name("langgraph_side.py")
WAYPOST, STRICT, FLOOR = "Waypost", "Waypost, strict", "floor"
LANGGRAPH, SPREAD, AGENT = "LangGraph", "LangGraph, spread", "LangGraph, agent"
ANSWER_BYTES = 1 << 24
WARM_UP_RUNS = 20


class Contender(Protocol):
    """Something that makes runs, and can be measured from outside."""

    @property
    def name(self) -> str: ...

    @property
    def pids(self) -> Mapping[str, int]: ...

    @property
    def gauges(self) -> Gauges: ...

    @property
    def on_nats(self) -> bool: ...

    async def batch(self, runs: int, steps: int, at_once: int) -> Batch:
        """So many runs, so many at once. Raises `Stalled`."""


class Driven:
    """Waypost, or its floor: a task in, the run's end out."""

    on_nats = True

    def __init__(self, name: str, pids: Mapping[str, int], gauges: Gauges, driver: Driver) -> None:
        self.name = name
        self.pids = pids
        self.gauges = gauges
        self.batch = driver.batch


class Setup(msgspec.Struct, frozen=True, kw_only=True):
    """How LangGraph is run."""

    name: str
    database: str
    processes: int
    pool_size: int
    savers: int
    """In each process; a saver makes one statement at a time."""
    graph: Literal["state", "agent"] = "state"


AS_DOCUMENTED = Setup(name=LANGGRAPH, database="langgraph", processes=1, pool_size=16, savers=1)
SPREAD_OUT = Setup(name=SPREAD, database="langgraph_spread", processes=2, pool_size=8, savers=4)
"""The fastest of those tried on two cores: both cores, and no run waits for another's statement while a connection is free."""

AS_AN_AGENT = Setup(name=AGENT, database="langgraph_agent", processes=1, pool_size=16, savers=1, graph="agent")
"""As its documents build an agent: messages, a model node, and a `ToolNode`."""


class LangGraph:
    """Processes under the peer's Python, each with its savers and its pool. Runs are dealt out evenly."""

    on_nats = False

    def __init__(self, name: str, gauges: Gauges) -> None:
        self.name = name
        self.gauges = gauges
        self.pids: dict[str, int] = {}
        self.versions: dict[str, str] = {}
        self._processes: list[asyncio.subprocess.Process] = []

    async def start(self, python: Path, url: str, setup: Setup) -> None:
        """One after another: the first makes the tables. Raises `Stalled` when one does not come up."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("LANGCHAIN_", "LANGSMITH_", "WAYPOST_"))}
        for number in range(setup.processes):
            process = await asyncio.create_subprocess_exec(
                # -P: else the script's folder would come before the packages
                *(str(python), "-P", str(SCRIPT), url, str(setup.pool_size), str(setup.savers), setup.graph),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                env=environment,
                limit=ANSWER_BYTES,
            )
            self._processes.append(process)
            self.pids[f"langgraph-{number + 1}"] = process.pid
            self.versions = msgspec.json.decode(await self._answer(process), type=dict[str, dict[str, str]])["ready"]

    async def batch(self, runs: int, steps: int, at_once: int) -> Batch:
        """So many runs, so many at once over all processes."""
        processes = self._processes[: min(at_once, runs)]
        started = time.perf_counter()
        for index, process in enumerate(processes):
            share = {"runs": _share(runs, len(processes), index), "steps": steps, "at_once": _share(at_once, len(processes), index)}
            assert process.stdin is not None
            process.stdin.write(msgspec.json.encode(share) + b"\n")
        answers = [msgspec.json.decode(await self._answer(process), type=Batch) for process in processes]
        seconds = time.perf_counter() - started
        return Batch(seconds=seconds, latencies_ms=[ms for answer in answers for ms in answer.latencies_ms])

    async def stop(self) -> None:
        """They end with their standard input; whoever does not is killed. Idempotent."""
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.close()
        for process in self._processes:
            try:
                async with asyncio.timeout(5):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()

    async def _answer(self, process: asyncio.subprocess.Process) -> bytes:
        assert process.stdout is not None
        line = await process.stdout.readline()
        if not line:
            raise Stalled(f"a process of {self.name!r} ended with code {await process.wait()}; its errors are above")
        return line


def _share(whole: int, parts: int, index: int) -> int:
    return whole // parts + (index < whole % parts)


@asynccontextmanager
async def langgraph(platform: Waypost, python: Path, setup: Setup) -> AsyncIterator[LangGraph]:
    """LangGraph in a database of its own; ended afterwards. Raises `Stalled`."""
    url = await platform.postgres.create_database(setup.database)
    async with _gauges(platform) as gauges:
        side = LangGraph(setup.name, gauges)
        try:
            await side.start(python, url, setup)
            yield side
        finally:
            await side.stop()


@asynccontextmanager
async def strict_beside(platform: Waypost) -> AsyncIterator[Driven]:
    """Waypost once more, on a NATS of its own that syncs every write, and in a database of its own on the same Postgres."""
    url = await platform.postgres.create_database("strict")
    folder = platform.data_dir.with_name("strict")
    options = DevOptions(modules=(str(WORK_FILE),), data_dir=folder, services=MEASURED, reload=False, durability="strict", postgres_url=url)
    async with Supervisor(options) as supervisor:
        assert supervisor.nats is not None
        pids = {name: process.pid for name, process in supervisor.processes.items()}
        gauges = Gauges(supervisor.nats, platform.postgres)
        await gauges.connect()
        try:
            async with Driver(supervisor.nats.url, options.prefix) as driver:
                yield Driven(STRICT, pids, gauges, driver)
        finally:
            await gauges.close()


@asynccontextmanager
async def contenders(platform: Waypost, python: Path, steps: int, *, strict: bool, with_floor: bool) -> AsyncIterator[Sequence[Contender]]:
    """All sides, warm, in the order in which they take turns. Ended afterwards."""
    async with AsyncExitStack() as stack:
        gauges = await stack.enter_async_context(_gauges(platform))
        driver = await stack.enter_async_context(Driver(platform.nats.url, platform.side.prefix))
        documented = await stack.enter_async_context(langgraph(platform, python, AS_DOCUMENTED))
        spread = await stack.enter_async_context(langgraph(platform, python, SPREAD_OUT))
        agent = await stack.enter_async_context(langgraph(platform, python, AS_AN_AGENT))
        sides: list[Contender] = [Driven(WAYPOST, platform.side.pids, gauges, driver), documented, spread, agent]
        if with_floor:
            await driver.batch(WARM_UP_RUNS, steps, 1)
            one = partial(driver.one, steps)
            recorded = await tape.record(platform.nats.url, platform.side.prefix, platform.postgres_url, steps, one)
            beside = await stack.enter_async_context(floor_beside(platform, recorded))
            floor_driver = await stack.enter_async_context(Driver(platform.nats.url, floor.PREFIX))
            sides.append(Driven(FLOOR, beside.pids, gauges, floor_driver))
        if strict:
            sides.append(await stack.enter_async_context(strict_beside(platform)))
        for side in sides:
            await side.batch(WARM_UP_RUNS, steps, 1)
            await side.batch(2 * WARM_UP_RUNS, steps, WARM_UP_RUNS)
        yield sides


@asynccontextmanager
async def _gauges(platform: Waypost) -> AsyncIterator[Gauges]:
    gauges = Gauges(platform.nats, platform.postgres)
    await gauges.connect()
    try:
        yield gauges
    finally:
        await gauges.close()
