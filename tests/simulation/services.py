"""The deployment: replicas of the real services, put together as their `__main__`s do, started again when they end."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tests.simulation.chance import Chance
from tests.simulation.loop import PROCESS, Process, SimulatedLoop
from tests.simulation.network import Network, SimulatedBus
from tests.simulation.odd_programs import ODD_AGENTS, ODD_TOOLS, VERSIONS
from tests.simulation.programs import AGENTS, TOOLS
from tests.simulation.storage import Database, SimulatedStore
from tests.simulation.trace import Trace
from waypost_audit.anchors.keeping import AnchorKeeper
from waypost_audit.anchors.settings import NamedAnchor
from waypost_audit.bell import Bell
from waypost_audit.logger import AuditConfig, AuditLogger
from waypost_audit.metrics import AnchorMetrics
from waypost_audit.metrics import Metrics as AuditMetrics
from waypost_audit.signing import Signer
from waypost_coordinator.service import Coordinator
from waypost_core.audit.notes import SigningKey
from waypost_gateway.gateway import Gateway, GatewayConfig
from waypost_gateway.hosting import definitions_of
from waypost_io.lifecycle import Stop
from waypost_io.metrics import Metrics
from waypost_io.peer import Peer
from waypost_io.settings import CoordinatorSettings, load
from waypost_proto.errors import WaypostError
from waypost_proto.registry import Announce
from waypost_proto.subjects import Subjects
from waypost_worker.catalog import Catalog
from waypost_worker.service import Worker
from waypost_worker.tuning import Tuning

SUBJECTS = Subjects("s")
SIGNING_KEY = SigningKey("waypost-audit", bytes(32))
PARTITIONS = 3
BUILD = "b1"
SECOND_BUILD = "b2"
ALL_TOOLS = (*TOOLS, *ODD_TOOLS)
DEFINITIONS = definitions_of(ALL_TOOLS, BUILD)


def _catalog(build: str) -> Catalog:
    agents = (*AGENTS, *ODD_AGENTS, VERSIONS[build])
    return Catalog({each.name: each for each in agents}, build, [each.definition(build) for each in agents])


CATALOGS = {build: _catalog(build) for build in VERSIONS}
DRAIN_SECONDS = 3.0

Serve = Callable[[SimulatedBus, SimulatedStore, Process, Stop], Awaitable[None]]


@dataclass(eq=False)
class Member:
    """One replica, over all its lives."""

    role: str
    index: int
    build: str = BUILD
    process: Process | None = None
    stop: Stop | None = None
    lives: int = 0

    @property
    def up(self) -> bool:
        return self.process is not None and self.process.alive


class Fleet:
    """`failures` are services that ended by an error which is not one of ours to meet: a bug."""

    def __init__(self, loop: SimulatedLoop, network: Network, database: Database, chance: Chance, trace: Trace) -> None:
        self._loop = loop
        self._network = network
        self._database = database
        self._chance = chance
        self._trace = trace
        self._settings = _coordinator_settings(lease_seconds=chance.pick([1.0, 2.0, 5.0]))
        self._tuning = Tuning(ack_wait_seconds=chance.pick([3.0, 10.0]), cache_runs=chance.pick([1, 5_000]), drain_seconds=DRAIN_SECONDS)
        self.failures: list[str] = []
        self.deaths: list[tuple[float, str]] = []
        self.calm = False
        self.anchors: list[NamedAnchor] = []
        sizes = {"coordinator": chance.pick([2, 2, 3]), "worker": chance.pick([1, 2, 2]), "gateway": chance.pick([1, 2]), "audit": 2}
        self.members = [Member(role, index) for role, size in sizes.items() for index in range(size)]

    def start_all(self) -> None:
        for member in self.members:
            self._loop.later(self._chance.uniform(0.0, 0.3), self._begin, member)

    def deploy(self, within_seconds: float) -> None:
        """A worker of a second build joins some time from now; those of the first stay."""
        member = Member("worker", sum(each.role == "worker" for each in self.members), SECOND_BUILD)
        self.members.append(member)
        self._loop.later(self._chance.uniform(0.0, within_seconds), self._begin, member)

    def kill_current(self) -> None:
        """The process that is running ends itself, as by a crash in native code."""
        process = PROCESS.get(self._loop.world)
        for member in self.members:
            if member.process is process:
                self.kill(member)

    def kill(self, member: Member) -> None:
        """SIGKILL; it is started again after a while."""
        if not member.up:
            return
        assert member.process is not None
        self._trace.strike("KILLED", member.process)
        self._loop.kill(member.process)
        member.process = None
        self._again(member)

    def pause(self, member: Member, seconds: float) -> None:
        """SIGSTOP, and SIGCONT after so long."""
        process = member.process
        if process is None or process.state != "running":
            return
        self._trace.strike("PAUSED", process, f"for {seconds:.2f} s")
        process.state = "paused"
        process.hindered = True
        self._loop.later(seconds, self._resume, process)

    def drain(self, member: Member) -> None:
        """SIGTERM."""
        if member.up and member.stop is not None and not member.stop.requested:
            self._trace.strike("ASKED TO STOP", member.process)
            member.stop.request("SIGTERM")

    def _resume(self, process: Process) -> None:
        if process.state == "paused":
            process.state = "running"
            self._trace.add("RESUMED", process)

    def _again(self, member: Member) -> None:
        self.deaths.append((self._loop.now, member.role))
        delay = 0.1 if self.calm else self._chance.pick([0.05, 0.5, 2.0, 8.0]) * (0.5 + self._chance.random())
        self._loop.later(delay, self._begin, member)

    def _begin(self, member: Member) -> None:
        if member.up:
            return
        member.lives += 1
        process = member.process = self._loop.process(f"{member.role}{member.index}#{member.lives}")
        process.context.run(self._start, member, process)

    def _start(self, member: Member, process: Process) -> None:
        member.stop = Stop()
        self._trace.add("STARTED", process)
        serve: Serve = {"coordinator": self._coordinator, "worker": self._worker, "gateway": self._gateway, "audit": self._audit}[
            member.role
        ]
        task = self._loop.create_task(self._live(member, process, serve), name=process.name)
        task.add_done_callback(lambda ended: self._ended(member, process, ended), context=self._loop.world.context)

    async def _live(self, member: Member, process: Process, serve: Serve) -> None:
        bus, store = SimulatedBus(self._network, process), SimulatedStore(self._database, process)
        assert member.stop is not None
        async with store, bus:
            await serve(bus, store, process, member.stop)

    def _ended(self, member: Member, process: Process, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        asked = member.stop is not None and member.stop.requested
        self._trace.add("ENDED", process, repr(error) if error is not None else "")
        if not asked and not task.cancelled() and not _expected(error):
            self.failures.append(f"{process.name} ended: {_tell(error)}")
        if process.alive:
            self._loop.kill(process)  # whatever is left of it goes with it
        if member.process is process:
            member.process = None
            self._again(member)

    # -- as in each service's `__main__`

    async def _coordinator(self, bus: SimulatedBus, store: SimulatedStore, process: Process, stop: Stop) -> None:
        coordinator = Coordinator(store, bus, self._settings, Metrics(), monotonic=self._loop.time)  # type: ignore[arg-type]
        running = asyncio.ensure_future(coordinator.run())
        stopping = asyncio.ensure_future(stop.wait())
        await asyncio.wait([running, stopping], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if running.done():
            await running
        await coordinator.drain(DRAIN_SECONDS)
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running

    async def _worker(self, bus: SimulatedBus, store: SimulatedStore, process: Process, stop: Stop) -> None:
        await Worker(bus, SUBJECTS, CATALOGS[self._build_of(process)], tuning=self._tuning).run(stop)

    def _build_of(self, process: Process) -> str:
        return next(member.build for member in self.members if member.process is process)

    async def _gateway(self, bus: SimulatedBus, store: SimulatedStore, process: Process, stop: Stop) -> None:
        name = f"gateway-{process.name.replace('#', '-')}"
        config = GatewayConfig(
            peer=name, ack_wait_seconds=4.0, lease_seconds=4.0, settle_seconds=1.0, drain_seconds=DRAIN_SECONDS, blocked_seconds=0
        )
        gateway = Gateway(bus, store, SUBJECTS, ALL_TOOLS, config)  # type: ignore[arg-type]
        announce = Announce(peer=name, kind="gateway", build=BUILD, tools=DEFINITIONS)
        async with Peer(bus, SUBJECTS, announce):
            await gateway.serve(stop)

    async def _audit(self, bus: SimulatedBus, store: SimulatedStore, process: Process, stop: Stop) -> None:
        config = AuditConfig(owner=process.name, poll_seconds=1.0, head_seconds=2.0, lease_seconds=3.0)
        signer = Signer(store.audit, lambda: [SIGNING_KEY], store.leases.now, metrics=AuditMetrics())
        logger = AuditLogger(store, Bell(bus, SUBJECTS.all_events()), config, signer=signer)  # type: ignore[arg-type]
        keeper = AnchorKeeper(store.audit, self.anchors, lambda: logger.active, AnchorMetrics(Metrics()))
        async with keeper:
            if await logger.run(stop):
                await keeper.finish()


def _coordinator_settings(*, lease_seconds: float) -> CoordinatorSettings:
    return load(
        CoordinatorSettings,
        {
            "WAYPOST_POSTGRES_URL": "postgresql://simulated/none",
            "WAYPOST_PREFIX": SUBJECTS.prefix,
            "WAYPOST_PARTITIONS": str(PARTITIONS),
            "WAYPOST_COORDINATOR_LEASE_SECONDS": str(lease_seconds),
            "WAYPOST_COORDINATOR_HEARTBEAT_SECONDS": "6",
            "WAYPOST_COORDINATOR_SWEEP_SECONDS": "2",
        },
    )


def _expected(error: BaseException | None) -> bool:
    """A service may end when a server is away at its start; its supervisor starts it again."""
    if isinstance(error, BaseExceptionGroup):
        return all(_expected(inner) for inner in error.exceptions)
    return isinstance(error, WaypostError)


def _tell(error: BaseException | None) -> str:
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(_tell(inner) for inner in error.exceptions)
    return f"{type(error).__name__}: {error}"
