"""The gateway as a whole: its parts, its tasks, its end. Owns the composition; what a call needs is in `calls` and `reconciling`."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import structlog

from waypost_gateway.allowlist import AllowList
from waypost_gateway.answers import Answers
from waypost_gateway.breaking import ToolBreaker
from waypost_gateway.calls import AnyTool, Calls, Desk
from waypost_gateway.clock import DatabaseClock
from waypost_gateway.dead_letters import DeadLetters
from waypost_gateway.failures import Scrubber
from waypost_gateway.guarding import Guard
from waypost_gateway.handling import Handler
from waypost_gateway.inflight import InFlight
from waypost_gateway.keepalive import KeepAlive
from waypost_gateway.lane import Lane, Pace
from waypost_gateway.mailer import Mailer
from waypost_gateway.metrics import Metrics
from waypost_gateway.neighbours import Neighbours
from waypost_gateway.permits import LedgerTimes, Permits
from waypost_gateway.policing import PolicyDesk
from waypost_gateway.rates import TokenBucket
from waypost_gateway.reconciling import Reconciler
from waypost_gateway.stops import Stops
from waypost_gateway.suspects import Suspects
from waypost_gateway.watchdog import BLOCKED_SECONDS, Watchdog
from waypost_io.bus import topology
from waypost_io.bus.ports import Bus
from waypost_io.lifecycle import Stop
from waypost_io.store.ports import Store
from waypost_proto.errors import TransientError
from waypost_proto.subjects import Subjects
from waypost_proto.values import Breaker

CLOCK_SECONDS = 60.0
"""Between two measurements of the database's clock."""
CLOCK_AGAIN_SECONDS = 1.0
"""After one that failed: until the first succeeds, deadlines are judged by our own clock."""
GRACE_SECONDS = 2.0
"""What a call may take beyond its timeout to clean up and be written down; part of its hard deadline."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayConfig:
    """How one gateway behaves. Times in seconds."""

    peer: str
    concurrency: int = 128
    ack_wait_seconds: float = topology.TOOL_ACK_SECONDS
    lease_seconds: float = 10.0
    grace_seconds: float = GRACE_SECONDS
    settle_seconds: float = 2.0
    drain_seconds: float = 15.0
    blocked_seconds: float = BLOCKED_SECONDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What an operator gives to a gateway besides its tools."""

    policy: PolicyDesk = field(default_factory=PolicyDesk)
    secrets: Mapping[str, str] = field(default_factory=dict)


