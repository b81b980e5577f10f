"""What customers do to a run that they have started or forked: pause it, go on, cancel it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tests.simulation.chance import Chance
from tests.simulation.orders import Order
from tests.simulation.people import confirmed
from waypost import Client
from waypost_core.state import decode_state
from waypost_io.store.memory import MemoryDatabase
from waypost_proto import api
from waypost_proto.task import TaskBudget


class Controls:
    """Everything is repeated until it is confirmed."""

    def __init__(self, tables: MemoryDatabase, client: Client, chance: Chance, note: Callable[..., None]) -> None:
        self._tables = tables
        self._client = client
        self._chance = chance
        self._note = note

    async def pause(self, order: Order) -> None:
        """Pause it after a while, and go on later."""
        assert order.pause_after is not None
        await asyncio.sleep(order.pause_after)
        if await self.command(order, "pause"):
            await asyncio.sleep(self._chance.uniform(0.0, 3.0))
            for number in range(20):  # a pause that was lost on the way may arrive after it: who paused looks what became of it
                await self.command(order, "resume", f"resume{number}")
                await asyncio.sleep(10.0)
                row = self._tables.runs.get(order.run_id) if order.run_id is not None else None
                if row is None or row.status != "paused":
                    return

    async def cancel(self, order: Order) -> None:
        """Cancel it after a while."""
        assert order.cancel_after is not None
        await asyncio.sleep(order.cancel_after)
        order.cancel_confirmed = await self.command(order, "cancel")

    async def command(self, order: Order, verb: str, key: str = "") -> bool:
        """Whether the platform did it."""
        # what was asked for while it was paused may be beyond its limit: then it goes on only with a larger one
        budget = self._more(order) if verb == "resume" and key != "resume0" else None
        request = api.RunCommand(run_id=str(order.run_id), request_id=f"{order.number}.{key or verb}", budget=budget)
        done = await confirmed(lambda: self._client.call(f"runs.{verb}", request, api.RunAnswer))
        self._note(f"asked for {verb}", order.run_id, "done" if done else "refused")
        return done

    def _more(self, order: Order) -> TaskBudget | None:
        """Larger limits than the run has; a fork has its source's."""
        row = self._tables.runs.get(order.run_id) if order.run_id is not None else None
        if row is None:
            return None
        limits = decode_state(row.state).budget
        return TaskBudget(
            max_steps=None if limits.max_steps is None else 1_000, max_seconds=None if limits.max_seconds is None else 10_000.0
        )
