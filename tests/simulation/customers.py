"""Those who use the platform: they start runs, send signals, pause, resume and cancel, and repeat what was not confirmed.

They never die, and know nothing but what the API told them: what they were told is what the invariants hold the platform to.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from msgspec import UNSET, Raw

from tests.simulation.chance import Chance
from tests.simulation.loop import SimulatedLoop
from tests.simulation.network import Network, SimulatedBus
from tests.simulation.people import People, confirmed, until_told
from tests.simulation.provider import Provider
from tests.simulation.services import SUBJECTS
from waypost import Client
from waypost_io.store.memory import MemoryDatabase
from waypost_proto import api
from waypost_proto.codec import encode
from waypost_proto.errors import WaypostError
from waypost_proto.ids import RunId
from waypost_proto.task import TaskBudget
from waypost_proto.values import Budget

NAMES = ("trader", "boss", "clerk", "bumpy", "bulky", "hasty", "versioned", "remit", "deadly", "threaded")


@dataclass
class Order:
    """One run as its customer sees it. `accepted` once the platform has confirmed it; `cancelled_at` once it confirmed a cancellation."""

    number: int
    agent: str
    input: int
    starts_at: float
    by_task: bool
    pause_after: float | None = None
    cancel_after: float | None = None
    max_steps: int | None = None
    max_seconds: float | None = None
    deadline: str | None = None
    run_id: RunId | None = None
    cancel_confirmed: bool = False
    notes: list[str] = field(default_factory=list)


def orders_of(chance: Chance, count: int, *, spread_seconds: float) -> list[Order]:
    """What is ordered under a seed."""
    orders = []
    for number in range(count):
        order = Order(
            number=number,
            agent=chance.pick(NAMES),
            input=1 + chance.randrange(3),
            starts_at=chance.uniform(0.5, spread_seconds),
            by_task=chance.hits(0.3),
        )
        if chance.hits(0.2):
            order.pause_after = chance.uniform(0.0, 4.0)
        if chance.hits(0.2):
            order.cancel_after = chance.uniform(0.0, 6.0)
        if chance.hits(0.15):
            order.max_steps = 1 + chance.randrange(4)
        if chance.hits(0.07):
            order.max_seconds = 0.5 + chance.uniform(0.0, 3.0)
        if chance.hits(0.1):
            order.deadline = f"PT{chance.uniform(0.5, 15.0):.2f}S"
        orders.append(order)
    return orders


class Customers:
    """Serve all orders; `run` returns when each has ended."""

    def __init__(self, loop: SimulatedLoop, network: Network, tables: MemoryDatabase, provider: Provider, chance: Chance) -> None:
        self._loop = loop
        self._provider = provider
        self._network = network
        self._tables = tables
        self._chance = chance
        self.process = loop.process("customers")

    async def run(self, orders: list[Order]) -> None:
        async with SimulatedBus(self._network, self.process) as bus:
            client = Client(bus=bus, prefix=SUBJECTS.prefix, patience_seconds=3.0)
            async with client:
                people = People(self._loop, self._tables, self._provider, client)
                busy = [self._loop.create_task(work) for work in (people.approve(), people.raise_limits(), people.settle_doubts())]
                async with asyncio.TaskGroup() as group:
                    for order in orders:
                        group.create_task(self._serve(client, bus, order))
                for task in busy:
                    task.cancel()

    async def _serve(self, client: Client, bus: SimulatedBus, order: Order) -> None:
        await asyncio.sleep(order.starts_at)
        order.run_id = await (self._by_task(bus, order) if order.by_task else self._by_request(client, order))
        async with asyncio.TaskGroup() as group:
            if order.agent == "clerk":
                group.create_task(self._signal(client, order))
            if order.pause_after is not None:
                group.create_task(self._pause(client, order))
            if order.cancel_after is not None:
                group.create_task(self._cancel(client, order))
        while True:
            row = self._tables.runs.get(order.run_id)
            if row is not None and not row.open:
                return
            await asyncio.sleep(0.5)

    async def _by_request(self, client: Client, order: Order) -> RunId:
        key = f"order-{order.number}"
        limits = Budget(max_steps=order.max_steps, max_seconds=order.max_seconds)
        answer = await until_told(
            lambda: client.start(order.agent, order.input, idempotency_key=key, budget=limits, deadline=order.deadline)
        )
        return RunId(answer.run_id)

    async def _by_task(self, bus: SimulatedBus, order: Order) -> RunId:
        """A raw publish is as safe as its stream: repeat it until the run is seen."""
        key = f"order-{order.number}"
        task: dict[str, Any] = {"input": order.input, "idempotency_key": key}
        limits = {"max_steps": order.max_steps, "max_seconds": order.max_seconds}
        budget = {name: limit for name, limit in limits.items() if limit is not None}
        task |= {"budget": budget} if budget else {}
        task |= {"deadline": order.deadline} if order.deadline is not None else {}
        body = encode(task)
        while True:
            try:
                await bus.publish(SUBJECTS.task(order.agent), body, msg_id=f"{key}.{self._loop.now}")
            except WaypostError as error:
                order.notes.append(str(error))
            for _ in range(10):
                await asyncio.sleep(0.3)
                found = self._tables.keys.get(("default", order.agent, key))
                if found is not None and found[0] in self._tables.runs:
                    return found[0]

    async def _signal(self, client: Client, order: Order) -> None:
        for number in range(2):
            await asyncio.sleep(self._chance.uniform(0.0, 2.0))
            request = api.RunSignal(
                run_id=str(order.run_id),
                name="papers",
                payload=Raw(encode(number)),
                payload_ref=UNSET,
                request_id=f"{order.number}.s{number}",
            )
            if not await confirmed(lambda request=request: client.call("runs.signal", request, api.RunAnswer)):
                return

    async def _pause(self, client: Client, order: Order) -> None:
        assert order.pause_after is not None
        await asyncio.sleep(order.pause_after)
        if await self._command(client, order, "pause"):
            await asyncio.sleep(self._chance.uniform(0.0, 3.0))
            for number in range(20):  # a pause that was lost on the way may arrive after it: who paused looks what became of it
                await self._command(client, order, "resume", f"resume{number}")
                await asyncio.sleep(10.0)
                row = self._tables.runs.get(order.run_id) if order.run_id is not None else None
                if row is None or row.status != "paused":
                    return

    async def _cancel(self, client: Client, order: Order) -> None:
        assert order.cancel_after is not None
        await asyncio.sleep(order.cancel_after)
        order.cancel_confirmed = await self._command(client, order, "cancel")

    async def _command(self, client: Client, order: Order, verb: str, key: str = "") -> bool:
        # what was asked for while it was paused may be beyond its limit: then it goes on only with a larger one
        budget = None
        if key not in ("", "resume0"):
            budget = TaskBudget(
                max_steps=None if order.max_steps is None else 1_000, max_seconds=None if order.max_seconds is None else 10_000.0
            )
        request = api.RunCommand(run_id=str(order.run_id), request_id=f"{order.number}.{key or verb}", budget=budget)
        done = await confirmed(lambda: client.call(f"runs.{verb}", request, api.RunAnswer))
        self._network.trace.add(f"asked for {verb}", self.process, order.run_id, "done" if done else "refused")
        return done
