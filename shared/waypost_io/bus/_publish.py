"""Pipelined publishes to JetStream with a time limit. Owns what is sent and not confirmed; one timer serves them all.

Every publish carries a reply subject `<inbox>.<n>`; the server answers there. At most `max_in_flight` messages (and
`max_in_flight_bytes`) are unconfirmed; the rest wait in order. When the connection breaks, publishes with a message id are sent
again after the reconnect, in their order and before anything newer (the server drops what it has already); those without an id
fail at once, because sending them again could store them twice. Nothing hangs: what is unconfirmed for `publish_timeout_seconds`
fails, connected or not. A group (`_groups`) is one publish here, under one number.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Sequence

import msgspec
from msgspec import Struct

from waypost_io.bus._connection import Connection
from waypost_io.bus._frames import NO_RESPONDERS, encode_headers, publish_frame, status_of
from waypost_io.bus._groups import Group, GroupsNotAllowed, headers_of, together
from waypost_io.bus.ports import GROUP_MOST, Headers, Outbound, PubAck
from waypost_proto.errors import ContractError, NotFound, PublishTimeout, TooLarge, TransientError, Unreachable, WaypostError

SWEEPS_PER_TIMEOUT = 10
"""How exact the time limit is: one tenth of it."""

ONE_BY_ONE_SECONDS = 60.0
"""After a stream has refused a group because its settings do not allow any: somebody may mend them."""
_UNIQUE_CHARS = 12
"""What of an inbox's last token nobody else has: nuid's prefix of a process."""
_TOO_LARGE_CODES = {10054}
"""JSStreamMessageExceedsMaximum. Source of all codes: nats-server `server/errors.json`."""
_GONE_CODES = {10059, 10060}
"""JSStreamNotFound, JSStreamNotMatch."""


class _JsError(Struct, frozen=True):
    code: int = 0
    err_code: int = 0
    description: str = ""


class _Answer(Struct, frozen=True):
    stream: str = ""
    seq: int = 0
    duplicate: bool = False
    error: _JsError | None = None


_decode_ack = msgspec.json.Decoder(PubAck).decode
_decode_answer = msgspec.json.Decoder(_Answer).decode


class _Publish:
    """One publish, or a group of them: its frame, who waits for it, and when it is too late."""

    __slots__ = ("count", "deadline", "frame", "future", "group", "repeatable", "size", "subject")

    def __init__(self, subject: str, frame: bytes, future: asyncio.Future[PubAck], deadline: float, repeatable: bool) -> None:
        self.subject = subject
        self.frame = frame
        self.future = future
        self.deadline = deadline
        self.repeatable = repeatable
        self.count = 1
        self.size = len(frame)
        self.group: Group | None = None
        """Its frame is made when it is sent: each time under another name."""


class Publisher:
    """Publishes of one connection. Made before the connection opens, started once it is open."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._tuning = connection.tuning
        self._loop = asyncio.get_running_loop()
        self._in_flight: dict[int, _Publish] = {}  # in order of sending, so the first is the next to time out
        self._in_flight_count = 0
        self._in_flight_bytes = 0
        self._waiting: deque[tuple[int, _Publish]] = deque()
        self._next = 0
        self._timer: asyncio.TimerHandle | None = None
        self._inbox = ""
        self._skip = 0
        self._group_inbox = b""
        self._group_skip = 0
        self._one_by_one_until = 0.0
        self._closed = False

    async def start(self) -> None:
        """Subscribe to the answers; the connection must be open."""
        self._inbox = self._connection.new_inbox()
        self._skip = len(self._inbox) + 1
        await self._connection.add_sink(f"{self._inbox}.*", self._answered)
        inbox = self._connection.new_inbox()
        self._group_inbox = f"{inbox}.{inbox.rpartition('.')[2][:_UNIQUE_CHARS]}".encode()
        self._group_skip = len(self._group_inbox)
        await self._connection.add_sink(f"{inbox}.>", self._group_answered)
        self._connection.on_down(self._went_down)
        self._connection.on_up(self._came_up)

    def close(self) -> None:
        """Fail what is unconfirmed. Idempotent."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        entries = [*self._in_flight.values(), *(entry for _, entry in self._waiting)]
        self._in_flight.clear()
        self._waiting.clear()
        for entry in entries:
            _fail(entry.future, PublishTimeout(f"publish to {entry.subject!r} was not confirmed before the bus was closed"))

    async def drain(self, timeout_seconds: float) -> None:
        """Wait until everything is confirmed or failed, at most so long."""
        futures = [entry.future for entry in self._in_flight.values()] + [entry.future for _, entry in self._waiting]
        if futures:
            await asyncio.wait(futures, timeout=timeout_seconds)

    def publish(self, subject: str, body: bytes, headers: Headers | None, msg_id: str | None) -> Awaitable[PubAck]:
        """Queue a message now; see `Bus.publish`."""
        try:
            block = encode_headers(headers, msg_id)
        except WaypostError as error:
            return self._failed(error)
        return self._publish(subject, body, block, repeatable=msg_id is not None)

    def publish_group(self, messages: Sequence[Outbound]) -> Awaitable[PubAck]:
        """Queue a group now; see `Bus.publish_group`."""
        if not 1 <= len(messages) <= GROUP_MOST:
            raise ContractError(f"publish_group: {len(messages)} messages, at least 1 and at most {GROUP_MOST}")
        try:
            if len(messages) == 1 or self._loop.time() < self._one_by_one_until:
                single = [self._publish(each.subject, each.body, headers_of(each), repeatable=True) for each in messages]
                return together(single) if len(single) > 1 else single[0]
            group = Group(messages, limit=self._connection.limit)
            self._check_open()
        except WaypostError as error:
            return self._failed(error)
        future: asyncio.Future[PubAck] = self._loop.create_future()
        entry = _Publish(group.subject, b"", future, self._loop.time() + self._tuning.publish_timeout_seconds, repeatable=True)
        entry.group, entry.count, entry.size = group, len(messages), group.size
        n = self._next = self._next + 1
        self._queue(n, entry)
        return future

    def _publish(self, subject: str, body: bytes, headers: bytes, *, repeatable: bool) -> asyncio.Future[PubAck]:
        n = self._next = self._next + 1
        try:
            frame = publish_frame(subject, f"{self._inbox}.{n}", headers, body, limit=self._connection.limit)
            self._check_open()
        except WaypostError as error:
            return self._failed(error)
        future: asyncio.Future[PubAck] = self._loop.create_future()
        self._queue(n, _Publish(subject, frame, future, self._loop.time() + self._tuning.publish_timeout_seconds, repeatable))
        return future

    def _failed(self, error: WaypostError) -> asyncio.Future[PubAck]:
        future: asyncio.Future[PubAck] = self._loop.create_future()
        _fail(future, error)
        return future

    def _check_open(self) -> None:
        if self._closed:
            raise Unreachable("the bus is closed")
        if len(self._waiting) >= self._tuning.max_queued:
            raise PublishTimeout(f"{len(self._waiting)} publishes wait already: await some of them before publishing more")

    def _queue(self, n: int, entry: _Publish) -> None:
        if self._waiting or not self._has_room(entry):
            self._waiting.append((n, entry))
        else:
            self._send(n, entry)
        if self._timer is None:
            self._arm(self._loop)

    # -- sending

    def _has_room(self, entry: _Publish) -> bool:
        return self._connection.up and (
            not self._in_flight
            or (
                self._in_flight_count + entry.count <= self._tuning.max_in_flight
                and self._in_flight_bytes + entry.size <= self._tuning.max_in_flight_bytes
            )
        )

    def _send(self, n: int, entry: _Publish) -> None:
        self._in_flight[n] = entry
        self._in_flight_count += entry.count
        self._in_flight_bytes += entry.size
        self._write(n, entry)

    def _write(self, n: int, entry: _Publish) -> None:
        if entry.group is not None:  # a batch that a broken connection left half sent is not to be gone on with
            frame = entry.group.frame(b"%b-%d-%d" % (self._group_inbox, self._connection.generation, n))
        else:
            frame = entry.frame
        self._connection.wire.write(frame)

    def _send_waiting(self) -> None:
        waiting = self._waiting
        if not waiting:
            return
        deadline = self._loop.time() + self._tuning.publish_timeout_seconds
        while waiting and self._has_room(waiting[0][1]):
            n, entry = waiting.popleft()
            if not entry.future.done():
                entry.deadline = deadline
                self._send(n, entry)

    def _went_down(self) -> None:
        # Keeping only what may be sent again keeps the order of the rest.
        for n in [n for n, entry in self._in_flight.items() if not entry.repeatable]:
            entry = self._take(n)
            why = "the connection was lost before JetStream confirmed it; it may be stored all the same"
            _fail(entry.future, PublishTimeout(f"publish to {entry.subject!r}: {why}"))

    def _came_up(self) -> None:
        for n, entry in self._in_flight.items():
            self._write(n, entry)
        self._send_waiting()

    def _take(self, n: int) -> _Publish:
        entry = self._in_flight.pop(n)
        self._in_flight_count -= entry.count
        self._in_flight_bytes -= entry.size
        return entry

    # -- answers

    def _answered(self, subject: bytes, _reply: bytes, body: bytes, headers: bytes | None) -> None:
        n = int(subject[self._skip :])
        if n not in self._in_flight:
            return  # it timed out, or this is the second answer of a publish that was sent again
        entry = self._take(n)
        if not entry.future.done():
            if headers is None and b'"error"' not in body:
                entry.future.set_result(_decode_ack(body))
            else:
                _settle(entry, body, headers)
        if self._waiting:
            self._send_waiting()

    def _group_answered(self, subject: bytes, _reply: bytes, body: bytes, headers: bytes | None) -> None:
        _, _, number = subject[self._group_skip :].split(b".", 1)[0].split(b"-")
        n = int(number)
        entry = self._in_flight.get(n)
        if entry is None or entry.group is None:
            return
        outcome = entry.group.heard(subject, body, headers)
        if outcome is None:
            return
        self._take(n)
        if isinstance(outcome, WaypostError):
            if isinstance(outcome, GroupsNotAllowed):
                self._one_by_one_until = self._loop.time() + ONE_BY_ONE_SECONDS
            _fail(entry.future, outcome)
        elif not entry.future.done():
            entry.future.set_result(outcome)
        if self._waiting:
            self._send_waiting()

    # -- time limit

    def _arm(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = loop.call_later(self._tuning.publish_timeout_seconds / SWEEPS_PER_TIMEOUT, self._sweep, loop)

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        now = loop.time()
        while self._in_flight:
            n = next(iter(self._in_flight))
            if self._in_flight[n].deadline > now:
                break
            self._expire(self._take(n), "it may be stored all the same")
        # While connected the queue moves, because what is ahead of it is confirmed or times out; while not, it must not hang.
        while self._waiting and not self._connection.up and self._waiting[0][1].deadline <= now:
            self._expire(self._waiting.popleft()[1], "it was not sent")
        self._send_waiting()
        if self._in_flight or self._waiting:
            self._arm(loop)

    def _expire(self, entry: _Publish, fate: str) -> None:
        seconds = self._tuning.publish_timeout_seconds
        state = "" if self._connection.up else " (not connected)"
        _fail(
            entry.future,
            PublishTimeout(f"JetStream did not confirm a publish to {entry.subject!r} within {seconds:g} s{state}; {fate}"),
        )


def _settle(entry: _Publish, body: bytes, headers: bytes | None) -> None:
    if status_of(headers) == NO_RESPONDERS:
        _fail(entry.future, NotFound(f"no stream takes {entry.subject!r}: it is missing or JetStream is not enabled"))
        return
    try:
        answer = _decode_answer(body)
    except msgspec.DecodeError as error:
        _fail(entry.future, TransientError(f"publish to {entry.subject!r}: unreadable answer {body[:80]!r}: {error}"))
        return
    if answer.error is None:
        entry.future.set_result(PubAck(answer.stream, answer.seq, answer.duplicate))
    else:
        _fail(entry.future, _error_of(entry.subject, answer.error))


def _error_of(subject: str, error: _JsError) -> WaypostError:
    text = f"JetStream refused a publish to {subject!r}: {error.description} (err_code {error.err_code})"
    if error.err_code in _TOO_LARGE_CODES:
        return TooLarge(text)
    if error.err_code in _GONE_CODES:
        return NotFound(text)
    return TransientError(f"{text}; nothing was stored, try again later")


def _fail(future: asyncio.Future[PubAck], error: WaypostError) -> None:
    if not future.done():
        future.set_exception(error)
        future.exception()  # marks it as seen: who drops the awaitable gets no warning
