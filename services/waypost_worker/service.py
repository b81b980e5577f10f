"""The worker: puts its parts together on a bus, runs until it is asked to stop, then drains.

Draining: nothing new is taken, active runs go on to where they wait (bounded), what they did is published, and the rest is handed over,
so that another worker takes it up from the journal at once.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
import time
from collections.abc import Coroutine
from dataclasses import replace

import structlog

from waypost_io.bus.company import Company
from waypost_io.bus.ports import Bus, ConsumerSpec, Message
from waypost_io.bus.topology import sticky_consumer, work_consumer
from waypost_io.identity import Signs
from waypost_io.lifecycle import Stop
from waypost_io.mail_frames import MailFrames
from waypost_io.metrics import Metrics
from waypost_io.payloads import Payloads
from waypost_io.peer import Peer
from waypost_proto import work
from waypost_proto.codec import decode
from waypost_proto.errors import Denied, Misconfigured, TransientError
from waypost_proto.ids import WorkerId
from waypost_proto.registry import Announce
from waypost_proto.subjects import Subjects
from waypost_worker import upkeep
from waypost_worker.catalog import Catalog
from waypost_worker.clock import DatabaseTime
from waypost_worker.effects import EffectRunner
from waypost_worker.hosting import Hosting, WorkerMetrics
from waypost_worker.journal import JournalReader
from waypost_worker.runs import Runs
from waypost_worker.token_stream import TokenStreams
from waypost_worker.tuning import Tuning
from waypost_worker.work_loop import WorkLoop

_STICKY_AT_ONCE = 64
_HOST_CHARS = 40
_log = structlog.get_logger(__name__)


def new_worker_id() -> WorkerId:
    """Unique for every process start, and telling people where it runs."""
    host = re.sub(r"[^a-z0-9-]+", "-", socket.gethostname().lower())[:_HOST_CHARS].strip("-") or "worker"
    return WorkerId(f"{host}-{os.urandom(5).hex()}")


class Worker:
    """Hosts the agents of a catalog on an open bus. `run` once."""

    def __init__(
        self,
        bus: Bus,
        subjects: Subjects,
        catalog: Catalog,
        *,
        tuning: Tuning | None = None,
        metrics: Metrics | None = None,
        name: str = "",
    ) -> None:
        """`name`: its own; one that was never used before is made up without it."""
        self.id = WorkerId(name) if name else new_worker_id()
        self._time = DatabaseTime(time.monotonic, time.time)  # looked up here, not when the module was imported, for simulations
        self.catalog = catalog
        self.runs: Runs | None = None
        self._bus = bus
        self._subjects = subjects
        self._tuning = tuning or Tuning()
        self.metrics = WorkerMetrics(metrics or Metrics())
        self.signer: Signs | None = None
        """Whose requests to the API these are, where services must sign; set before `run`."""
        self._peer: Peer | None = None
        self._reconnected = asyncio.Event()

    def ready(self) -> bool:
        """Connected, accepted by a coordinator, and not on its way out."""
        return self._bus.connected and self._peer is not None and self._peer.is_announced and self._peer.state == "ready"

    async def run(self, stop: Stop) -> None:
        """Work until `stop` is requested, then drain. Raises `Misconfigured` when the coordinator refuses what is hosted.

        Cancelling ends it at once; what is not published then is done again elsewhere.
        """
        self._bus.on_reconnect(self._reconnected.set)
        refusal: Misconfigured | None = None
        async with EffectRunner(self._tuning.concurrency, self._time) as effects, asyncio.TaskGroup() as tasks:
            runs = self.runs = self._make_runs(effects, tasks)
            background = [tasks.create_task(loop) for loop in self._clocks(runs)]
            try:
                await self._serve(runs, stop, background, tasks)
            except Misconfigured as error:
                refusal = error  # raised outside the group, which would wrap it
            finally:
                for task in background:
                    task.cancel()
                runs.close()
        if refusal is not None:
            raise refusal

    async def _serve(self, runs: Runs, stop: Stop, background: list[asyncio.Task[None]], tasks: asyncio.TaskGroup) -> None:
        subscriptions = [
            await self._bus.subscribe(self._subjects.confirm(self.id), self._on_confirm),
            await self._bus.subscribe(self._subjects.stop(), self._on_stop),
        ]
        announce = Announce(
            peer=self.id,
            kind="worker",
            build=self.catalog.build,
            agents=self.catalog.definitions,
            concurrency=self._tuning.concurrency,
            frames=True,
        )
        peer = Peer(self._bus, self._subjects, announce, held=runs.held, busy=runs.busy, beat_seconds=self._tuning.heartbeat_seconds)
        async with peer:
            self._peer = peer
            if await self._announced(peer, stop):
                shared = [tasks.create_task(loop.run()) for loop in self._shared_loops(runs)]
                own = tasks.create_task(self._own_loop(runs).run())
                background += [*shared, own]
                _log.info("worker is ready", worker=self.id, build=self.catalog.build, agents=sorted(self.catalog.agents))
                await stop.wait()
                peer.set_state("draining")
                await self._drain(runs, shared, own)
            for subscription in subscriptions:
                await subscription.close()
        await self._leave()

    async def _announced(self, peer: Peer, stop: Stop) -> bool:
        """Wait for a coordinator to take us, or for the end; False for the end."""
        announced = asyncio.ensure_future(peer.announced())
        stopped = asyncio.ensure_future(stop.wait())
        try:
            await asyncio.wait([announced, stopped], return_when=asyncio.FIRST_COMPLETED)
            if not announced.done():
                return False
            announced.result()
        except Denied as error:
            raise Misconfigured(str(error)) from error
        finally:
            announced.cancel()
            stopped.cancel()
        return not stop.requested

    async def _drain(self, runs: Runs, shared: list[asyncio.Task[None]], own: asyncio.Task[None]) -> None:
        """What is addressed to this very worker is taken until the end: nobody else would, before they hear that we are gone."""
        await _end(shared)
        try:
            async with asyncio.timeout(self._tuning.drain_seconds):
                await runs.quiet()
            _log.info("drained", worker=self.id)
        except TimeoutError:
            _log.warning("leaving runs to other workers", worker=self.id, active=runs.active)
        await _end([own])
        runs.hand_over()

    async def _leave(self) -> None:
        """Take our own consumer away; where that is not possible now, it expires."""
        try:
            await self._bus.delete_consumer(self._sticky().stream, self._sticky().name)
        except TransientError as error:
            _log.info("could not take this worker's consumer away", worker=self.id, error=str(error))

    def _make_runs(self, effects: EffectRunner, tasks: asyncio.TaskGroup) -> Runs:
        payloads = Payloads(self._bus, self._subjects, signer=self.signer)
        hosting = Hosting(
            worker=self.id,
            build=self.catalog.build,
            bus=Company(self._bus, MailFrames()),
            subjects=self._subjects,
            tuning=self._tuning,
            effects=effects,
            reader=JournalReader(self._bus, self._subjects, payloads, self.signer),
            payloads=payloads,
            metrics=self.metrics,
            streams=TokenStreams(self._bus, self._subjects, self.id),
            run_clock=self._time,
            clock=time.time,  # looked up here, not when the module was imported: simulations put a clock of theirs in its place
        )
        return Runs(self.catalog.agents, hosting, tasks)

    def _clocks(self, runs: Runs) -> list[Coroutine[object, object, None]]:
        return [
            upkeep.keep_in_progress(runs, self._tuning),
            upkeep.republish(runs, self._tuning, self._reconnected),
        ]

    def _shared_loops(self, runs: Runs) -> list[WorkLoop]:
        """One per agent for any worker, bounded by `concurrency`."""
        build = self.catalog.build
        specs = [self._patient(work_consumer(self._subjects, agent, build)) for agent in self.catalog.agents]
        return [WorkLoop(self._bus, spec, runs.room, runs.activate) for spec in specs]

    def _own_loop(self, runs: Runs) -> WorkLoop:
        """For this very worker. Not held up when all places are taken: what it brings is mostly for runs that already have one (a
        signal that should end a long step, say)."""

        async def always() -> int:
            return _STICKY_AT_ONCE

        return WorkLoop(self._bus, self._sticky(), always, runs.activate, prefetch=True)

    def _sticky(self) -> ConsumerSpec:
        return self._patient(sticky_consumer(self._subjects, self.id))

    def _patient(self, spec: ConsumerSpec) -> ConsumerSpec:
        return replace(spec, ack_wait_seconds=self._tuning.ack_wait_seconds)

    async def _on_confirm(self, message: Message) -> None:
        assert self.runs is not None
        self.runs.confirm(decode(work.Confirm, message.body))

    async def _on_stop(self, message: Message) -> None:
        assert self.runs is not None
        self.runs.stop(decode(work.Stop, message.body))


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
