"""Coordinators over a bus and a store in memory, with scripted workers and gateways, and with a say in what commits and publishes do.

`Site` is what replicas share: the broker, the database, the clock. `Replica` is one coordinator on it, whole. `Parts` are the pieces of
one, for tests of a single part.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

from msgspec import Raw

from tests.unit.waypost_coordinator.gates import GatedBus, GatedLog
from tests.waiting import wait_until
from waypost_coordinator.balance import Balance
from waypost_coordinator.clock import DatabaseClock
from waypost_coordinator.ground import Ground
from waypost_coordinator.letters import Letter, LetterBox
from waypost_coordinator.live import Runs
from waypost_coordinator.metrics import CoordinatorMetrics
from waypost_coordinator.service import Coordinator
from waypost_io.bus.memory import MemoryBroker
from waypost_io.metrics import Metrics
from waypost_io.settings import CoordinatorSettings, load
from waypost_io.store.memory import MemoryDatabase, MemoryStore
from waypost_io.store.ports import EventRow
from waypost_proto import commands as cmd
from waypost_proto.codec import decode, encode
from waypost_proto.ids import CallId, RunId, partition_of, uuid7
from waypost_proto.mailbox import Advance, Mail, Reply, StartRun, ToolSucceeded
from waypost_proto.registry import AgentDefinition, Announce, Announced, Heartbeat, ToolDefinition
from waypost_proto.subjects import Subjects
from waypost_proto.tools import ToolCall
from waypost_proto.values import Effect, Retry
from waypost_proto.work import Activation, ActivationFrame, Confirm

SUBJECTS = Subjects("t")
PARTITIONS = 2
AGENT = AgentDefinition(name="clerk", build="b1", tools=["look", "pay"], agents=["clerk"])
LOOK = ToolDefinition(name="look", effect=Effect.READ, retry=Retry(initial_seconds=0.01, max_attempts=2, jitter=0.0))
PAY = ToolDefinition(name="pay", effect=Effect.UNSAFE)


def new_run(partition: int | None = None, partitions: int = PARTITIONS) -> RunId:
    """A run id, of a partition if one is given."""
    while True:
        run_id = uuid7(int(time.time() * 1000), os.urandom(10))
        if partition is None or partition_of(run_id, partitions) == partition:
            return run_id


def start(run_id: RunId, **more: Any) -> StartRun:
    return StartRun(run_id=run_id, **{"agent": "clerk", "input": Raw(b"1"), **more})


class Site:
    """What the replicas of one deployment share, and the peers around them."""

    def __init__(self, bus: GatedBus, **settings: str) -> None:
        self.bus = bus
        self.broker = bus.broker
        self.ahead = 0.0
        self.database = MemoryDatabase(lambda: time.time() + self.ahead)
        self.settings = load(
            CoordinatorSettings,
            {
                "WAYPOST_NATS_URL": "nats://127.0.0.1:1",
                "WAYPOST_POSTGRES_URL": "postgresql://127.0.0.1/none",
                "WAYPOST_PREFIX": "t",
                "WAYPOST_PARTITIONS": str(PARTITIONS),
                "WAYPOST_COORDINATOR_HEARTBEAT_SECONDS": "600",
                "WAYPOST_COORDINATOR_LEASE_SECONDS": "3",
                "WAYPOST_COORDINATOR_SWEEP_SECONDS": "0.1",
                **settings,
            },
        )
        self.confirms: list[Confirm] = []

    def store(self) -> tuple[MemoryStore, GatedLog]:
        store = MemoryStore(self.database.clock, database=self.database)
        log = GatedLog(store.log)
        store.log = log  # type: ignore[assignment]
        return store, log

    @asynccontextmanager
    async def replica(self, *, committing: bool = True, held: str = "") -> AsyncIterator[Replica]:
        """A coordinator, ready; cancelled at the end without a drain, as by kill -9, and gone for as long as its leases last.
        Not `committing`: its commits wait at the gate. Publishes on subjects with `held` wait at the bus's."""
        async with GatedBus(self.broker) as bus:
            bus.held = held
            store, log = self.store()
            if not committing:
                log.gate.clear()
            coordinator = Coordinator(store, bus, self.settings, Metrics())
            replica = Replica(self, coordinator, bus, store, log)
            running = asyncio.ensure_future(coordinator.run())
            try:
                ready = asyncio.ensure_future(coordinator.ready.wait())
                await asyncio.wait({running, ready}, return_when=asyncio.FIRST_COMPLETED)
                if running.done():
                    await running
                yield replica
                assert not running.done(), running.exception()
            finally:
                running.cancel()
                with suppress(asyncio.CancelledError):
                    await running
                self._lapse(coordinator.leases.owner)

    def _lapse(self, owner: str) -> None:
        for record in self.database.partitions.values():
            if record.owner == owner:
                record.expires_at = 0.0

    # -- peers

    async def hosts(self, *, worker: str = "w1", agents: Sequence[AgentDefinition] = (AGENT,), build: str = "b1") -> None:
        """A worker and a gateway announce what they host; a worker's confirmations are kept."""
        await self.announce(Announce(peer=worker, kind="worker", build=build, agents=list(agents)))
        await self.announce(Announce(peer="g1", kind="gateway", build="b1", tools=[LOOK, PAY]))

    async def announce(self, announce: Announce) -> None:
        answer = await self.bus.request(SUBJECTS.announce(), encode(announce))
        assert decode(Announced, answer.body).ok
        if announce.kind == "worker":
            await self.bus.subscribe(SUBJECTS.confirm(announce.peer), self._confirmed)

    async def beat(self, worker: str = "w1") -> None:
        """A heartbeat, which every replica hears."""
        self.bus.send(SUBJECTS.heartbeat(), encode(Heartbeat(peer=worker, kind="worker", build="b1", names=["clerk"])))
        await self.bus.flush()

    async def stopped(self, worker: str) -> None:
        self.bus.send(SUBJECTS.heartbeat(), encode(Heartbeat(peer=worker, kind="worker", build="b1", state="stopped")))
        await self.bus.flush()

    async def _confirmed(self, message: Any) -> None:
        self.confirms.append(decode(Confirm, message.body))

    def rejected(self) -> list[str]:
        return [rejected.reason for confirm in self.confirms for rejected in confirm.rejected]

    # -- what is on the road, and what is sent

    def on(self, stream: str) -> list[Any]:
        """The messages that a stream holds, in order."""
        found = self.broker.streams.get(SUBJECTS.stream(stream))
        return [] if found is None else [message for _, message in sorted(found.messages.items()) if ".keep." not in message.subject]

    def activations(self, run_id: RunId) -> list[Activation]:
        found = [decode(Activation, body) for message in self.on("WORK") for body in _activations_in(message.body)]
        return [activation for activation in found if activation.run_id == run_id]

    def calls(self, run_id: RunId) -> list[ToolCall]:
        found = [decode(ToolCall, message.body) for message in self.on("TOOLS")]
        return [call for call in found if call.run_id == run_id]

    async def activation(self, run_id: RunId, number: int = 1) -> Activation:
        """The run's n-th activation, once it is there."""
        await wait_until(lambda: len(self.activations(run_id)) >= number, message=lambda: f"{self.types(run_id)} {self.on('DEAD')}")
        return self.activations(run_id)[number - 1]

    async def call(self, run_id: RunId, number: int = 1) -> ToolCall:
        await wait_until(lambda: len(self.calls(run_id)) >= number, message=lambda: str(self.types(run_id)))
        return self.calls(run_id)[number - 1]

    async def mail(self, mail: Mail, *, kind: str = "result", name: str = "x", msg_id: str = "") -> None:
        await self.bus.publish(SUBJECTS.mail(kind, name, mail.run_id), encode(mail), msg_id=msg_id or os.urandom(8).hex())

    async def advance(self, given: Activation, *items: cmd.AnyItem, worker: str = "w1", base: str | None = None) -> Advance:
        message = Advance(
            run_id=given.run_id,
            agent="clerk",
            worker=worker,
            build=given.build,
            token=given.token,
            base=given.base if base is None else base,
            seen=given.upto,
            items=Raw(encode(list(items))),
        )
        await self.mail(message, kind="advance", name="clerk")
        return message

    async def succeed(self, call: ToolCall, result: bytes = b"2") -> None:
        await self.mail(ToolSucceeded(run_id=call.run_id, call_id=call.call_id, attempt=call.attempt, result=Raw(result)))

    # -- what is recorded

    def events(self, run_id: RunId) -> list[EventRow]:
        found = self.database.events.get(run_id, {})
        return [found[seq] for seq in sorted(found)]

    def types(self, run_id: RunId) -> list[str]:
        return [event.type for event in self.events(run_id)]

    async def until(self, run_id: RunId, kind: str, count: int = 1) -> None:
        """Wait until the log has so many events of a type."""
        await wait_until(lambda: self.types(run_id).count(kind) >= count, message=lambda: f"no {kind} in {self.types(run_id)}")

    def published_events(self, run_id: RunId) -> list[int]:
        """The seqs on `waypost.events.>`, in order of the stream."""
        prefix = f"t.events.clerk.{run_id}."
        return [int(m.headers["ce-id"].rsplit(".", 1)[1]) for m in self.on("EVENTS") if m.subject.startswith(prefix)]


