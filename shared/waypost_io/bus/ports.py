"""What Waypost asks of a message bus. Two adapters keep this contract: `jetstream` and `memory`; one conformance suite tests both.

Owns the contract only. Nothing here knows a subject of Waypost's, a message type, or NATS.

Delivery is at least once, in order per consumer until something is redelivered. An ack is fire-and-forget: losing one costs a
redelivery, which every handler tolerates. `give_back` inverts order (CORRECTNESS.md row 9), so it is for consumers whose messages have none
(tasks, work, tool calls), and for a process that leaves; a handler that cannot go on lets `ack_wait` pass.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, Self

Headers = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamSpec:
    """A stream as it must be. `subjects_in` are what it captures; `transform` rewrites them before they are stored."""

    name: str
    subjects: tuple[str, ...]
    retention: Literal["work_queue", "limits"]
    storage: Literal["file", "memory"] = "file"
    max_bytes: int = 1 << 30
    max_age_seconds: float = 0.0
    max_message_bytes: int = 512 * 1024
    discard: Literal["new", "old"] = "new"
    replicas: int = 1
    transform: tuple[str, str] | None = None
    allow_message_ttl: bool = False
    duplicate_window_seconds: float = 120.0
    allow_groups: bool = False
    """`Bus.publish_group` may confirm several messages at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerSpec:
    """A durable pull consumer as it must be. `inactive_seconds`: the server drops it when nobody pulls for so long; 0: never.

    `new_only`: it begins with what is published after it was made.
    `storage`: `memory` where a restart of the server may forget it, with what it had delivered: whoever pulls makes it again, and all
    that is in the stream comes again. The server writes the state of the others to a file each, several times a second (ADR 0188).
    """

    stream: str
    name: str
    filter_subject: str
    ack_wait_seconds: float = 30.0
    max_ack_pending: int = 10_000
    inactive_seconds: float = 0.0
    new_only: bool = False
    storage: Literal["file", "memory"] = "file"


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamMark:
    """Identity and progress of a stream: a changed `created` or a smaller `last_seq` means wiped or restored (row 16)."""

    name: str
    created: str
    last_seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerLoad:
    """What a consumer has still to deliver (`pending`), and what it has delivered and nobody has acked yet (`unacked`)."""

    name: str
    filter_subject: str
    pending: int
    unacked: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamLoad:
    """How full a stream is, and what waits in it for whom. `max_bytes` is 0 when it has no limit."""

    name: str
    messages: int
    bytes: int
    max_bytes: int
    consumers: tuple[ConsumerLoad, ...] = ()


@dataclass(frozen=True, slots=True)
class PubAck:
    """JetStream stored the message (or had it: `duplicate`)."""

    stream: str
    seq: int
    duplicate: bool = False


@dataclass(slots=True)  # not frozen, which costs more than the rest of it: there is one per event
class Outbound:
    """A message to publish to JetStream. `msg_id` makes publishing it again harmless."""

    subject: str
    body: bytes
    msg_id: str
    headers: Headers | None = None
    block: bytes = b""
    """Headers already encoded, lines `name: value` that end in CRLF, in place of `headers`. Whoever gives them vouches for them."""


GROUP_MOST = 250
"""Messages of one group."""


class Delivery(Protocol):
    """One delivered message of a consumer."""

    @property
    def subject(self) -> str: ...
    @property
    def body(self) -> bytes: ...
    @property
    def headers(self) -> Headers: ...
    @property
    def stream_seq(self) -> int: ...
    @property
    def timestamp(self) -> float:
        """When the stream stored it, Unix seconds; the same on every delivery."""
        ...

    @property
    def delivered(self) -> int:
        """1 at the first delivery by this consumer."""
        ...

    @property
    def consumer_since(self) -> float:
        """When its consumer was made, Unix seconds by the clock of `timestamp`: one that it replaced may have delivered what is older."""
        ...

    def ack(self) -> None:
        """Done with it. Does not wait; idempotent."""
        ...

    def in_progress(self) -> None:
        """Still working on it: the ack wait starts again. Does not wait."""
        ...

    def give_back(self) -> None:
        """Not begun, or let go, by a process that leaves: another puller of the consumer gets it at once. Does not wait; idempotent.

        Where it cannot be sent the ack wait passes. Not for mail, whose order matters.
        """
        ...


class Puller(Protocol):
    """Takes messages of one consumer. One task at a time may call `next_batch`."""

    async def next_batch(self, limit: int) -> Sequence[Delivery]:
        """At least one message, at most `limit`, what is there now; waits without cost while there is none.

        Survives reconnects, server restarts and lost pull requests by itself. Raises `NotFound` when the consumer or its stream
        is gone (deleted, wiped), so that its owner can make it again. Cancelling loses no message: what had arrived is
        returned by the next call, or redelivered after the ack wait.
        """
        ...

    async def close(self) -> None:
        """Stop pulling. Idempotent.

        Messages handed out and not acked come again after the ack wait. What had arrived and was not handed out goes to the
        consumer's other pullers at once, in any order.
        """
        ...


@dataclass(frozen=True, slots=True)
class Message:
    """A core NATS message."""

    subject: str
    body: bytes
    headers: Headers = field(default_factory=dict)
    reply: str = ""


