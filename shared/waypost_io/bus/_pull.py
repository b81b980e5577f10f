"""Pulling one consumer with raw pull requests. Owns the demand it has at the server and what arrived and is not handed out.

nats-py's `fetch` stalls for batches, loses pulls when cancelled and hides a deleted consumer (FACTS.md); this does not use it.
One inbox subscription lives as long as the puller. A request for `batch` messages is put when the demand falls below half of
the target, so under load no round trip is waited for; with nothing to do there is one request per `pull_expires_seconds`.

A puller is *verified* before it pulls and after each reconnect, error status or silence: it reads the consumer's creation time. The same
consumer as before: go on, and acks that were held go out. Another one of the same name (wiped and made again): acks of older
deliveries are dropped, because the server goes by the sequence alone and would remove another message. None: `NotFound`.
Protocol: https://docs.nats.io/reference/reference-protocols/nats_api_reference and nats-server `server/consumer.go`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from datetime import datetime
from enum import Enum

import msgspec
import structlog
from nats.aio.subscription import Subscription

from waypost_io.bus._api import JetStreamApi
from waypost_io.bus._connection import Connection
from waypost_io.bus._frames import decode_headers, publish_frame, status_of
from waypost_io.bus.ports import Headers
from waypost_proto.errors import ContractError, NotFound, TransientError, WaypostError

log = structlog.get_logger(__name__)

CLOSE_SECONDS = 1.0
"""How long closing waits for what the server has sent already."""
RETRY_SECONDS = 0.25
"""Pause before asking again when the server could not say whether the consumer is there."""
_HEARTBEAT = "100"
_NOTHING = ("404", "408")
"""Nothing there; the request has expired."""
_SHORT_ACK_TOKENS = 9
"""`$JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<time>.<pending>`; the long form has
`<domain>.<account hash>` after `ACK` and one more at the end (nats-server ADR-15)."""


class _State(Enum):
    NEW = "new"  # not verified yet, or NotFound was raised: the next call of next_batch verifies
    VERIFYING = "verifying"
    PULLING = "pulling"
    DOWN = "down"
    GONE = "gone"
    CLOSED = "closed"


class JetStreamDelivery:
    """One message of a pull. Everything but the body is decoded when asked for."""

    __slots__ = ("_acked", "_epoch", "_headers", "_puller", "_reply", "_subject", "_tokens", "body")

    def __init__(self, puller: JetStreamPuller, epoch: str, message: tuple[bytes, bytes, bytes, bytes | None]) -> None:
        self._puller = puller
        self._epoch = epoch
        self._subject, self._reply, self.body, self._headers = message
        self._tokens: list[bytes] | None = None
        self._acked = False

    @property
    def subject(self) -> str:
        return self._subject.decode()

    @property
    def headers(self) -> Headers:
        return decode_headers(self._headers)

    @property
    def stream_seq(self) -> int:
        return int(self._meta()[1])

    @property
    def timestamp(self) -> float:
        return int(self._meta()[3]) / 1e9

    @property
    def delivered(self) -> int:
        return int(self._meta()[0])

    @property
    def consumer_since(self) -> float:
        return datetime.fromisoformat(self._epoch).timestamp()

    def ack(self) -> None:
        if not self._acked:
            self._acked = True
            self._puller.acknowledge(self._epoch, self._reply)

    def in_progress(self) -> None:
        if not self._acked:
            self._puller.progress(self._epoch, self._reply)

    def give_back(self) -> None:
        if not self._acked:
            self._acked = True
            self._puller.give_back(self._epoch, self._reply)

    def _meta(self) -> list[bytes]:
        """Delivered, stream sequence, consumer sequence, time: the four tokens after the consumer's name."""
        if self._tokens is None:
            tokens = self._reply.split(b".")
            first = 4 if len(tokens) == _SHORT_ACK_TOKENS else 6
            self._tokens = tokens[first : first + 4]
        return self._tokens


