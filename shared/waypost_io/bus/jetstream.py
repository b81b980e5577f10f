"""The bus on NATS JetStream. Puts together what the private modules do; see `ports.Bus` for the contract.

_wire        nats-py's connection, its private parts
_connection  connect, reconnect, core messages, requests
_frames      protocol frames
_publish     pipelined publishes
_pull        pullers
_api         streams and consumers
_service     NATS services
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Self

import structlog
from nats import errors
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription as NatsSubscription

from waypost_io.bus._api import JetStreamApi
from waypost_io.bus._connection import BusTuning, Connection
from waypost_io.bus._frames import check_subject
from waypost_io.bus._publish import Publisher
from waypost_io.bus._pull import JetStreamPuller
from waypost_io.bus._service import JetStreamService
from waypost_io.bus.ports import ConsumerSpec, Endpoint, Handler, Headers, Message, Outbound, PubAck, StreamLoad, StreamMark, StreamSpec
from waypost_proto.errors import ContractError, Unreachable

log = structlog.get_logger(__name__)

__all__ = ["BusTuning", "JetStreamBus"]

CLOSE_SECONDS = 2.0
"""How long leaving the bus waits for publishes that are not confirmed yet."""
FLUSH_SECONDS = 5.0


class JetStreamBus:
    """`Bus` on NATS JetStream. `url` may list several servers, separated by commas.

    Made outside an event loop, used inside one: `async with JetStreamBus(url, name="worker") as bus`. `creds` is the path of a
    NATS credentials file, `ca` of a PEM file with the authority that signed the server's certificate.
    """

    def __init__(
        self, url: str, *, creds: str | None = None, ca: str | None = None, name: str = "waypost", tuning: BusTuning | None = None
    ) -> None:
        self._settings = (url, creds, ca, name, tuning or BusTuning())
        self._connection_: Connection | None = None
        self._publisher_: Publisher | None = None
        self._api_: JetStreamApi | None = None
        self._callbacks: list[Callable[[], None]] = []
        self._reconnects = False
        self._open: list[JetStreamPuller | JetStreamService] = []

    async def __aenter__(self) -> Self:
        url, creds, ca, name, tuning = self._settings
        connection = Connection(url, creds=creds or None, ca=ca or None, name=name, tuning=tuning)
        await connection.open()
        publisher = Publisher(connection)
        await publisher.start()
        connection.on_up(self._reconnected)
        self._connection_, self._publisher_, self._api_ = connection, publisher, JetStreamApi(connection)
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._connection_ is None or self._publisher_ is None:
            return
        for resource in self._open:
            await resource.close()
        self._open.clear()
        if self._connection_.up:
            await self._publisher_.drain(CLOSE_SECONDS)
        self._publisher_.close()
        await self._connection_.close()

    # -- state

    @property
    def connected(self) -> bool:
        return self._connection_ is not None and self._connection_.up

    @property
    def limit_bytes(self) -> int:
        """The largest body plus headers that can be sent."""
        return self._connection.limit

    def on_reconnect(self, callback: Callable[[], None]) -> None:
        self._callbacks.append(callback)

    def _reconnected(self) -> None:
        for callback in self._callbacks:
            try:
                callback()
            except Exception:  # one callback must not keep the others from running
                log.exception("bus.reconnect_callback_failed")

    @property
    def _connection(self) -> Connection:
        if self._connection_ is None:
            raise ContractError("the bus is not open: use `async with`")
        return self._connection_

    @property
    def _api(self) -> JetStreamApi:
        if self._api_ is None:
            raise ContractError("the bus is not open: use `async with`")
        return self._api_

    # -- streams and consumers

    async def ensure_stream(self, spec: StreamSpec) -> StreamMark:
        return await self._api.ensure_stream(spec)

    async def stream_mark(self, name: str) -> StreamMark | None:
        return await self._api.stream_mark(name)

    async def purge(self, stream: str, subject: str | None = None) -> int:
        return await self._api.purge(stream, subject)

    async def subjects(self, stream: str, subject: str) -> dict[str, int]:
        return await self._api.subjects(stream, subject)

    async def load(self, stream: str) -> StreamLoad | None:
        return await self._api.load(stream)

    async def ensure_consumer(self, spec: ConsumerSpec) -> None:
        await self._api.ensure_consumer(spec)

    async def consumer_created(self, stream: str, name: str) -> str | None:
        return await self._api.consumer_created(stream, name)

    async def delete_consumer(self, stream: str, name: str) -> None:
        await self._api.delete_consumer(stream, name)

    def pull(self, stream: str, consumer: str, *, max_in_hand: int = 1_000, prefetch: bool = True) -> JetStreamPuller:
        puller = JetStreamPuller(self._connection, self._api, (stream, consumer), max_in_hand, prefetch)
        self._open = [resource for resource in self._open if not resource.closed]
        self._open.append(puller)
        return puller

    # -- messages

    def publish(self, subject: str, body: bytes, *, headers: Headers | None = None, msg_id: str | None = None) -> Awaitable[PubAck]:
        if self._publisher_ is None:
            raise ContractError("the bus is not open: use `async with`")
        return self._publisher_.publish(subject, body, headers, msg_id)

    def publish_group(self, messages: Sequence[Outbound]) -> Awaitable[PubAck]:
        if self._publisher_ is None:
            raise ContractError("the bus is not open: use `async with`")
        return self._publisher_.publish_group(messages)

    def send(self, subject: str, body: bytes, *, headers: Headers | None = None, reply: str = "") -> None:
        self._connection.send(subject, body, headers, reply)

    def push(self) -> None:
        self._connection.wire.push()

    async def flush(self) -> None:
        await self._connection.flush(FLUSH_SECONDS)

    async def request(self, subject: str, body: bytes, *, headers: Headers | None = None, timeout_seconds: float = 5.0) -> Message:
        return await self._connection.request(subject, body, headers, timeout_seconds=timeout_seconds)

    async def subscribe(self, subject: str, handler: Handler, *, queue: str = "") -> CoreSubscription:
        await self._connection.wait_up(FLUSH_SECONDS)
        subscription = CoreSubscription(handler)
        try:
            await subscription.start(self._connection, check_subject(subject), queue)
        except errors.Error as error:
            raise Unreachable(f"cannot subscribe to {subject!r}: {error}") from error
        return subscription

    def new_inbox(self) -> str:
        return self._connection.new_inbox()

    async def serve(self, name: str, version: str, description: str, endpoints: Sequence[Endpoint]) -> JetStreamService:
        await self._connection.wait_up(FLUSH_SECONDS)
        service = JetStreamService(self._connection, (name, version, description), endpoints)
        await service.start()
        self._open.append(service)
        return service


class CoreSubscription:
    """A core NATS subscription; nats-py's task calls the handler, one message after another."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._subscription: NatsSubscription | None = None

    async def start(self, connection: Connection, subject: str, queue: str) -> None:
        """Subscribe. When this returns, the server knows of it."""
        self._subscription = await connection.wire.subscribe(subject, queue=queue, cb=self._deliver)
        await connection.subscriptions_known(FLUSH_SECONDS)

    async def close(self) -> None:
        """Stop listening; a handler that is running is cancelled. Idempotent."""
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            try:
                await subscription.unsubscribe()
            except errors.Error as error:
                log.debug("bus.unsubscribe_failed", error=str(error))

    async def _deliver(self, message: Msg) -> None:
        try:
            await self._handler(Message(message.subject, message.data, dict(message.headers or {}), message.reply))
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            log.exception("bus.handler_cancelled", subject=message.subject)  # it awaited something that was cancelled
        except Exception:  # one bad message must not end the subscription
            log.exception("bus.handler_failed", subject=message.subject)
