"""The coordinator's shell, put together: who feeds whom. Owns the order of start and stop, and no behaviour."""

from __future__ import annotations

import asyncio
import contextlib
import time
import uuid
from collections.abc import Callable

import structlog

from waypost_coordinator.api import SERVICE_DESCRIPTION, SERVICE_NAME, Api, endpoints
from waypost_coordinator.batch import Batch
from waypost_coordinator.callers import gatekeeper
from waypost_coordinator.clock import DatabaseClock
from waypost_coordinator.dead import Undertaker
from waypost_coordinator.deciding import Decider
from waypost_coordinator.front import EVERYTHING, FrontDesk
from waypost_coordinator.ground import Ground
from waypost_coordinator.intake import Intake
from waypost_coordinator.keeping import Keeping
from waypost_coordinator.leases import Leases
from waypost_coordinator.letters import Letter, LetterBox, Rederive
from waypost_coordinator.lingering import Lingering
from waypost_coordinator.live import LiveRun, Runs
from waypost_coordinator.mailroom import Mailroom
from waypost_coordinator.measuring import Measuring
from waypost_coordinator.metrics import CoordinatorMetrics
from waypost_coordinator.outlets import outlets
from waypost_coordinator.overview import SystemOverview
from waypost_coordinator.pipeline import Pipeline, Stages
from waypost_coordinator.pools import Pools
from waypost_coordinator.posting import Poster
from waypost_coordinator.registry import Registry
from waypost_coordinator.settling import Settler
from waypost_coordinator.sharing import Replicas
from waypost_coordinator.step_lines import StepLines
from waypost_coordinator.stranded import Stranded
from waypost_coordinator.sweep import Sweep
from waypost_coordinator.takeover import TakeOver
from waypost_coordinator.timers import Timers
from waypost_coordinator.upkeep import keep_up
from waypost_coordinator.waking import Waker
from waypost_coordinator.webhook import Courier
from waypost_core.messages import TimersDue
from waypost_io.bus.ports import Bus, Message, Service
from waypost_io.bus.topology import stream_specs
from waypost_io.metrics import Metrics
from waypost_io.pools import read_pools
from waypost_io.settings import CoordinatorSettings
from waypost_io.store.ports import CommitResult, Lease, Store
from waypost_proto.codec import decode
from waypost_proto.errors import BadMessage
from waypost_proto.ids import RunId
from waypost_proto.limits import PROTOCOL_VERSION
from waypost_proto.subjects import Subjects

log = structlog.get_logger(__name__)