class Subscription(Protocol):
    async def close(self) -> None: ...


class Service(Protocol):
    async def close(self) -> None: ...


Handler = Callable[[Message], Awaitable[None]]
EndpointHandler = Callable[[Message], Awaitable[bytes | tuple[bytes, Headers]]]
"""Returns the answer's body, or body and headers. A `WaypostError` becomes an error answer by its `code`; anything else a 500."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One request/reply endpoint of a service: `name` with '-', `subject` with '.'."""

    name: str
    subject: str
    handler: EndpointHandler


class Bus(Protocol):
    """A connection. Use as an async context manager: entering connects (raises `Unreachable`), leaving drains and closes."""

    async def __aenter__(self) -> Self: ...
    async def __aexit__(self, *exc: object) -> None: ...

    @property
    def connected(self) -> bool: ...

    def on_reconnect(self, callback: Callable[[], None]) -> None:
        """Call after every reconnect (also of a restarted or wiped server). The callback must not raise or block."""
        ...

    async def ensure_stream(self, spec: StreamSpec) -> StreamMark:
        """Create the stream or bring its changeable settings to the spec. Idempotent.

        Raises `Misconfigured` naming each setting that differs and cannot be changed in place (storage, retention).
        """
        ...

    async def stream_mark(self, name: str) -> StreamMark | None:
        """None when there is no such stream."""
        ...

    async def purge(self, stream: str, subject: str | None = None) -> int:
        """Remove messages (of one filter subject); the number removed. No such stream: 0."""
        ...

    async def subjects(self, stream: str, subject: str) -> dict[str, int]:
        """The subjects of a stream's messages that match a filter subject, with how many lie on each. No such stream: none."""
        ...

    async def load(self, stream: str) -> StreamLoad | None:
        """How much waits in a stream, and per consumer (the first few thousand). One request per 256 consumers. None when there is no
        such stream."""
        ...

    async def ensure_consumer(self, spec: ConsumerSpec) -> None:
        """Create it if it is not there (`action: create`), compare it otherwise. Raises `NotFound` without its stream."""
        ...

    async def consumer_created(self, stream: str, name: str) -> str | None:
        """When it was created, which is its identity. None when it or its stream does not exist."""
        ...

    async def delete_consumer(self, stream: str, name: str) -> None:
        """Idempotent."""
        ...

    def pull(self, stream: str, consumer: str, *, max_in_hand: int = 1_000, prefetch: bool = True) -> Puller:
        """Start taking messages; nothing is asked of the server before the first `next_batch`.

        `max_in_hand` bounds what is requested or has arrived and is not handed out yet. `prefetch=False` asks for no more than
        `next_batch` was called for: a worker that calls it with its free slots hoards nothing that another could do.
        """
        ...

    def publish(self, subject: str, body: bytes, *, headers: Headers | None = None, msg_id: str | None = None) -> Awaitable[PubAck]:
        """Publish to JetStream. The call itself queues the message at once, in order; await the result for the confirmation.

        Pipelined: keep many in flight, the adapter bounds them. The awaitable raises `PublishTimeout` (it may be stored all the same),
        `TooLarge` (body plus headers past the limit: nothing was sent), `NotFound` (no stream takes the subject), or another
        `TransientError` when JetStream refuses it (a full stream). It is safe to drop the awaitable: no warning, no leak.
        With a `msg_id` it is sent again after a reconnect within the time limit; without one it fails when the connection breaks.
        """
        ...

    def publish_group(self, messages: Sequence[Outbound]) -> Awaitable[PubAck]:
        """Publish up to `GROUP_MOST` messages to one stream, queued at once and in order, with one confirmation: the last one's ack, once
        all of them are stored.

        Raises as `publish` does when it is not sure that all are. Any of them may be stored then; publish them again one by one, with
        `publish` and the same ids, so that one that cannot be stored does not hold up the others. The stream's `allow_groups` makes it
        cheap; without it the first group fails, and those after it are published one by one.
        """
        ...

    def send(self, subject: str, body: bytes, *, headers: Headers | None = None, reply: str = "") -> None:
        """Core NATS, fire and forget. While disconnected it is buffered up to a bound and then dropped. Raises `TooLarge`."""
        ...

    def push(self) -> None:
        """Hand what was sent and published so far to the socket now. Without it that happens at the end of the event loop's turn: for
        what others wait for while this turn goes on. Does not wait."""
        ...

    async def flush(self) -> None:
        """Wait until the server has seen everything sent so far. Raises `Unreachable` after the time limit."""
        ...

    async def request(self, subject: str, body: bytes, *, headers: Headers | None = None, timeout_seconds: float = 5.0) -> Message:
        """Core request/reply. Raises `Unreachable` when nobody answers in time or nobody listens."""
        ...

    async def subscribe(self, subject: str, handler: Handler, *, queue: str = "") -> Subscription:
        """Core subscription. The handler runs one message after another; its exceptions are logged, never lost."""
        ...

    def new_inbox(self) -> str:
        """A unique subject that only this connection listens to once it subscribes."""
        ...

    async def serve(self, name: str, version: str, description: str, endpoints: Sequence[Endpoint]) -> Service:
        """Host a NATS service (`nats micro ls`). Each endpoint handles requests concurrently, within a bound."""
        ...
