"""One tool's consumer: takes messages while there is room for them. Owns the pull and its recovery, not the calls.

Back-pressure is not pulling: a lane asks for as many messages as it could run at once, and as its rate allows, and for no more. What waits
waits in JetStream, for any gateway, and holds no permit and no slot.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import structlog

from waypost_gateway.calls import AnyTool
from waypost_gateway.handling import Handler
from waypost_gateway.inflight import InFlight, Work
from waypost_gateway.metrics import Metrics
from waypost_gateway.outcomes import UNSETTLED
from waypost_gateway.rates import TokenBucket
from waypost_io.bus.ports import Bus, ConsumerSpec, Puller
from waypost_proto.errors import NotFound, TransientError

FIRST_DELAY_SECONDS = 0.1
MAX_DELAY_SECONDS = 2.0
SAY_FROM_SECONDS = 0.8

_log = structlog.get_logger(__name__)

NOT_BEGUN = UNSETTLED | {"joined", "dead", "repeated"}
"""Outcomes of messages whose tool was not asked: they take no part of its rate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast a tool's calls may begin. `joined`: the gateway knows who shares the rate."""

    bucket: TokenBucket
    joined: asyncio.Event


class Seat:
    """One of the gateway's slots and one of the tool's, while a call runs. Freed once."""

    __slots__ = ("_lane", "taken")

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self.taken = True

    def free(self) -> None:
        """Idempotent."""
        if self.taken:
            self.taken = False
            self._lane._free()


class Lane:
    """Runs one tool's calls, `tool.policy.concurrency` of them at once; they share the gateway's `slots`."""

    def __init__(
        self,
        bus: Bus,
        tool: AnyTool,
        consumer: ConsumerSpec,
        handler: Handler,
        inflight: InFlight,
        slots: asyncio.Semaphore,
        metrics: Metrics,
    ) -> None:
        self._bus = bus
        self._tool = tool
        self._consumer = consumer
        self._handler = handler
        self._inflight = inflight
        self._slots = slots
        self._metrics = metrics
        self._room = tool.policy.concurrency
        self._stuck = 0
        self._freed = asyncio.Event()
        self.pace: Pace | None = None
        """None: as fast as they come."""
        self.pulling = False
        """The consumer is there and messages are being asked for."""
        self._closed = False

    async def run(self, calls: asyncio.TaskGroup) -> None:
        """Pull until cancelled; calls run as tasks of `calls` and outlive this. Makes the consumer again when it is gone."""
        delay = FIRST_DELAY_SECONDS
        while True:
            try:
                await self._bus.ensure_consumer(self._consumer)
                puller = self._bus.pull(
                    self._consumer.stream, self._consumer.name, max_in_hand=self._tool.policy.concurrency, prefetch=False
                )
                try:
                    self.pulling = True
                    delay = FIRST_DELAY_SECONDS
                    await self._pull(puller, calls)
                finally:
                    self.pulling = False
                    await puller.close()
            except (NotFound, TransientError) as error:
                # at the very start, and after a wipe, the streams are made by a coordinator within a second
                say = _log.debug if delay < SAY_FROM_SECONDS else _log.warning
                say("cannot take calls, trying again", tool=self._tool.name, error=str(error), delay_seconds=delay)
            await asyncio.sleep(delay)
            delay = min(delay * 2, MAX_DELAY_SECONDS)

    def close(self) -> None:
        """Begin no more calls, not even those that wait for a slot. Idempotent; cancel `run` as well."""
        self._closed = True

    async def _pull(self, puller: Puller, calls: asyncio.TaskGroup) -> None:
        while True:
            while self._room <= 0:
                self._freed.clear()
                await self._freed.wait()
            limit = self._room if self.pace is None else await self._paced(self.pace)
            for delivery in await puller.next_batch(limit):
                self._room -= 1
                if self.pace is not None:
                    self.pace.bucket.take(asyncio.get_running_loop().time())
                if delivery.delivered > 1:
                    self._metrics.redelivered.inc()
                calls.create_task(self._one(self._inflight.take(delivery), calls))

    async def _paced(self, pace: Pace) -> int:
        """How many messages to ask for, once there is a token."""
        await pace.joined.wait()
        clock = asyncio.get_running_loop().time
        while pace.bucket.available(clock()) < 1:  # noqa: ASYNC110  # what is waited for is time
            # looked at again and again: the share grows when another gateway goes
            await asyncio.sleep(min(max(pace.bucket.wait_seconds(clock()), 0.001), MAX_DELAY_SECONDS))
        return min(self._room, pace.bucket.available(clock()))

    async def _one(self, work: Work, calls: asyncio.TaskGroup) -> None:
        try:
            await self._slots.acquire()
        except BaseException:
            self._inflight.drop(work)
            self._room += 1
            raise
        seat = Seat(self)
        work.on_stuck = lambda: self._on_stuck(work, seat, calls)
        try:
            if self._closed:
                work.give_back()  # what has not begun when the gateway stops is for another one
                return
            name = await self._handler.handle(work, self._tool)
            if self.pace is not None and name in NOT_BEGUN:
                self.pace.bucket.give_back()
        finally:
            self._inflight.drop(work)
            work.on_stuck = None  # it refers to `work`
            if not seat.taken:
                self._stuck -= 1
            seat.free()

    def _on_stuck(self, work: Work, seat: Seat, calls: asyncio.TaskGroup) -> None:
        """Code that will not stop: its call is answered, and its seat given to others, as long as there are not too many such."""
        self._metrics.stuck.labels(self._tool.name).inc()
        calls.create_task(self._handler.give_up(work, self._tool))
        if self._stuck < self._tool.policy.concurrency:
            self._stuck += 1
            seat.free()
        else:
            _log.error("as many calls as the tool's concurrency will not stop: no more seats are given up for it", tool=self._tool.name)

    def _free(self) -> None:
        self._slots.release()
        self._room += 1
        self._freed.set()