class Coordinator:
    """One replica over an open bus and store. `run()` until cancelled; `drain()` before that ends it in order.

    `monotonic` is the clock that leases and heartbeats are measured by, in seconds.
    """

    def __init__(
        self, store: Store, bus: Bus, settings: CoordinatorSettings, metrics: Metrics, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._settings = settings
        counted = CoordinatorMetrics(metrics)
        self._ground = ground = Ground(
            store=store,
            bus=bus,
            subjects=Subjects(settings.prefix),
            box=LetterBox(),
            runs=Runs(store, settings.cache_runs),
            clock=DatabaseClock(monotonic),
            metrics=counted,
            partitions=settings.partitions,
            name=uuid.uuid4().hex[:6],
            epochs={},
            published={},
            look=self._look,
        )
        counted.follow(partitions=settings.partitions, waiting=ground.box.__len__, cached=ground.runs.__len__)
        self._known_pools = {} if settings.pools_file is None else read_pools(settings.pools_file)
        self._gate = gatekeeper(settings, ground.clock.now)
        self._registry = registry = Registry(
            store,
            bus,
            ground.subjects,
            monotonic,
            lost_after_seconds=settings.heartbeat_seconds,
            share=lambda: len(ground.epochs) / ground.partitions,
        )
        self.leases = Leases(ground, lease_seconds=settings.lease_seconds, gained=self._gained, lost=self._lost)
        silent_seconds = settings.lease_seconds * 0.8  # below the lease, so that its partitions are for us when they are free
        self._replicas = Replicas(ground, self.leases.name, silent_seconds=silent_seconds, changed=self.leases.again)
        self.leases.replicas = self._replicas
        self._undertaker = undertaker = Undertaker(ground)
        self._timers = timers = Timers(store, ground.clock, self._fire)
        poster = Poster(ground, registry)
        waker = Waker(poster, registry, self._later)
        settler = Settler(ground, timers)
        self._settler = settler
        self._overview = SystemOverview(ground, registry, metrics, look_seconds=settings.look_seconds)
        intents = settings.capture in ("answers", "all") and not settings.capture_redact  # whose function is the worker's to run
        self._measuring = Measuring(metrics, StepLines(on=settings.log_steps == "yes", intents=intents))
        stages = Stages(before=settler.before, after=self._after, bury=undertaker.failed)
        decider = Decider(ground, poster, waker, registry)
        self._pipeline = Pipeline(ground, decider, waker, self.leases, stages, settings.batch_max)
        self._takeover = TakeOver(ground, settler)
        specs = stream_specs(ground.subjects, partitions=settings.partitions, replicas=settings.replicas)
        self._sweep = sweep = Sweep(ground, self._takeover, specs, settings.sweep_seconds)
        self._stranded = Stranded(ground, lives=registry.build_lives, move=sweep.move_untaken, seconds=settings.heartbeat_seconds)
        self._outlets = outlets(settings)
        self._front = FrontDesk(ground)
        self._mailroom = Mailroom(ground, undertaker.unreadable, self._gate)
        self._intake = Intake(ground, self._front, undertaker, self._gate)
        self._group: asyncio.TaskGroup | None = None
        self._intake_task: asyncio.Task[None] | None = None
        self._service: Service | None = None
        self.ready = asyncio.Event()
        """Set once the API answers and the first round of leases is through."""

    async def prepare(self) -> None:
        """Make partitions and streams where they are not there. Idempotent. Raises `Unreachable` or `Misconfigured`."""
        await self._ground.store.leases.ensure_partitions(self._settings.partitions)
        await self._sweep.start()

    async def run(self) -> None:
        """Until cancelled. Raises `Unreachable` or `Misconfigured` when it cannot start."""
        await self.prepare()
        self._ground.bus.on_reconnect(self._sweep.reconnected)
        self._registry.listen(
            on_new_definition=self._sweep.hosts_found, on_lost=self._sweep.workers_lost, on_build_ended=self._sweep.builds_ended
        )
        async with self._registry, self._front, self._replicas, asyncio.TaskGroup() as group:
            self._group = group
            group.create_task(self._settler.run(), name="settle")
            group.create_task(self._pipeline.run(), name="pipeline")
            group.create_task(self._sweep.run(), name="sweep")
            group.create_task(keep_up(self._ground.store), name="upkeep")
            lingering = Lingering(self._ground.bus, self._ground.subjects, self._registry.worker_alive)
            group.create_task(lingering.run(), name="lingering")
            group.create_task(self._stranded.run(), name="stranded")
            keeping = Keeping(self._ground.bus, self._ground.subjects, self.leases.name.rpartition(".")[2], lambda: self._settler.settled)
            group.create_task(keeping.run(), name="keeping")
            for outlet in self._outlets:
                group.create_task(Courier(self._ground, outlet).run(), name=f"notices-{outlet.name}")
            await self.leases.take()
            group.create_task(self.leases.run(), name="leases")
            group.create_task(self._registry.run(), name="registry")
            group.create_task(self._timers.run(lambda: self.leases.epochs), name="timers")
            group.create_task(self._overview.run(), name="overview")
            self._intake_task = group.create_task(self._intake.run(), name="intake")
            broadcast = await self._ground.bus.subscribe(self._ground.subjects.broadcast(), self._broadcast)
            api = Api(
                store=self._ground.store,
                commands=self._front,
                directory=self._registry,
                bus=self._ground.bus,
                subjects=self._ground.subjects,
                clock=self._ground.clock.now,
                gate=self._gate,
            )
            self._service = service = await self._ground.bus.serve(SERVICE_NAME, PROTOCOL_VERSION, SERVICE_DESCRIPTION, endpoints(api))
            self.ready.set()
            log.info("coordinator_ready", partitions=len(self.leases.epochs))
            try:
                async with Pools(self._ground, self._registry, api, self._known_pools):
                    await asyncio.Event().wait()
            finally:
                await service.close()
                await broadcast.close()

    async def drain(self, seconds: float) -> None:
        """Take nothing new in, finish what is in hand (at most so long), and give the partitions back. Nothing is lost without it:
        what was not acked comes again to the next owner."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                if self._service is not None:
                    await self._service.close()  # other replicas answer from now on, we what we were asked before
                if self._intake_task is not None:
                    self._intake_task.cancel()
                    await asyncio.wait([self._intake_task])
                await self._mailroom.close_all()
                await self._pipeline.idle()
                await self._settler.idle()
        await self.leases.release()

    async def _gained(self, lease: Lease) -> None:
        assert self._group is not None
        self._pipeline.gained(lease.partition, lease.position)
        await self._sweep.expect(lease.partition)  # before anything is published for it
        first = await self._takeover.take_over(lease)
        self._registry.expect(await self._ground.store.log.sticky_workers([lease.partition]))  # before it is decided who gets a run
        self.leases.admit(lease)
        for letter in first:
            self._ground.box.put(letter)
        await self._timers.load([lease.partition])
        await self._sweep.gained(lease.partition)
        self._stranded.gained(lease.partition)
        await self._mailroom.open(lease.partition, lease.epoch, self._group)

    async def _lost(self, partitions: frozenset[int]) -> None:
        for partition in partitions:
            await self._mailroom.close(partition)
        self._timers.drop(partitions)
        await self._pipeline.forget(partitions)

    async def _after(self, batch: Batch, result: CommitResult) -> None:
        await self._settler.after(batch, result)  # first what others wait for
        self._overview.committed(batch)
        self._measuring.committed(batch)

    def _look(self) -> None:
        self._sweep.look()

    def _fire(self, run_id: RunId, partition: int, timer_ids: tuple[str, ...]) -> None:
        self._ground.box.put(Letter(mail=TimersDue(timer_ids), run_id=run_id, partition=partition))

    def _later(self, seconds: float, live: LiveRun, done: Callable[[], None] | None) -> None:
        letter = Letter(mail=Rederive(activation_only=True), run_id=live.state.run_id, partition=live.partition, done=done)
        asyncio.get_running_loop().call_later(seconds, self._ground.box.put, letter)

    async def _broadcast(self, message: Message) -> None:
        """A replica (perhaps this one) was asked to derive work again that is ours."""
        try:
            run_id = decode(str, message.body)
        except BadMessage as error:
            log.warning("broadcast_unreadable", error=str(error))
            return
        if run_id == EVERYTHING:
            await self._sweep.everything()
            return
        partition = self._ground.partition(RunId(run_id))
        if self._ground.owns(partition):
            self._ground.box.put(Letter(mail=Rederive(), run_id=RunId(run_id), partition=partition))
