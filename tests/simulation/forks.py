"""Those who fork runs: any run, finished or not, at any event, with each way of answering its calls.

A fork that has met a call which its source never made is resumed: as it is while the source goes on, else live or denying, or it is
cancelled. When all is over each fork is made once more, in peace: that is what its result is compared with.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

from msgspec import UNSET, Raw

from tests.simulation.chance import Chance
from tests.simulation.controls import Controls
from tests.simulation.orders import ForkOrder
from tests.simulation.people import confirmed, until_told
from waypost import Client
from waypost_core.forking import boundaries
from waypost_core.state import RunState, decode_state
from waypost_io.store.memory import MemoryDatabase
from waypost_proto import api
from waypost_proto.codec import decode, encode
from waypost_proto.errors import BadInput
from waypost_proto.events import Event
from waypost_proto.forks import ForkTools
from waypost_proto.ids import RunId, uuid7
from waypost_proto.task import TaskBudget

PAPERS = 2
"""Signals that a clerk waits for."""
LOOK_SECONDS = 0.5
DIVERGED_SECONDS = 10.0
"""A fork whose copied part the agent's current build does not fit is given up then: no other build will take it."""
SILENT_SECONDS = 20.0
"""A fork that waits so long for what nobody sends is given up: its source was cancelled while it waited."""


class Forkers:
    """Ask for forks, and see each to its end."""

    def __init__(self, controls: Controls, tables: MemoryDatabase, client: Client, orders: list[ForkOrder]) -> None:
        self._controls = controls
        self._tables = tables
        self._client = client
        self._orders = orders

    async def serve(self, order: ForkOrder) -> None:
        """One fork, from asking for it to its end."""
        await asyncio.sleep(order.starts_at)
        while not self._chosen(order):
            await asyncio.sleep(LOOK_SECONDS)
        await self._ask(order)
        if not order.accepted:
            return
        async with asyncio.TaskGroup() as group:
            if order.pause_after is not None:
                group.create_task(self._controls.pause(order))
            if order.cancel_after is not None:
                group.create_task(self._controls.cancel(order))
            group.create_task(self._attend(order))

    async def repeat(self, chance: Chance) -> None:
        """Everything once more, when nothing goes wrong any more: forks of what had ended, so that they have the same source."""
        async with asyncio.TaskGroup() as group:
            for order in self._orders:
                if order.accepted and order.source_ended and order.cancel_after is None and order.deadline is None:
                    run_id = uuid7(1_800_000_100_000 + order.number, chance.randbytes(10))
                    order.twin = replace(order, number=order.number + 1_000, run_id=run_id, accepted=False, pause_after=None, gave_up=False)
                    group.create_task(self._repeat(order.twin))

    async def _repeat(self, order: ForkOrder) -> None:
        await self._ask(order)
        await self._attend(order)

    def _chosen(self, order: ForkOrder) -> bool:
        """Whether there is a run to fork: which, and where."""
        mine = {each.run_id for each in self._orders}
        runs = sorted(run_id for run_id in self._tables.runs if run_id != order.run_id)
        if not runs or not (set(runs) - mine):
            return False
        source = order.source = runs[int(order.which * len(runs))]
        row = self._tables.runs[source]
        log = [decode(Event, event.body) for _, event in sorted(self._tables.events[source].items())]
        places = list(range(1, len(log) + 2)) if order.anywhere else boundaries(log)
        order.at = places[int(order.where * len(places))]
        order.agent, order.source_ended = row.agent, not row.open
        return True

    async def _ask(self, order: ForkOrder) -> None:
        request = api.RunFork(
            run_id=str(order.source), at=order.at, tools=order.tools, new_run_id=order.run_id, deadline=order.deadline, by="fay"
        )
        try:
            await until_told(lambda: self._client.call("runs.fork", request, api.RunAnswer))
            order.accepted = True
        except BadInput as error:
            order.refused = str(error)

    # -- to its end

    async def _attend(self, order: ForkOrder) -> None:
        assert order.run_id is not None
        silent_since = self._tables.clock()
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            row = self._tables.runs.get(order.run_id)
            if row is None:
                continue
            if not row.open:
                return
            state = decode_state(row.state)
            if row.status != "waiting" or any(call.kind != "signal" for call in state.calls.values()):
                silent_since = self._tables.clock()
            if order.gave_up or state.ending is not None:
                continue
            if state.paused:
                await self._paused(order, state)
            elif state.plays and self._heard(order.source) > self._heard(order.run_id):
                await self._look_again(order)
            elif order.agent == "clerk" and not (state.plays and self._open(order)):
                await self._signal(order)
            elif self._tables.clock() > silent_since + SILENT_SECONDS:
                await self._give_up(order)

    async def _paused(self, order: ForkOrder, state: RunState) -> None:
        if order.agent == "versioned" and "replay asked for" in state.pause_reason:
            row = self._tables.runs[state.run_id]
            if self._tables.clock() > row.created_at + DIVERGED_SECONDS:
                await self._give_up(order)
        elif self._is_stuck(state):
            if self._open(order):
                await self._resume(order, None, state)
            elif order.stuck == "cancel":
                await self._give_up(order)
            else:
                await self._resume(order, order.stuck, state)

    def _is_stuck(self, state: RunState) -> bool:
        """At a call that its source never made; also when somebody else had paused it just then, and it cannot be resumed as it is."""
        if "has no answer to" in state.pause_reason or "has slept" in state.pause_reason:
            return True
        late = self._tables.clock() > state.recorded_at + SILENT_SECONDS
        return late and state.plays and any(call.stage == "tape" for call in state.calls.values())

    def _open(self, order: ForkOrder) -> bool:
        return order.source is not None and self._tables.runs[order.source].open

    async def _resume(self, order: ForkOrder, tools: ForkTools | None, state: RunState) -> None:
        budget = None if state.budget.max_seconds is None else TaskBudget(max_seconds=10_000.0)
        request = api.RunCommand(
            run_id=str(order.run_id), request_id=f"{order.number}.r{state.seq}.{tools}", tools=tools, budget=budget, by="fay"
        )
        await confirmed(lambda: self._client.call("runs.resume", request, api.RunAnswer))

    def _heard(self, run_id: RunId | None) -> int:
        rows = self._tables.events[run_id].values() if run_id is not None else ()
        return sum(row.type == "signal_received" for row in rows)

    async def _look_again(self, order: ForkOrder) -> None:
        """It waits for a signal that its source has heard since it was forked."""
        row = self._tables.runs[RunId(str(order.run_id))]
        if row.status == "waiting" and self._tables.clock() > row.updated_at + LOOK_SECONDS:
            await self._controls.command(order, "pause", f"look{row.seq}")
            await self._controls.command(order, "resume", f"looked{row.seq}")

    async def _give_up(self, order: ForkOrder) -> None:
        order.gave_up = True
        await self._controls.command(order, "cancel")

    async def _signal(self, order: ForkOrder) -> None:
        """The next that a clerk waits for: those that its source had heard are in its log."""
        assert order.run_id is not None
        heard = self._heard(order.run_id)
        if heard < PAPERS:
            request = api.RunSignal(
                run_id=str(order.run_id),
                name="papers",
                payload=Raw(encode(heard)),
                payload_ref=UNSET,
                request_id=f"{order.number}.s{heard}",
            )
            await confirmed(lambda: self._client.call("runs.signal", request, api.RunAnswer))
