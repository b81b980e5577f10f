"""One tool's consumer: takes messages while there is room for them. Owns the pull and its recovery, not the calls.

Back-pressure is not pulling: a lane asks for as many messages as it could run at once and for no more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from waypost_gateway.calls import AnyTool
from waypost_gateway.inflight import InFlight, Work
from waypost_gateway.metrics import Metrics
from waypost_io.bus.ports import Bus, ConsumerSpec, Puller
from waypost_proto.errors import NotFound, TransientError

FIRST_DELAY_SECONDS = 0.1
MAX_DELAY_SECONDS = 2.0
SAY_FROM_SECONDS = 0.8

_log = structlog.get_logger(__name__)

Handle = Callable[[Work, AnyTool], Awaitable[None]]


class Slots:
    """A bounded number of calls at once, of the whole gateway."""

    def __init__(self, count: int) -> None:
        self._semaphore = asyncio.Semaphore(count)

    async def __aenter__(self) -> None:
        await self._semaphore.acquire()

    async def __aexit__(self, *exc: object) -> None:
        self._semaphore.release()


class Lane:
    """Runs one tool's calls, `tool.policy.concurrency` of them at once; they share the gateway's `slots`."""

    def __init__(
        self, bus: Bus, tool: AnyTool, consumer: ConsumerSpec, handle: Handle, inflight: InFlight, slots: Slots, metrics: Metrics
    ) -> None:
        self._bus = bus
        self._tool = tool
        self._consumer = consumer
        self._handle = handle
        self._inflight = inflight
        self._slots = slots
        self._metrics = metrics
        self._room = tool.policy.concurrency
        self._freed = asyncio.Event()
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
            for delivery in await puller.next_batch(self._room):
                self._room -= 1
                if delivery.delivered > 1:
                    self._metrics.redelivered.inc()
                calls.create_task(self._one(self._inflight.take(delivery)))

    async def _one(self, work: Work) -> None:
        try:
            async with self._slots:
                if self._closed:
                    work.give_back()  # what has not begun when the gateway stops is for another one
                else:
                    await self._handle(work, self._tool)
        finally:
            self._inflight.drop(work)
            self._room += 1
            self._freed.set()