class JetStreamPuller:
    """`Puller` on JetStream; see the module's docstring. At most one task calls `next_batch` at a time."""

    def __init__(self, connection: Connection, api: JetStreamApi, consumer: tuple[str, str], target: int, prefetch: bool) -> None:
        self._connection = connection
        self._tuning = connection.tuning
        self._api = api
        self._stream, self._consumer = consumer
        self._next_subject = f"$JS.API.CONSUMER.MSG.NEXT.{self._stream}.{self._consumer}"
        self._most = target
        self._prefetch = prefetch
        self._target = target if prefetch else 0
        self._state = _State.NEW
        self._epoch = ""
        self._ready: deque[JetStreamDelivery] = deque()
        self._demand = 0
        self._held_acks: list[bytes] = []
        self._waiter: asyncio.Future[None] | None = None
        self._problem: Exception | None = None
        self._subscription: Subscription | None = None
        self._inbox = ""
        self._round = 0
        self._heard_at = 0.0
        self._delivered = False
        """Since the last look: messages say as much as a heartbeat, which the server sends only when there are none."""
        self._watch: asyncio.TimerHandle | None = None
        self._retry: asyncio.TimerHandle | None = None
        self._checks: set[asyncio.Task[None]] = set()
        self._closed_at = -1
        self._troubled = False
        self._busy = False

    @property
    def closed(self) -> bool:
        return self._state is _State.CLOSED

    # -- the port

    async def next_batch(self, limit: int) -> Sequence[JetStreamDelivery]:
        """See `Puller.next_batch`."""
        if limit < 1 or self._busy:
            raise ContractError(f"next_batch(limit={limit}): one caller at a time, and limit at least 1")
        self._busy = True
        try:
            await self._fill(limit)
        finally:
            self._busy = False
        ready = self._ready
        if len(ready) <= limit:
            batch = list(ready)
            ready.clear()
        else:
            batch = [ready.popleft() for _ in range(limit)]
        if self._prefetch:
            self._ask()
        else:
            self._target = max(0, self._target - len(batch))
        return batch

    async def _fill(self, limit: int) -> None:
        """Wait until something has arrived."""
        if self._state is _State.NEW:
            await self._start()
        if not self._prefetch:
            self._target = min(limit, self._most)
        while not self._ready:
            self._raise_if_over()
            self._ask()
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None

    async def close(self) -> None:
        """See `Puller.close`. What arrived and was not handed out is given back at once, so that others need not wait for it.

        So is what was on its way: the subscription ends at the server first, and here only after the server's answer to that.
        """
        if self._state is _State.CLOSED:
            return
        usable = self._state is _State.PULLING and self._connection.up
        self._state = _State.CLOSED
        self._closed_at = self._connection.generation
        self._connection.remove_hooks(self._went_down, self._came_up)
        for timer in (self._watch, self._retry):
            if timer is not None:
                timer.cancel()
        for check in self._checks:
            check.cancel()
        self._wake()
        if usable:
            for delivery in self._ready:
                delivery.give_back()
        self._ready.clear()
        if self._subscription is not None:
            try:
                if usable:
                    await self._connection.wire.last_messages(self._subscription, CLOSE_SECONDS)
            finally:
                await self._connection.wire.remove_sink(self._subscription)

    # -- acks

    def acknowledge(self, epoch: str, reply: bytes) -> None:
        """Send an ack, hold it while it is not sure that the consumer is the same, drop it when it is another."""
        if epoch != self._epoch:
            return
        frame = b"PUB %b 0\r\n\r\n" % reply
        if self._may_answer():
            self._connection.wire.write_soon(frame)
        elif self._state in (_State.VERIFYING, _State.DOWN, _State.PULLING):
            self._held_acks.append(frame)

    def progress(self, epoch: str, reply: bytes) -> None:
        """Send a heartbeat; one that cannot be sent now is worth nothing later."""
        if epoch == self._epoch and self._may_answer():
            self._connection.wire.write_soon(b"PUB %b 4\r\n+WPI\r\n" % reply)

    def give_back(self, epoch: str, reply: bytes) -> None:
        """Have a message delivered again at once; one that cannot be given back now comes after the ack wait."""
        if epoch == self._epoch and self._may_answer():
            self._connection.wire.write(b"PUB %b 4\r\n-NAK\r\n" % reply)

    def _may_answer(self) -> bool:
        if self._state is _State.CLOSED:
            return self._connection.up and self._connection.generation == self._closed_at
        return self._state is _State.PULLING and self._connection.up

    # -- life

    async def _start(self) -> None:
        if self._subscription is None:
            self._inbox = self._connection.new_inbox()
            self._subscription = await self._connection.add_sink(f"{self._inbox}.*", self._received)
            self._connection.on_down(self._went_down)
            self._connection.on_up(self._came_up)
        self._problem = None
        self._state = _State.DOWN
        if self._connection.up:  # otherwise the reconnect does it
            self._verify()

    def _raise_if_over(self) -> None:
        if self._state is _State.CLOSED:
            raise ContractError(f"the puller of {self._stream}/{self._consumer} is closed")
        if self._state is _State.GONE:
            self._state = _State.NEW
            raise NotFound(f"consumer {self._consumer!r} of stream {self._stream!r} does not exist: make it again")
        if self._problem is not None:
            problem, self._problem = self._problem, None
            raise problem

    def _went_down(self) -> None:
        if self._state is not _State.CLOSED:
            self._demand = 0
            if self._state not in (_State.NEW, _State.GONE):
                self._state = _State.DOWN

    def _came_up(self) -> None:
        if self._state is _State.DOWN:
            self._verify()

    def _verify(self) -> None:
        """Find out, in the background, whether the consumer is still there and the same; then pull."""
        if self._state in (_State.VERIFYING, _State.CLOSED):
            return
        self._state = _State.VERIFYING
        self._demand = 0
        self._round += 1  # statuses of older requests are recognised by their subject and ignored
        check = asyncio.get_running_loop().create_task(self._check(self._round), name=f"verify {self._stream}/{self._consumer}")
        self._checks.add(check)
        check.add_done_callback(self._checks.discard)

    def _verify_later(self) -> None:
        self._state = _State.DOWN
        if self._connection.up:  # otherwise the reconnect does it
            self._retry = asyncio.get_running_loop().call_later(RETRY_SECONDS, self._came_up)

    async def _check(self, this_round: int) -> None:
        try:
            created = await self._api.consumer_created(self._stream, self._consumer)
        except TransientError as error:
            if self._state is _State.VERIFYING and this_round == self._round:
                log.debug("bus.verify_again", stream=self._stream, consumer=self._consumer, error=str(error))
                self._verify_later()
            return
        except WaypostError as error:
            self._state, self._problem = _State.NEW, error
            self._wake()
            return
        if self._state is not _State.VERIFYING or this_round != self._round:
            return
        if created is None:
            self._held_acks.clear()
            self._epoch = ""
            self._state = _State.GONE
            self._wake()
            return
        if created != self._epoch:
            self._held_acks.clear()
            self._epoch = created
        self._state = _State.PULLING
        for frame in self._held_acks:
            self._connection.wire.write(frame)
        self._held_acks.clear()
        self._ask()

    # -- demand

    def _ask(self) -> None:
        """Put a pull request when what is asked for and what has arrived fall to half of the target."""
        if self._state is not _State.PULLING or not self._connection.up:
            return
        in_hand = len(self._ready) + self._demand
        if in_hand >= self._target or (self._prefetch and in_hand * 2 > self._target):
            return
        batch = self._target - in_hand
        self._demand += batch
        request = {
            "batch": batch,
            "expires": int(self._tuning.pull_expires_seconds * 1e9),
            "idle_heartbeat": int(self._tuning.pull_heartbeat_seconds * 1e9),
        }
        frame = publish_frame(self._next_subject, f"{self._inbox}.{self._round}", b"", msgspec.json.encode(request))
        self._connection.wire.write(frame)
        loop = asyncio.get_running_loop()
        self._heard_at = loop.time()
        if self._watch is None:
            self._watch = loop.call_later(self._patience, self._look, loop)

    @property
    def _patience(self) -> float:
        return 2.5 * self._tuning.pull_heartbeat_seconds

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        """The server owes a heartbeat while it holds a request; without one it has forgotten it, or the consumer is gone."""
        self._watch = None
        if self._state is not _State.PULLING or self._demand <= 0:
            return
        if self._delivered:
            self._delivered = False
            self._heard_at = loop.time()
        left = self._heard_at + self._patience - loop.time()
        if left > 0:
            self._watch = loop.call_later(left, self._look, loop)
        elif self._connection.up:
            log.warning("bus.pull_silent", stream=self._stream, consumer=self._consumer)
            self._verify()

    # -- what arrives

    def _received(self, subject: bytes, reply: bytes, body: bytes, headers: bytes | None) -> None:
        if reply:  # only deliveries ask for an answer
            if self._state is _State.CLOSED:
                self.give_back(self._epoch, reply)
                return
            if self._demand:
                self._demand -= 1
            self._troubled = False
            self._delivered = True
            self._ready.append(JetStreamDelivery(self, self._epoch, (subject, reply, body, headers)))
            self._wake()
            return
        self._heard_at = asyncio.get_running_loop().time()
        if int(subject.rpartition(b".")[2]) != self._round or self._state is not _State.PULLING:
            return
        status = status_of(headers)
        if status == _HEARTBEAT:
            self._troubled = False
            return
        details = decode_headers(headers)
        self._demand = max(0, self._demand - int(details.get("Nats-Pending-Messages", "0")))
        if status in _NOTHING:
            self._troubled = False
            self._ask()
            return
        log.info("bus.pull_status", stream=self._stream, consumer=self._consumer, status=status, text=details.get("Description", ""))
        if self._troubled:  # it is there and refuses all the same: not in a tight loop
            self._verify_later()
        else:
            self._troubled = True
            self._verify()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
