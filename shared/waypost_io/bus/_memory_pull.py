"""Pulling a consumer in memory. Owns who waits; the consumer owns what is delivered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from waypost_io.bus._memory_store import MemoryConsumer, MemoryStream, Stored
from waypost_io.bus.ports import Headers
from waypost_proto.errors import ContractError, NotFound


class MemoryDelivery:
    """One delivered message. An ack for a consumer that is gone does nothing."""

    __slots__ = ("_acked", "_consumer", "_message", "delivered")

    def __init__(self, consumer: MemoryConsumer, message: Stored, delivered: int) -> None:
        self._consumer = consumer
        self._message = message
        self._acked = False
        self.delivered = delivered

    @property
    def subject(self) -> str:
        return self._message.subject

    @property
    def body(self) -> bytes:
        return self._message.body

    @property
    def headers(self) -> Headers:
        return self._message.headers

    @property
    def stream_seq(self) -> int:
        return self._message.seq

    @property
    def timestamp(self) -> float:
        return self._message.at

    @property
    def consumer_since(self) -> float:
        return self._consumer.since

    def ack(self) -> None:
        if not self._acked:
            self._acked = True
            self._consumer.ack(self._message.seq)

    def in_progress(self) -> None:
        if not self._acked:
            self._consumer.progress(self._message.seq)

    def give_back(self) -> None:
        if not self._acked:
            self._acked = True
            if self._consumer.alive:
                self._consumer.give_back([self._message.seq])


class MemoryPuller:
    """`Puller` in memory. It takes messages when they are asked for and buffers none."""

    def __init__(self, streams: Callable[[], Mapping[str, MemoryStream]], stream: str, consumer: str, most: int) -> None:
        self._streams = streams
        self._stream, self._consumer, self._most = stream, consumer, most
        self._attached: MemoryConsumer | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._closed = False
        self._busy = False

    async def next_batch(self, limit: int) -> Sequence[MemoryDelivery]:
        """See `Puller.next_batch`."""
        if limit < 1 or self._busy:
            raise ContractError(f"next_batch(limit={limit}): one caller at a time, and limit at least 1")
        self._busy = True
        try:
            await asyncio.sleep(0)  # as a real server would, let others run
            return await self._next(limit)
        finally:
            self._busy = False

    async def _next(self, limit: int) -> list[MemoryDelivery]:
        while True:
            consumer = self._find()
            taken = consumer.take(min(limit, self._most))
            if taken:
                return [MemoryDelivery(consumer, message, delivered) for message, delivered in taken]
            self._waiter = asyncio.get_running_loop().create_future()
            consumer.waiters.append(self._wake)
            try:
                await self._waiter
            finally:
                self._waiter = None

    async def close(self) -> None:
        """See `Puller.close`."""
        self._closed = True
        self._attach(None)
        self._wake()

    def _find(self) -> MemoryConsumer:
        if self._closed:
            raise ContractError(f"the puller of {self._stream}/{self._consumer} is closed")
        stream = self._streams().get(self._stream)
        consumer = None if stream is None else stream.consumers.get(self._consumer)
        self._attach(consumer)
        if consumer is None:
            raise NotFound(f"consumer {self._consumer!r} of stream {self._stream!r} does not exist: make it again")
        return consumer

    def _attach(self, consumer: MemoryConsumer | None) -> None:
        if self._attached is not consumer:
            if self._attached is not None:
                self._attached.detach()
            self._attached = consumer
            if consumer is not None:
                consumer.attach()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
