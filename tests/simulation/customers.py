"""Those who use the platform: they start runs, send signals, pause, resume and cancel, and repeat what was not confirmed.

They never die, and know nothing but what the API told them: what they were told is what the invariants hold the platform to.
"""

from __future__ import annotations

import asyncio
from typing import Any

from msgspec import UNSET, Raw

from tests.simulation.chance import Chance
from tests.simulation.controls import Controls
from tests.simulation.forks import Forkers
from tests.simulation.loop import SimulatedLoop
from tests.simulation.network import Network, SimulatedBus
from tests.simulation.orders import ForkOrder, Order
from tests.simulation.people import People, confirmed, until_told
from tests.simulation.provider import Provider
from tests.simulation.services import SUBJECTS
from waypost import Client
from waypost_io.store.memory import MemoryDatabase
from waypost_proto import api
from waypost_proto.codec import encode
from waypost_proto.errors import WaypostError
from waypost_proto.ids import RunId
from waypost_proto.values import Budget


class Customers:
    """Serve all orders; `run` returns when each has ended, and each fork has been made once more after `calm`."""

    def __init__(self, loop: SimulatedLoop, network: Network, tables: MemoryDatabase, provider: Provider, chance: Chance) -> None:
        self._loop = loop
        self._provider = provider
        self._network = network
        self._tables = tables
        self._chance = chance
        self.process = loop.process("customers")
        self.calm = asyncio.Event()
        """Nothing goes wrong any more."""

    async def run(self, orders: list[Order], forks: list[ForkOrder]) -> None:
        async with SimulatedBus(self._network, self.process) as bus:
            client = Client(bus=bus, prefix=SUBJECTS.prefix, patience_seconds=3.0)
            async with client:
                people = People(self._loop, self._tables, self._provider, client)
                busy = [self._loop.create_task(work) for work in (people.approve(), people.raise_limits(), people.settle_doubts())]
                controls = Controls(self._tables, client, self._chance, self._note)
                forkers = Forkers(controls, self._tables, client, forks)
                async with asyncio.TaskGroup() as group:
                    for order in orders:
                        group.create_task(self._serve(client, bus, controls, order))
                    for fork in forks:
                        group.create_task(forkers.serve(fork))
                await self.calm.wait()
                await forkers.repeat(self._chance)
                for task in busy:
                    task.cancel()

    async def _serve(self, client: Client, bus: SimulatedBus, controls: Controls, order: Order) -> None:
        await asyncio.sleep(order.starts_at)
        order.run_id = await (self._by_task(bus, order) if order.by_task else self._by_request(client, order))
        async with asyncio.TaskGroup() as group:
            if order.agent == "clerk":
                group.create_task(self._signal(client, order))
            if order.pause_after is not None:
                group.create_task(controls.pause(order))
            if order.cancel_after is not None:
                group.create_task(controls.cancel(order))
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

    def _note(self, what: str, *about: object) -> None:
        self._network.trace.add(what, self.process, *about)
