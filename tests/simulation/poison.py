"""Messages that nobody can use, on the subjects of tasks, mail and calls: they must end as dead letters, and hurt nothing else.

Also well-formed letters that lie: an advance on a journal that never was, a result of a call that was never made. They must change nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from msgspec import Raw

from tests.simulation.chance import Chance
from tests.simulation.customers import Order
from tests.simulation.loop import SimulatedLoop
from tests.simulation.network import Network, SimulatedBus
from tests.simulation.services import SUBJECTS
from tests.simulation.trouble import Trouble
from waypost_io.store.memory import MemoryDatabase
from waypost_proto.codec import encode
from waypost_proto.errors import WaypostError
from waypost_proto.ids import CallId, RunId
from waypost_proto.mailbox import Advance, ToolSucceeded
from waypost_proto.values import Token

MARK = "poison"
LOSSES = ("BROKER WIPED", "STREAM DELETED", "OLD COPY RESTORED")
"""After these a message that nobody had handled may be gone."""
TICK_SECONDS = 0.2


class Vandal:
    """`run` until cancelled; then `missing` tells what became of it."""

    def __init__(self, loop: SimulatedLoop, network: Network, trouble: Trouble, chance: Chance) -> None:
        self._network = network
        self._trouble = trouble
        self._chance = chance
        self.process = loop.process("vandal")
        self._sent: list[str] = []
        self.dead: list[bytes] = []
        """Bodies on the subjects of dead letters."""

    async def run(self, orders: list[Order]) -> None:
        async with SimulatedBus(self._network, self.process) as bus:
            while self._trouble.poison:
                await asyncio.sleep(TICK_SECONDS)
                if self._chance.hits(self._trouble.poison * TICK_SECONDS):
                    self._network.trace.strike("POISON", self.process)
                    await self._strike(bus, [order.run_id for order in orders if order.run_id is not None])

    async def _strike(self, bus: SimulatedBus, runs: list[RunId]) -> None:
        mark = f"{MARK}-{len(self._sent)}-"
        run_id = self._chance.pick(runs) if runs else RunId("01a3185c-5204-7c55-9c21-19deaae766f7")
        if self._chance.hits(0.3):
            await self._publish(bus, *self._lie(run_id))
            return
        subject, body = self._chance.pick(
            [
                (SUBJECTS.task("trader"), b'{"input": "' + mark.encode()),
                (SUBJECTS.task("boss"), encode({"inputs": 1, "mark": mark})),
                (SUBJECTS.mail("result", "look", run_id), b'{"type": "tool_succeeded", "' + mark.encode()),
                (SUBJECTS.mail("advance", "trader", run_id), encode({"type": "advance", "mark": mark})),
                (SUBJECTS.mail("control", "run", run_id), encode({"type": "no such type", "mark": mark})),
                (SUBJECTS.tool("look"), mark.encode()),
            ]
        )
        if await self._publish(bus, subject, body):
            self._sent.append(mark)

    def _lie(self, run_id: RunId) -> tuple[str, bytes]:
        if self._chance.hits(0.5):
            made_up = ToolSucceeded(run_id=run_id, call_id=CallId("9:9"), attempt=1, result=Raw(b"666"))
            return SUBJECTS.mail("result", "look", run_id), encode(made_up)
        token = Token(epoch=9, counter=9)
        advance = Advance(run_id=run_id, agent="trader", worker="nobody", build="b1", token=token, base="0" * 32, seen=1, items=Raw(b"[]"))
        return SUBJECTS.mail("advance", "trader", run_id), encode(advance)

    async def _publish(self, bus: SimulatedBus, subject: str, body: bytes) -> bool:
        try:
            await bus.publish(subject, body)
        except WaypostError:
            return False
        return True

    def missing(self, tables: MemoryDatabase) -> Iterator[str]:
        """What was stored and is no dead letter, unless the stream that it was in was lost."""
        if any(self._network.trace.struck[loss] for loss in LOSSES):
            return
        kept = [*self.dead, *(record.body for record in tables.dead.values())]
        for mark in self._sent:
            if not any(mark.encode() in body for body in kept):
                yield f"the message {mark} is no dead letter"
