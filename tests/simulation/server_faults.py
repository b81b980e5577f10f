"""What happens to the servers during the troubled time. Owns when; the means are the network's and the database's."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

from tests.simulation.chance import Chance
from tests.simulation.copies import Copy, copy_of, restore
from tests.simulation.loop import SimulatedLoop
from tests.simulation.network import Network
from tests.simulation.storage import Database
from tests.simulation.trace import Trace
from tests.simulation.trouble import Trouble

COPIES_KEPT = 4
TICKS_BETWEEN_COPIES = 7
TICKS_BETWEEN_DUMPS = 5


class ServerFaults:
    """`tick` once in a while, told by `now` how likely a happening of so many per second is in this tick; `calm` in the end."""

    def __init__(self, loop: SimulatedLoop, network: Network, database: Database, trouble: Trouble, chance: Chance) -> None:
        self._loop = loop
        self._network = network
        self._database = database
        self._trouble = trouble
        self._chance = chance
        self._trace: Trace = network.trace
        self._copies: deque[Copy] = deque(maxlen=COPIES_KEPT)
        self._ticks = 0
        self.restored_at: list[float] = []
        self.loses_commits = False
        """A fail-over loses what was committed last. Nothing is promised then."""
        self._dump: dict[str, Any] | None = None

    def calm(self) -> None:
        """Everything is up, and there is room."""
        self._database.tables.down = self._database.full = False
        if self._network.full:
            self._network.restart()

    def tick(self, now: Callable[[float], bool]) -> None:
        """What happens to the broker, then to the database."""
        self._broker(now)
        self._streams(now)
        trouble, database = self._trouble, self._database
        if now(trouble.outages) and not database.tables.down:
            self._outage("DATABASE DOWN", self._chance.uniform(0.2, 6.0))
        if self.loses_commits and self._ticks % TICKS_BETWEEN_DUMPS == 0:
            self._dump = database.dump()
        if now(trouble.failovers) and not database.tables.down:
            database.fail_over()
            if self._dump is not None:
                self._trace.strike("COMMITS LOST", None)
                database.lose(self._dump)
            self._outage("DATABASE FAILS OVER", self._chance.uniform(0.1, 3.0))
        if now(trouble.full_database) and not database.full:
            self._full_database(self._chance.uniform(0.5, 6.0))

    def _broker(self, now: Callable[[float], bool]) -> None:
        trouble, chance, network = self._trouble, self._chance, self._network
        if now(trouble.wipes):
            self._trace.strike("BROKER WIPED", None)
            network.wipe()
        if now(trouble.restarts):
            self._trace.strike("BROKER RESTARTED", None)
            self._restart()
        if now(trouble.stalls) and network.connections:
            connection = chance.pick(network.connections)
            seconds = chance.uniform(0.1, chance.pick([1.0, 8.0, 15.0]))
            self._trace.strike("CONNECTION STALLS", connection.process, f"for {seconds:.2f} s")
            connection.stall(seconds)
        if now(trouble.full_bus) and not network.full:
            seconds = chance.uniform(0.5, 8.0)
            self._trace.strike("BROKER'S DISK FULL", None, f"until a restart in {seconds:.2f} s")
            network.full = True
            self._loop.later(seconds, self._freed)

    def _restart(self) -> None:
        for connection in self._network.connections:
            connection.stall(self._chance.uniform(0.1, 2.0))
        self._network.restart()

    def _freed(self) -> None:
        if self._network.full:
            self._trace.add("BROKER RESTARTED", None, "there is room again")
            self._restart()

    def _streams(self, now: Callable[[float], bool]) -> None:
        trouble, chance, broker = self._trouble, self._chance, self._network.broker
        self._ticks += 1
        if trouble.old_copies and self._ticks % TICKS_BETWEEN_COPIES == 0:
            self._copies.append(copy_of(broker))
        names = list(broker.streams)
        if now(trouble.deleted_streams) and names:
            name = chance.pick(names)
            self._trace.strike("STREAM DELETED", None, name)
            broker.streams.pop(name).end()
        consumers = [(stream, name) for stream in broker.streams.values() for name in stream.consumers]
        if now(trouble.deleted_consumers) and consumers:
            stream, consumer = chance.pick(consumers)
            self._trace.strike("CONSUMER DELETED", None, stream.spec.name, consumer)
            stream.drop_consumer(consumer)
        if now(trouble.old_copies) and self._copies and broker.streams:
            copy = chance.pick(self._copies)
            everything = sorted({*broker.streams, *copy})
            which = everything if chance.hits(0.6) else [chance.pick(everything)]
            self._trace.strike("OLD COPY RESTORED", None, *which)
            restore(broker, copy, which)
            self.restored_at.append(self._loop.now)
            self._restart()

    def _outage(self, what: str, seconds: float) -> None:
        self._trace.strike(what, None, f"for {seconds:.2f} s")
        self._database.tables.down = True

        def up() -> None:
            self._trace.add("DATABASE UP", None)
            self._database.tables.down = False

        self._loop.later(seconds, up)

    def _full_database(self, seconds: float) -> None:
        self._trace.strike("DATABASE'S DISK FULL", None, f"for {seconds:.2f} s")
        self._database.full = True

        def freed() -> None:
            self._trace.add("DATABASE HAS ROOM", None)
            self._database.full = False

        self._loop.later(seconds, freed)