class Gateway:
    """Executes the calls of `tools`. `serve` it once; the bus and the store are open and stay the caller's."""

    def __init__(
        self,
        bus: Bus,
        store: Store,
        subjects: Subjects,
        tools: Sequence[AnyTool],
        config: GatewayConfig,
        *,
        rules: Rules | None = None,
        metrics: Metrics | None = None,
    ) -> None:
        self._bus = bus
        self._subjects = subjects
        self._config = config
        self._metrics = metrics or Metrics()
        rules = rules or Rules()
        self._inflight = InFlight()
        self._clock = DatabaseClock(store.leases, wall=time.time, monotonic=time.monotonic)
        self._stops = Stops(self._inflight)
        answers = Answers(config.peer)
        self._watchdog = Watchdog(self._inflight, self._metrics, blocked_seconds=config.blocked_seconds)
        now = asyncio.get_running_loop().time
        for tool in tools:
            self._metrics.expect(tool.name)
        breakers = {tool.name: (self._breaker(tool, policy), policy) for tool in tools if (policy := tool.policy.breaker) is not None}
        buckets = {tool.name: TokenBucket(tool.policy.rate, now=now()) for tool in tools if tool.policy.rate is not None}
        guard = Guard(rules.policy, answers, self._metrics, breakers=breakers, now=self._clock.now)
        only_breakers = {name: breaker for name, (breaker, _) in breakers.items()}
        self._neighbours = Neighbours(bus, subjects, config.peer, breakers=only_breakers, buckets=buckets, monotonic=now)
        guard.changed = self._neighbours.changed
        times = LedgerTimes(lease_seconds=config.lease_seconds, grace_seconds=config.grace_seconds, settle_seconds=config.settle_seconds)
        desk = Desk(
            store=store,
            allowlist=AllowList(store.definitions, monotonic=time.monotonic),
            permits=Permits(store, answers, self._metrics, times, gateway=config.peer),
            answers=answers,
            clock=self._clock,
            scrub=Scrubber(),
            suspects=Suspects(self._metrics),
            guard=guard,
            secrets=rules.secrets,
            grace_seconds=config.grace_seconds,
        )
        handler = Handler(
            Calls(desk),
            Reconciler(desk, settle_seconds=config.settle_seconds),
            Mailer(bus, subjects),
            DeadLetters(bus, store.dead, subjects),
            self._inflight,
            self._stops,
            self._metrics,
        )
        self._lanes = self._make_lanes(tools, handler, buckets)
        self._keepalive = KeepAlive(
            self._inflight, store.ledger, self._metrics, ack_wait_seconds=config.ack_wait_seconds, lease_seconds=config.lease_seconds
        )
        self._metrics.running.follow(lambda: len(self._inflight))

    @property
    def pulling(self) -> bool:
        """For readiness: every tool's consumer is there and asked for messages."""
        return all(lane.pulling for lane in self._lanes)

    async def serve(self, stop: Stop) -> None:
        """Work until `stop`, then drain: take nothing new, let running calls finish, interrupt those that do not.

        Returns when nothing is in hand. Cancelling ends at once and leaves what was started to the ledger, like a crash.
        """
        subscription = await self._bus.subscribe(self._subjects.stop(), self._stops.on_message)
        try:
            async with self._neighbours, self._watchdog, asyncio.TaskGroup() as background:
                keeping = [
                    background.create_task(self._neighbours.run()),
                    background.create_task(self._keepalive.messages()),
                    background.create_task(self._keepalive.leases()),
                    background.create_task(self._keep_clock()),
                ]
                async with asyncio.TaskGroup() as calls:
                    pulling = [background.create_task(lane.run(calls)) for lane in self._lanes]
                    try:
                        await stop.wait()
                    finally:  # also when cancelled: `calls` takes nothing from here on
                        self._stop_pulling(pulling)
                    await asyncio.wait(pulling)
                    await self._drain()
                for task in keeping:
                    task.cancel()
        finally:
            await subscription.close()

    def _make_lanes(self, tools: Sequence[AnyTool], handler: Handler, buckets: Mapping[str, TokenBucket]) -> list[Lane]:
        config = self._config
        slots = asyncio.Semaphore(config.concurrency)
        lanes = []
        for tool in tools:
            consumer = replace(topology.tool_consumer(self._subjects, tool.name), ack_wait_seconds=config.ack_wait_seconds)
            lane = Lane(self._bus, tool, consumer, handler, self._inflight, slots, self._metrics)
            if tool.name in buckets:
                lane.pace = Pace(bucket=buckets[tool.name], joined=self._neighbours.joined)
            lanes.append(lane)
        return lanes

    def _breaker(self, tool: AnyTool, policy: Breaker) -> ToolBreaker:
        longest = tool.policy.timeout_seconds + self._config.grace_seconds
        breaker = ToolBreaker(tool.name, policy, gateway=self._config.peer, probe_seconds=longest)
        self._metrics.breaker(tool.name, lambda: breaker.state)
        return breaker

    def _stop_pulling(self, pulling: Sequence[asyncio.Task[None]]) -> None:
        for lane in self._lanes:
            lane.close()
        for task in pulling:
            task.cancel()

    async def _drain(self) -> None:
        """Wait for running calls; after the bound interrupt them, so that what they mean is written down while there is time."""
        try:
            async with asyncio.timeout(self._config.drain_seconds):
                await self._inflight.empty()
        except TimeoutError:
            _log.warning("calls are still running, interrupting them", calls=len(self._inflight), drain_seconds=self._config.drain_seconds)
            for work in self._inflight:
                work.interrupt("draining")

    async def _keep_clock(self) -> None:
        while True:
            try:
                await self._clock.sync()
            except TransientError as error:
                _log.debug("the database's clock cannot be read", error=str(error))
                await asyncio.sleep(CLOCK_AGAIN_SECONDS)
            else:
                await asyncio.sleep(CLOCK_SECONDS)
