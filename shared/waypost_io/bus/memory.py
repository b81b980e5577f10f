"""The bus in memory: for tests, and for simulations that must replay exactly. No threads, no sockets, no randomness, no clock of its own.

`MemoryBroker` is the server, shared by any number of `MemoryBus` connections in one event loop; it keeps `ports.Bus`'s contract as
JetStream does. Time is what its `clock` and `call_later` say. `wipe` and `restart` do what happens to real servers.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Self

import structlog

from waypost_io.bus._frames import MSG_ID_HEADER, check_subject, decode_headers, encode_headers, publish_frame
from waypost_io.bus._groups import together
from waypost_io.bus._memory_pull import MemoryPuller
from waypost_io.bus._memory_service import MemoryService
from waypost_io.bus._memory_store import MemoryStream, Time, Timer, matches, overlap, stream_of
from waypost_io.bus.ports import (
    GROUP_MOST,
    ConsumerSpec,
    Endpoint,
    Handler,
    Headers,
    Message,
    Outbound,
    PubAck,
    StreamLoad,
    StreamMark,
    StreamSpec,
)
from waypost_proto.errors import ContractError, Misconfigured, NotFound, Unreachable, WaypostError

log = structlog.get_logger(__name__)

__all__ = ["MemoryBroker", "MemoryBus"]


def _call_later(seconds: float, callback: Callable[[], None]) -> Timer:
    return asyncio.get_running_loop().call_later(seconds, callback)


class MemoryBroker:
    """The server that buses share. `clock` gives Unix seconds; `call_later(seconds, callback)` returns something with `cancel()`."""

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.time,
        call_later: Callable[[float, Callable[[], None]], Timer] = _call_later,
    ) -> None:
        self.time = Time(clock, call_later)
        self.streams: dict[str, MemoryStream] = {}
        self._buses: list[MemoryBus] = []
        self._subscriptions: list[MemorySubscription] = []
        self._made = 0
        self._turns: dict[tuple[str, str], int] = {}

    # -- what happens to servers

    def wipe(self) -> None:
        """Every stream and consumer is gone, as after a restart on an empty disk; connections notice and reconnect."""
        streams, self.streams = list(self.streams.values()), {}
        for stream in streams:
            stream.end()
        self.restart()

    def restart(self) -> None:
        """Every connection is lost and made again; what is stored stays, consumers in memory do not."""
        for stream in self.streams.values():
            for consumer in [each for each in stream.consumers.values() if each.spec.storage == "memory"]:
                stream.drop_consumer(consumer.spec.name)
        for bus in list(self._buses):
            bus.reconnected()

    # -- used by the buses

    def join(self, bus: MemoryBus) -> None:
        self._buses.append(bus)

    def leave(self, bus: MemoryBus) -> None:
        if bus in self._buses:
            self._buses.remove(bus)

    def unique(self) -> str:
        """A name never given before by this broker: the identity of streams, consumers, inboxes."""
        self._made += 1
        return str(self._made)

    def ensure_stream(self, spec: StreamSpec) -> StreamMark:
        found = self.streams.get(spec.name)
        for other in self.streams.values():
            if other is not found and any(overlap(a, b) for a in other.spec.subjects for b in spec.subjects):
                raise Misconfigured(f"the server refuses stream {spec.name!r}: its subjects overlap with {other.spec.name!r}")
        if found is None:
            found = self.streams[spec.name] = MemoryStream(spec, f"memory-{self.unique()}", self.time)
        else:
            found.reconfigure(spec)
        return found.mark()

    def route(self, message: Message, msg_id: str | None = None) -> tuple[PubAck | None, int]:
        """Store the message where a stream takes it, and hand it to who listens; what was stored, and how many listened."""
        ack = None
        for stream in self.streams.values():
            if stream.takes(message.subject):
                ack = stream.store(message.subject, message.body, message.headers, msg_id)
        groups: dict[tuple[str, str], list[MemorySubscription]] = {}
        for n, subscription in enumerate(self._subscriptions):
            if matches(subscription.subject, message.subject):
                key = (subscription.subject, subscription.queue) if subscription.queue else ("", str(n))
                groups.setdefault(key, []).append(subscription)
        for key, members in groups.items():
            turn = self._turns[key] = self._turns.get(key, -1) + 1
            members[turn % len(members)].offer(message)
            if not key[0]:
                del self._turns[key]
        return ack, len(groups)

    def listen(self, subscription: MemorySubscription) -> None:
        self._subscriptions.append(subscription)

    def unlisten(self, subscription: MemorySubscription) -> None:
        if subscription in self._subscriptions:
            self._subscriptions.remove(subscription)


class MemorySubscription:
    """A core subscription: a queue, and a task that calls the handler, one message after another."""

    def __init__(self, broker: MemoryBroker, subject: str, queue: str, handler: Handler) -> None:
        self.subject, self.queue = subject, queue
        self._broker = broker
        self._handler = handler
        self._messages: asyncio.Queue[Message] = asyncio.Queue()
        self._task = asyncio.get_running_loop().create_task(self._run(), name=f"subscription {subject}")
        broker.listen(self)

    def offer(self, message: Message) -> None:
        self._messages.put_nowait(message)

    async def close(self) -> None:
        """Stop listening; a handler that is running is cancelled. Idempotent."""
        self._broker.unlisten(self)
        if self._task is not asyncio.current_task():
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        while True:
            message = await self._messages.get()
            try:
                await self._handler(message)
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is not None and task.cancelling():
                    raise
                log.exception("bus.handler_cancelled", subject=message.subject)  # it awaited something that was cancelled
            except Exception:  # one bad message must not end the subscription
                log.exception("bus.handler_failed", subject=message.subject)


class MemoryBus:
    """`Bus` on a `MemoryBroker`; without one it gets a broker of its own."""

    def __init__(self, broker: MemoryBroker | None = None, *, name: str = "waypost") -> None:
        self.broker = broker or MemoryBroker()
        self.name = name
        self._open = False
        self._callbacks: list[Callable[[], None]] = []
        self._resources: list[MemoryPuller | MemorySubscription | MemoryService] = []

    async def __aenter__(self) -> Self:
        self._open = True
        self.broker.join(self)
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.broker.leave(self)
        for resource in self._resources:
            await resource.close()
        self._resources.clear()
        self._open = False

    @property
    def connected(self) -> bool:
        return self._open

    def on_reconnect(self, callback: Callable[[], None]) -> None:
        self._callbacks.append(callback)

    def reconnected(self) -> None:
        """The broker made the connection again."""
        for callback in self._callbacks:
            try:
                callback()
            except Exception:  # one callback must not keep the others from running
                log.exception("bus.reconnect_callback_failed")

    # -- streams and consumers

    async def ensure_stream(self, spec: StreamSpec) -> StreamMark:
        return self._server().ensure_stream(spec)

    async def stream_mark(self, name: str) -> StreamMark | None:
        stream = self._server().streams.get(name)
        return None if stream is None else stream.mark()

    async def purge(self, stream: str, subject: str | None = None) -> int:
        found = self._server().streams.get(stream)
        return 0 if found is None else found.purge(subject)

    async def subjects(self, stream: str, subject: str) -> dict[str, int]:
        found = self._server().streams.get(stream)
        return {} if found is None else found.subjects(subject)

    async def load(self, stream: str) -> StreamLoad | None:
        found = self._server().streams.get(stream)
        return None if found is None else found.load()

    async def ensure_consumer(self, spec: ConsumerSpec) -> None:
        broker = self._server()
        stream_of(broker.streams, spec.stream).ensure_consumer(spec, broker.unique())

    async def consumer_created(self, stream: str, name: str) -> str | None:
        found = self._server().streams.get(stream)
        consumer = None if found is None else found.consumers.get(name)
        return None if consumer is None else consumer.created

    async def delete_consumer(self, stream: str, name: str) -> None:
        found = self._server().streams.get(stream)
        if found is not None:
            found.drop_consumer(name)

    def pull(self, stream: str, consumer: str, *, max_in_hand: int = 1_000, prefetch: bool = True) -> MemoryPuller:  # noqa: ARG002
        puller = MemoryPuller(self._live_streams, stream, consumer, max_in_hand)
        self._resources.append(puller)
        return puller

    # -- messages

    def publish(self, subject: str, body: bytes, *, headers: Headers | None = None, msg_id: str | None = None) -> Awaitable[PubAck]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[PubAck] = loop.create_future()
        try:
            ack, _ = self._server().route(self._message(subject, body, headers, "", msg_id), msg_id)
            if ack is None:
                raise NotFound(f"no stream takes {subject!r}")
        except WaypostError as error:
            loop.call_soon(_settle, future, error)
        else:
            loop.call_soon(_settle, future, ack)
        return future

    def publish_group(self, messages: Sequence[Outbound]) -> Awaitable[PubAck]:
        if not 1 <= len(messages) <= GROUP_MOST:
            raise ContractError(f"publish_group: {len(messages)} messages, at least 1 and at most {GROUP_MOST}")
        return together(
            asyncio.ensure_future(
                self.publish(
                    each.subject,
                    each.body,
                    headers=decode_headers(b"NATS/1.0\r\n" + each.block) if each.block else each.headers,
                    msg_id=each.msg_id,
                )
            )
            for each in messages
        )

    def send(self, subject: str, body: bytes, *, headers: Headers | None = None, reply: str = "") -> None:
        self._server().route(self._message(subject, body, headers, reply))

    def push(self) -> None:
        pass

    async def flush(self) -> None:
        self._server()
        await asyncio.sleep(0)

    async def request(self, subject: str, body: bytes, *, headers: Headers | None = None, timeout_seconds: float = 5.0) -> Message:
        broker = self._server()
        answer: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        inbox = self.new_inbox()

        async def answered(message: Message) -> None:
            if not answer.done():
                answer.set_result(message)

        def too_late() -> None:
            if not answer.done():
                answer.set_exception(Unreachable(f"no answer on {subject!r} within {timeout_seconds:g} s"))

        subscription = MemorySubscription(broker, inbox, "", answered)
        timer = broker.time.call_later(timeout_seconds, too_late)
        try:
            _, listeners = broker.route(self._message(subject, body, headers, inbox))
            if not listeners:
                raise Unreachable(f"nobody listens on {subject!r}")
            return await answer
        finally:
            timer.cancel()
            await subscription.close()

    async def subscribe(self, subject: str, handler: Handler, *, queue: str = "") -> MemorySubscription:
        subscription = MemorySubscription(self._server(), check_subject(subject), queue, handler)
        self._resources.append(subscription)
        return subscription

    def new_inbox(self) -> str:
        return f"_INBOX.{self.broker.unique()}"

    async def serve(self, name: str, version: str, description: str, endpoints: Sequence[Endpoint]) -> MemoryService:
        identity = {"name": name, "id": self.broker.unique(), "version": version, "description": description}
        service = MemoryService(self, identity, endpoints)
        await service.start()
        self._resources.append(service)
        return service

    def _live_streams(self) -> Mapping[str, MemoryStream]:
        return self.broker.streams

    def _server(self) -> MemoryBroker:
        if not self._open:
            raise ContractError("the bus is not open: use `async with`")
        return self.broker

    def _message(self, subject: str, body: bytes, headers: Headers | None, reply: str, msg_id: str | None = None) -> Message:
        """Checked as the real adapter checks it."""
        publish_frame(subject, reply, encode_headers(headers, msg_id), body)
        kept = {name: value.strip() for name, value in (headers or {}).items()}
        return Message(subject, body, kept if msg_id is None else {MSG_ID_HEADER: msg_id, **kept}, reply)


def _settle(future: asyncio.Future[PubAck], outcome: PubAck | WaypostError) -> None:
    if future.done():
        return
    if isinstance(outcome, PubAck):
        future.set_result(outcome)
    else:
        future.set_exception(outcome)
        future.exception()  # marks it as seen: who drops the awaitable gets no warning
