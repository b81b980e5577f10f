"""Random trouble, by seed: lost and unconfirmed publishes, reconnects, wipes, deaths, repeats, pauses, false rejections.

Whatever happens: every run ends with its result, and no step begins whose result is recorded (P3).
"""

from __future__ import annotations

import asyncio
import random
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any, TypeVar

import msgspec

from tests.unit.waypost_worker.desk import QUICK, Desk
from tests.unit.waypost_worker.gated_bus import GatedBus
from tests.unit.waypost_worker.journals import Run
from waypost import Agent, tool
from waypost_io.bus.memory import MemoryBroker, MemoryBus
from waypost_proto.subjects import ANY_WORKER
from waypost_worker.service import Worker

RUNS = 6
TROUBLES = 25
TUNING = replace(QUICK, ack_wait_seconds=0.3, republish_seconds=0.05, republish_max_seconds=0.1, announce_running_seconds=0.005)


@tool(effect="read")
async def lookup(key: str) -> str:
    return key


class Trouble(ABC):
    """One worker at a time, some runs, and what happens to them."""

    def __init__(self, seed: int, desk: Desk, broker: MemoryBroker) -> None:
        self.random = random.Random(seed)
        self.desk = desk
        self.broker = broker
        self.runs: dict[int, Run] = {}
        self.began_again: list[str] = []
        self.journey = self._journey()
        self.bus: GatedBus
        self.worker: Worker

    @abstractmethod
    def _journey(self) -> Agent[..., Any]:
        """What all runs are of. It notes in `began_again` what it begins though it was `told` of the result."""

    @abstractmethod
    def result_of(self, number: int) -> Any:
        """What run `number` has to end with."""

    async def begin(self) -> None:
        self.desk.coordinator.tools["lookup"] = lambda args: args["key"]
        await self.hire()
        for number in range(RUNS):
            self.runs[number] = self.desk.start(self.journey, number)

    async def hire(self) -> None:
        self.bus = GatedBus(self.broker)
        self.worker = await self.desk.hire(self.journey, bus=self.bus, tuning=TUNING)

    def told(self, run: Run, label: str, field: str) -> bool:
        """Whether the last journal that a worker was given holds the step's result. (What is still in the mailbox then is not recorded.)"""
        known = run.entries[: self.desk.coordinator.told.get(run.run_id, 0)]
        return any(entry.type == "step_completed" and msgspec.json.decode(entry.data).get(field) == label for entry in known)

    # -- what happens

    async def happen(self) -> None:
        kinds = [self.time_outs, self.losses, self.reconnect, self.wipe, self.death, self.repeat, self.pause, self.falsehood, self.silence]
        await self.random.choice(kinds)()

    async def time_outs(self) -> None:
        self.bus.time_out += self.random.randrange(1, 4)

    async def losses(self) -> None:
        self.bus.lose += self.random.randrange(1, 4)

    async def reconnect(self) -> None:
        self.broker.restart()

    async def wipe(self) -> None:
        self.broker.wipe()
        await self.desk.coordinator.make_streams()
        self.derive_again()

    async def death(self) -> None:
        await self.desk.kill(self.worker)
        await self.hire()
        self.derive_again(to=ANY_WORKER)

    async def repeat(self) -> None:
        """An activation again, late: what the run was given some time ago."""
        run = self.any_run()
        old = self.desk.coordinator.activation(run)
        await asyncio.sleep(self.random.random() * 0.02)
        self.desk.coordinator.dispatch(old, to=self.worker.id)

    async def pause(self) -> None:
        run = self.any_run()
        self.desk.coordinator.stop(run, "paused")
        await asyncio.sleep(self.random.random() * 0.02)
        self.desk.coordinator.activate(run, to=ANY_WORKER)

    async def falsehood(self) -> None:
        run = self.any_run()
        self.desk.coordinator.reject(self.worker.id, run, self.random.choice(["", "0" * 32]))
        self.desk.coordinator.activate(run, to=ANY_WORKER)

    async def silence(self) -> None:
        self.desk.coordinator.confirming = False
        await asyncio.sleep(self.random.random() * 0.05)
        self.desk.coordinator.confirming = True

    def any_run(self) -> Run:
        return self.random.choice(list(self.runs.values()))

    def derive_again(self, to: str | None = None) -> None:
        """As a coordinator does after a wipe or a loss."""
        for run in self.runs.values():
            if run.status == "running":
                self.desk.coordinator.activate(run, to=to)

    async def end(self) -> None:
        """Let everything come to its end; a real coordinator's sweep derives again what is stuck."""
        for _ in range(100):
            if all(run.status == "completed" for run in self.runs.values()):
                return
            await asyncio.sleep(0.1)
            if self.worker.runs is not None and not self.worker.runs.active:
                self.derive_again(to=ANY_WORKER)  # a late advance of a dead worker may have made the run its own


T = TypeVar("T", bound=Trouble)


@asynccontextmanager
async def troubled(kind: type[T], seed: int) -> AsyncIterator[T]:
    """Runs that had all the trouble of a seed, and have ended as they should."""
    broker = MemoryBroker()
    async with AsyncExitStack() as stack:
        bus = await stack.enter_async_context(MemoryBus(broker))
        desk = await stack.enter_async_context(Desk(lambda: MemoryBus(broker), bus))
        trouble = kind(seed, desk, broker)
        await trouble.begin()
        for _ in range(TROUBLES):
            await asyncio.sleep(trouble.random.random() * 0.02)
            await trouble.happen()
        await trouble.end()
        for number, run in trouble.runs.items():
            assert run.status == "completed", f"run {number}: {run.status} {run.error} {desk.history(run)}"
            assert msgspec.json.decode(run.result.result) == trouble.result_of(number)
        yield trouble
        assert trouble.began_again == []