class Replica:
    """One coordinator of a site."""

    def __init__(self, site: Site, coordinator: Coordinator, bus: GatedBus, store: MemoryStore, log: GatedLog) -> None:
        self.site = site
        self.coordinator = coordinator
        self.bus = bus
        self.store = store
        self.log = log

    @property
    def ground(self) -> Ground:
        return self.coordinator._ground

    async def submit(self, mail: Any) -> Reply:
        return await self.coordinator._front.submit(mail)

    async def start(self, partition: int | None = None, **more: Any) -> RunId:
        run_id = new_run(partition)
        reply = await self.submit(start(run_id, **more))
        assert reply.ok, reply
        return run_id


@asynccontextmanager
async def site(**settings: str) -> AsyncIterator[Site]:
    async with GatedBus(MemoryBroker()) as bus:
        yield Site(bus, **settings)


def _activations_in(body: bytes) -> list[bytes]:
    """Those of a frame, or the one that the message is."""
    if body.startswith(b'{"activations":'):
        return [bytes(each) for each in decode(ActivationFrame, body).activations]
    return [body]


def call(tool: str, given: Activation, call_id: str = "0:1", **more: Any) -> cmd.CallTool:
    return cmd.CallTool(seen=given.upto, id=CallId(call_id), tool=tool, args=more.pop("args", Raw(b'{"x":1}')), **more)


