"""What happens to processes during the troubled time. Owns when and to whom; the means are the fleet's. Servers: `server_faults`."""

from __future__ import annotations

import asyncio

from tests.simulation.chance import Chance
from tests.simulation.loop import Process, SimulatedLoop
from tests.simulation.network import Network
from tests.simulation.server_faults import ServerFaults
from tests.simulation.services import Fleet, Member
from tests.simulation.storage import Database
from tests.simulation.trace import Trace
from tests.simulation.trouble import Trouble

TICK_SECONDS = 0.1
MOST_OFFSET_SECONDS = 7_200.0


class Faults:
    """Run `run` for the troubled time, then `calm`."""

    def __init__(self, loop: SimulatedLoop, network: Network, database: Database, fleet: Fleet, trouble: Trouble, chance: Chance) -> None:
        self._loop = loop
        self._fleet = fleet
        self._trouble = trouble
        self._chance = chance
        self._trace: Trace = network.trace
        self.servers = ServerFaults(loop, network, database, trouble, chance)
        database.at_boundary = self._dies_here

    async def run(self, seconds: float) -> None:
        """Trouble until then."""
        until = self._loop.now + seconds
        while self._loop.now < until:
            await asyncio.sleep(TICK_SECONDS)
            self._tick()

    def calm(self) -> None:
        """Nothing goes wrong from now on; everybody is up or will be at once."""
        self._trace.add("CALM", None)
        self._trouble.off()
        self.servers.calm()
        self._fleet.calm = True
        for member in self._fleet.members:
            if member.process is not None:
                self._fleet._resume(member.process)

    def _tick(self) -> None:
        trouble, chance = self._trouble, self._chance
        if self._now(trouble.kills):
            self._fleet.kill(self._anyone())
        if self._now(trouble.pauses):
            longest = chance.pick([1.0, 4.0, 12.0, 25.0])
            self._fleet.pause(self._anyone(), chance.uniform(0.05, longest))
        if self._now(trouble.drains):
            self._fleet.drain(self._anyone())
        self.servers.tick(self._now)
        if self._now(trouble.clock_jumps):
            self._jump(self._anyone())

    def _jump(self, member: Member) -> None:
        if member.process is not None:
            member.process.wall_offset = self._chance.uniform(-MOST_OFFSET_SECONDS, MOST_OFFSET_SECONDS)
            self._trace.strike("CLOCK JUMPED", member.process, f"to {member.process.wall_offset:+.0f} s")

    def _now(self, per_second: float) -> bool:
        return self._chance.hits(per_second * TICK_SECONDS)

    def _anyone(self) -> Member:
        return self._chance.pick(self._fleet.members)

    def _dies_here(self, process: Process) -> bool:
        """A process dies at one of its own statements."""
        if not self._chance.hits(self._trouble.kill_at_boundary):
            return False
        for member in self._fleet.members:
            if member.process is process and process.alive:
                self._fleet.kill(member)
                return True
        return False
