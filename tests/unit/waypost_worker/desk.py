"""Workers in this process, opposite a scripted coordinator, on whatever bus the test gives."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any, Self

from tests.unit.waypost_worker.journals import Run, Seen
from tests.unit.waypost_worker.stand_in import StandIn
from tests.waiting import wait_until
from waypost import Agent
from waypost_io.bus.ports import Bus
from waypost_io.lifecycle import Stop
from waypost_proto.subjects import Subjects
from waypost_worker.catalog import Catalog
from waypost_worker.service import Worker
from waypost_worker.tuning import Tuning

BUILD = "b1"
QUICK = Tuning(
    fresh_seconds=0.0,
    concurrency=16,
    ack_wait_seconds=5.0,
    republish_seconds=0.1,
    republish_max_seconds=0.2,
    retry_seconds=0.02,
    drain_seconds=5.0,
)


def catalog_of(*agents: Agent[..., Any], build: str = BUILD) -> Catalog:
    return Catalog({agent.name: agent for agent in agents}, build, [agent.definition(build) for agent in agents])


class Desk:
    """`coordinator` is the stand-in; `hire` starts a worker with a connection of its own, `fire` asks it to stop."""

    def __init__(self, make_bus: Callable[[], Any], bus: Bus, prefix: str = "waypost") -> None:
        self.make_bus = make_bus
        self.subjects = Subjects(prefix)
        self.coordinator = StandIn(bus, self.subjects)
        self._stack = AsyncExitStack()
        self._working: dict[str, tuple[Stop, asyncio.Task[None]]] = {}

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self.coordinator)
        return self

    async def __aexit__(self, *exc: object) -> None:
        for _, task in self._working.values():
            task.cancel()
        await asyncio.gather(*(task for _, task in self._working.values()), return_exceptions=True)
        await self._stack.aclose()

    async def hire(self, *agents: Agent[..., Any], tuning: Tuning = QUICK, build: str = BUILD, bus: Any = None) -> Worker:
        """A worker that is ready, on a connection of its own."""
        bus = await self._stack.enter_async_context(bus if bus is not None else self.make_bus())
        worker = Worker(bus, self.subjects, catalog_of(*agents, build=build), tuning=tuning)
        stop = Stop()
        task = asyncio.create_task(worker.run(stop))
        self._working[worker.id] = (stop, task)
        await wait_until(lambda: worker.ready() or task.done())
        if task.done():
            task.result()
        return worker

    def ask_to_stop(self, worker: Worker) -> asyncio.Task[None]:
        """Begin to drain; the task ends with the worker."""
        stop, task = self._working[worker.id]
        stop.request("test")
        return task

    async def kill(self, worker: Worker) -> None:
        """End it at once, as a crash does to what it had in memory (its connection stays, silent)."""
        _, task = self._working.pop(worker.id)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    def start(self, agent: Agent[..., Any], value: Any = None, **options: Any) -> Run:
        return self.coordinator.start(agent.name, BUILD, value, **options)

    async def status(self, run: Run, status: str) -> None:
        await wait_until(lambda: run.status == status, message=lambda: f"{run.status} {run.error}: {self.history(run)}")

    async def advances(self, run: Run, count: int, *verdicts: str) -> list[Seen]:
        """Wait for so many advances of the run."""
        await wait_until(lambda: len(self.coordinator.of(run, *verdicts)) >= count, message=lambda: self.history(run))
        return self.coordinator.of(run, *verdicts)

    def history(self, run: Run) -> str:
        """What happened to a run, for a failing test."""
        return "; ".join(f"{seen.verdict} {seen.kinds[:5]} running={seen.advance.running}" for seen in self.coordinator.of(run))