def complete(given: Activation, result: bytes = b"3") -> cmd.CompleteRun:
    return cmd.CompleteRun(seen=given.upto, result=Raw(result))


class Hosts:
    """What poster and waker ask the registry, as a test says it."""

    def __init__(self) -> None:
        self.workers: dict[tuple[str, str], list[str]] = {("clerk", "b1"): ["w1"]}
        self.alive = {"w1"}
        self.draining: set[str] = set()
        self.balance = Balance()
        self.expected: set[str] = set()
        self.current = "b1"

    def live_workers(self, agent: str, build: str = "") -> list[str]:
        return [worker for worker in self.workers.get((agent, build), []) if worker not in self.draining]

    def worker_alive(self, worker: str) -> bool:
        return worker in self.alive

    def worker_expected(self, worker: str) -> bool:
        return worker in self.expected

    def takes_frames(self, _worker: str) -> bool:
        return True

    def takes_work(self, worker: str) -> bool:
        return worker in self.alive - self.draining

    def agent(self, name: str) -> Any:
        from waypost_coordinator.registry_book import AgentEntry

        definition = AgentDefinition(name=name, build=self.current)
        return AgentEntry(current=definition, builds={self.current: definition})

    @property
    def tools(self) -> dict[str, ToolDefinition]:
        return {"look": LOOK, "pay": PAY}

    @property
    def agents(self) -> dict[str, AgentDefinition]:
        return {"clerk": AGENT, "clerk@b1": AGENT}


class Parts:
    """The ground of one coordinator, all partitions its own, over a store and a bus in memory; time stands still until moved."""

    def __init__(self, bus: GatedBus, *, cache_runs: int = 100) -> None:
        self.bus = bus
        self.wall = 1_000.0
        self.ticks = 50.0
        self.store = MemoryStore(lambda: self.wall)
        self.log = GatedLog(self.store.log)
        self.store.log = self.log  # type: ignore[assignment]
        self.hosts = Hosts()
        clock = DatabaseClock(lambda: self.ticks)
        clock.set(self.wall, self.ticks)
        self.looks = 0
        self.ground = Ground(
            store=self.store,
            bus=bus,
            subjects=SUBJECTS,
            box=LetterBox(),
            runs=Runs(self.store, cache_runs),
            clock=clock,
            metrics=CoordinatorMetrics(Metrics()),
            partitions=PARTITIONS,
            name="a1b2c3",
            epochs=dict.fromkeys(range(PARTITIONS), 1),
            published=dict.fromkeys(range(PARTITIONS), 0),
            look=self._look,
        )

    def _look(self) -> None:
        self.looks += 1

    def letter(self, mail: Any, run_id: RunId | None = None, **more: Any) -> Letter:
        run_id = run_id or mail.run_id
        return Letter(mail=mail, run_id=run_id, partition=self.ground.partition(run_id), **more)

    def pass_seconds(self, seconds: float) -> None:
        self.wall += seconds
        self.ticks += seconds
