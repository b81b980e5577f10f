"""Pull consumers at the other end of a simulated connection: what was delivered, its acks, and who waits for more."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from waypost_io.bus._memory_pull import MemoryDelivery
from waypost_io.bus._memory_store import MemoryConsumer
from waypost_proto.errors import ContractError, NotFound

if TYPE_CHECKING:
    from tests.simulation.network import SimulatedBus


class SimulatedDelivery(MemoryDelivery):
    """Acks travel like everything else, and may be lost."""

    __slots__ = ("_bus", "_stream")

    def __init__(self, bus: SimulatedBus, consumer: MemoryConsumer, message: Any, delivered: int, stream: str) -> None:
        super().__init__(consumer, message, delivered)
        self._bus = bus
        self._stream = stream

    def ack(self) -> None:
        if self._acked:
            return
        self._acked = True
        network = self._bus._network
        if network.chance.hits(network.trouble.lost_acks):
            network.trace.strike("ack lost", self._bus.process, self.subject, self.stream_seq)
            return
        consumer, seq = self._consumer, self._message.seq
        self._bus._go(lambda: consumer.ack(seq))

    def in_progress(self) -> None:
        if not self._acked and not self._bus._network.chance.hits(self._bus._network.trouble.lost_acks):
            self._bus._go(lambda: self._consumer_now().progress(self._message.seq))

    def _consumer_now(self) -> MemoryConsumer:
        """The consumer that an ack reaches at the server: after a restore it is the old copy's, if that was made at the same time."""
        stream = self._bus.broker.streams.get(self._stream)
        found = None if stream is None else stream.consumers.get(self._consumer.spec.name)
        return found if found is not None and found.created == self._consumer.created else self._consumer


class SimulatedPuller:
    """`Puller`: the server answers a pull request when it has something, whatever the process does then."""

    def __init__(self, bus: SimulatedBus, stream: str, consumer: str, most: int) -> None:
        self._bus = bus
        self._stream, self._consumer, self._most = stream, consumer, most
        self._attached: MemoryConsumer | None = None
        self._arrived: deque[SimulatedDelivery] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._asked = 0
        self._missing = False
        self._closed = False

    async def next_batch(self, limit: int) -> Sequence[SimulatedDelivery]:
        if limit < 1 or self._waiter is not None:
            raise ContractError(f"next_batch(limit={limit}): one caller at a time, and limit at least 1")
        while not self._arrived:
            if self._closed:
                raise ContractError(f"the puller of {self._stream}/{self._consumer} is closed")
            if self._missing:
                self._missing = False
                raise NotFound(f"consumer {self._consumer!r} of stream {self._stream!r} does not exist (simulated)")
            if not self._asked:
                self._asked = min(limit, self._most)
                self._bus._go(self._serve)
            self._waiter = self._bus._network.loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return [self._arrived.popleft() for _ in range(min(limit, len(self._arrived)))]

    async def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._bus._go(self.detach)
            self._wake()

    def detach(self) -> None:
        """At the server: no more for this one; what it had not looked at goes to others."""
        self._closed = True
        self._asked = 0
        consumer, self._attached = self._attached, None
        if consumer is not None:
            if self._bus.process.alive:
                consumer.give_back([delivery.stream_seq for delivery in self._arrived if not delivery._acked])
            consumer.detach()

    def _serve(self) -> None:
        """At the server: answer the pull request, now or when there is something."""
        if not self._asked or self._closed:
            return
        stream = self._bus.broker.streams.get(self._stream)
        consumer = None if stream is None else stream.consumers.get(self._consumer)
        if consumer is not self._attached:
            if self._attached is not None:
                self._attached.detach()
            self._attached = consumer
            if consumer is not None:
                consumer.attach()
        if consumer is None:
            self._asked = 0
            self._bus._come(self._gone)
            return
        taken = [SimulatedDelivery(self._bus, consumer, message, count, self._stream) for message, count in consumer.take(self._asked)]
        if not taken:
            consumer.waiters.append(self._serve)
            return
        self._asked = 0
        self._bus._come(lambda: self._arrive(taken))

    def _arrive(self, taken: list[SimulatedDelivery]) -> None:
        trace = self._bus._network.trace
        for delivery in taken:
            trace.add("delivered", self._bus.process, delivery.subject, delivery.stream_seq, delivery.delivered)
        if not self._closed:
            self._arrived.extend(taken)
            self._wake()

    def _gone(self) -> None:
        self._missing = True
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
