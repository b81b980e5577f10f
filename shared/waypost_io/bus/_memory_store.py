"""Streams and consumers in memory, with JetStream's rules where Waypost relies on them. Owns no task, no clock, no timer of its own.

Time comes from `now` and `call_later`, so that a simulation can replay it. What is kept: sequences without reuse, duplicate ids within the
window, work-queue removal on ack, redelivery after the ack wait, age, size and per-message lifetimes, the subject transform.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import takewhile
from typing import Protocol

from waypost_io.bus.ports import ConsumerLoad, ConsumerSpec, Headers, PubAck, StreamLoad, StreamMark, StreamSpec
from waypost_proto.errors import Misconfigured, NotFound, TooLarge, TransientError
from waypost_proto.ids import RunId, partition_of

TTL_HEADER = "Nats-TTL"


class Timer(Protocol):
    def cancel(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Time:
    """Unix seconds, and a way to be called later."""

    now: Callable[[], float]
    call_later: Callable[[float, Callable[[], None]], Timer]


@dataclass(frozen=True, slots=True)
class Stored:
    """A message in a stream."""

    seq: int
    subject: str
    body: bytes
    headers: Headers
    at: float
    expires_at: float

    @property
    def size(self) -> int:
        return len(self.body) + sum(len(name) + len(value) + 4 for name, value in self.headers.items())


class MemoryStream:
    """One stream. `created` tells two streams of one name apart."""

    def __init__(self, spec: StreamSpec, created: str, time: Time) -> None:
        self.spec = spec
        self.created = created
        self.consumers: dict[str, MemoryConsumer] = {}
        self.messages: dict[int, Stored] = {}
        self._time = time
        self._last_seq = 0
        self._bytes = 0
        self._ids: dict[str, tuple[int, float]] = {}  # in order of time
        self._mortal: list[tuple[float, int]] = []  # heap of when which sequence's time is over

    def mark(self) -> StreamMark:
        return StreamMark(name=self.spec.name, created=self.created, last_seq=self._last_seq)

    def takes(self, subject: str) -> bool:
        return any(matches(pattern, subject) for pattern in self.spec.subjects)

    def reconfigure(self, spec: StreamSpec) -> None:
        """Bring the stream to `spec`. Raises `Misconfigured` for what cannot change in place."""
        fixed = [
            f"{name} is {found!r} and must be {wanted!r}"
            for name, found, wanted in (
                ("storage", self.spec.storage, spec.storage),
                ("retention", self.spec.retention, spec.retention),
            )
            if found != wanted
        ]
        if fixed:
            raise Misconfigured(f"stream {spec.name!r} exists with settings that cannot be changed in place: {'; '.join(fixed)}")
        self.spec = spec

    def store(self, subject: str, body: bytes, headers: Headers, msg_id: str | None) -> PubAck:
        """Keep a message, unless it is a duplicate. Raises `TooLarge`, or `TransientError` when the stream is full."""
        now = self._time.now()
        self._expire(now)
        if msg_id is not None and msg_id in self._ids:
            return PubAck(self.spec.name, self._ids[msg_id][0], duplicate=True)
        message = Stored(self._last_seq + 1, self._transformed(subject), body, headers, now, self._lifetime(headers, now))
        if message.size > self.spec.max_message_bytes:
            raise TooLarge(f"message to {subject!r}: {message.size} bytes, stream {self.spec.name!r} takes {self.spec.max_message_bytes}")
        if self._bytes + message.size > self.spec.max_bytes:
            if self.spec.discard == "new":
                raise TransientError(f"stream {self.spec.name!r} is full ({self.spec.max_bytes} bytes); nothing was stored")
            while self.messages and self._bytes + message.size > self.spec.max_bytes:
                self.remove(next(iter(self.messages)))
        self._last_seq = message.seq
        self.messages[message.seq] = message
        self._bytes += message.size
        if message.expires_at < math.inf:
            heapq.heappush(self._mortal, (message.expires_at, message.seq))
        if msg_id is not None:
            self._ids[msg_id] = (message.seq, now)
        for consumer in self.consumers.values():
            consumer.offer(message)
        return PubAck(self.spec.name, message.seq)

    def remove(self, seq: int) -> None:
        message = self.messages.pop(seq, None)
        if message is not None:
            self._bytes -= message.size

    def purge(self, subject: str | None) -> int:
        gone = [seq for seq, message in self.messages.items() if subject is None or matches(subject, message.subject)]
        for seq in gone:
            self.remove(seq)
        return len(gone)

    def subjects(self, subject: str) -> dict[str, int]:
        """See `Bus.subjects`."""
        self._expire(self._time.now())
        return dict(Counter(message.subject for message in self.messages.values() if matches(subject, message.subject)))

    def load(self) -> StreamLoad:
        """See `Bus.load`."""
        self._expire(self._time.now())
        return StreamLoad(
            name=self.spec.name,
            messages=len(self.messages),
            bytes=self._bytes,
            max_bytes=self.spec.max_bytes,
            consumers=tuple(consumer.load() for consumer in self.consumers.values()),
        )

    def live(self, seq: int) -> Stored | None:
        """The message, unless it was removed or its time is over."""
        self._expire(self._time.now())
        return self.messages.get(seq)

    def ensure_consumer(self, spec: ConsumerSpec, created: str) -> None:
        """Make or change a consumer. Raises `Misconfigured` when its filter overlaps another's on a work queue."""
        found = self.consumers.get(spec.name)
        for other in self.consumers.values():
            if self.spec.retention == "work_queue" and other is not found and overlap(other.spec.filter_subject, spec.filter_subject):
                raise Misconfigured(
                    f"consumer {spec.name!r} of stream {self.spec.name!r} (filter {spec.filter_subject!r}): "
                    f"it overlaps with {other.spec.name!r}, and a work queue allows one consumer per message"
                )
        if found is not None:
            found.spec = replace(spec, storage=found.spec.storage)  # where it lies cannot be changed
            return
        consumer = MemoryConsumer(self, spec, created, self._time)
        self.consumers[spec.name] = consumer
        for message in () if spec.new_only else self.messages.values():
            consumer.offer(message)

    def drop_consumer(self, name: str) -> None:
        consumer = self.consumers.pop(name, None)
        if consumer is not None:
            consumer.end()

    def end(self) -> None:
        """The stream is gone: so are its consumers."""
        for name in list(self.consumers):
            self.drop_consumer(name)

    def _transformed(self, subject: str) -> str:
        if self.spec.transform is None or not matches(self.spec.transform[0], subject):
            return subject
        return transformed(subject, *self.spec.transform)

    def _lifetime(self, headers: Headers, now: float) -> float:
        ends = [now + self.spec.max_age_seconds] if self.spec.max_age_seconds else []
        if TTL_HEADER in headers:
            if not self.spec.allow_message_ttl:
                raise Misconfigured(f"stream {self.spec.name!r} allows no lifetime per message")
            ends.append(now + float(headers[TTL_HEADER].removesuffix("s")))
        return min(ends, default=math.inf)

    def _expire(self, now: float) -> None:
        while self._ids:
            msg_id = next(iter(self._ids))
            if self._ids[msg_id][1] + self.spec.duplicate_window_seconds > now:
                break
            del self._ids[msg_id]
        while self._mortal and self._mortal[0][0] <= now:
            self.remove(heapq.heappop(self._mortal)[1])


class MemoryConsumer:
    """One pull consumer: what it has still to deliver, what is out, and who waits for it."""

    def __init__(self, stream: MemoryStream, spec: ConsumerSpec, created: str, time: Time) -> None:
        self.spec = spec
        self.created = created
        self.since = time.now()
        """When it was made, Unix seconds by the clock that says when messages were stored."""
        self.alive = True
        self.waiters: list[Callable[[], None]] = []
        """Called, once each, when there may be something to take, or the consumer is gone."""
        self._stream = stream
        self._time = time
        self._fresh: deque[int] = deque()
        self._again: deque[int] = deque()
        self._out: dict[int, float] = {}  # sequence -> when its ack wait ends
        self._counts: dict[int, int] = {}
        self._timer: Timer | None = None
        self._pullers = 0
        self._idle: Timer | None = None
        self._watch_idle()

    def offer(self, message: Stored) -> None:
        """A message was stored; take note if the filter wants it."""
        if matches(self.spec.filter_subject, message.subject):
            self._fresh.append(message.seq)
            self._wake()

    def take(self, limit: int) -> list[tuple[Stored, int]]:
        """Up to `limit` messages with how often each was delivered, redeliveries first. Their ack wait begins."""
        taken: list[tuple[Stored, int]] = []
        ends_at = self._time.now() + self.spec.ack_wait_seconds
        while len(taken) < limit and (self._again or self._fresh) and len(self._out) < self.spec.max_ack_pending:
            seq = (self._again or self._fresh).popleft()
            message = self._stream.live(seq)
            if message is None:
                self._counts.pop(seq, None)
                continue
            self._counts[seq] = self._counts.get(seq, 0) + 1
            self._out[seq] = ends_at
            taken.append((message, self._counts[seq]))
        if taken:
            self._arm()
        return taken

    def load(self) -> ConsumerLoad:
        """What is still to deliver, and what is out."""
        fresh = sum(1 for seq in self._fresh if self._stream.live(seq) is not None)
        out = len(self._out) + len(self._again)  # as JetStream counts: what will be delivered again is not acked
        return ConsumerLoad(name=self.spec.name, filter_subject=self.spec.filter_subject, pending=fresh, unacked=out)

    def ack(self, seq: int) -> None:
        """Done with it; a late ack counts too, as it does in JetStream while the message is not acked otherwise."""
        if not self.alive:
            return
        was_out = self._out.pop(seq, None) is not None
        if seq in self._again:
            self._again.remove(seq)
        elif not was_out:
            return
        self._counts.pop(seq, None)
        if self._stream.spec.retention == "work_queue":
            self._stream.remove(seq)
        if was_out and len(self._out) == self.spec.max_ack_pending - 1:
            self._wake()

    def progress(self, seq: int) -> None:
        if self.alive and seq in self._out:
            self._out[seq] = self._time.now() + self.spec.ack_wait_seconds
            self._arm()

    def give_back(self, seqs: list[int]) -> None:
        """Deliver these again at once."""
        for seq in seqs:
            if self._out.pop(seq, None) is not None:
                self._again.append(seq)
        self._wake()

    def attach(self) -> None:
        """A puller begins to pull."""
        self._pullers += 1
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None

    def detach(self) -> None:
        self._pullers -= 1
        self._watch_idle()

    def end(self) -> None:
        """The consumer is gone: whoever waits for it learns that."""
        self.alive = False
        for timer in (self._timer, self._idle):
            if timer is not None:
                timer.cancel()
        self._wake()

    def _wake(self) -> None:
        waiters, self.waiters = self.waiters, []
        for waiter in waiters:
            waiter()

    def _arm(self) -> None:
        if self._timer is None and self._out:
            self._timer = self._time.call_later(max(0.0, min(self._out.values()) - self._time.now()), self._redeliver)

    def _redeliver(self) -> None:
        self._timer = None
        now = self._time.now()
        late = [seq for seq, ends_at in self._out.items() if ends_at <= now]
        for seq in late:
            del self._out[seq]
            self._again.append(seq)
        self._arm()
        if late:
            self._wake()

    def _watch_idle(self) -> None:
        if self.alive and self._pullers == 0 and self.spec.inactive_seconds and self._idle is None:
            self._idle = self._time.call_later(self.spec.inactive_seconds, self._drop)

    def _drop(self) -> None:
        self._idle = None
        if any(self._stream.live(seq) for seq in (*self._out, *self._again)):
            self._watch_idle()  # probed: JetStream keeps a consumer with unacked messages
        elif self._stream.consumers.get(self.spec.name) is self:
            self._stream.drop_consumer(self.spec.name)


# -- subjects


def matches(pattern: str, subject: str) -> bool:
    """Does `subject` match `pattern` with its `*` and `>`?"""
    start, wanted, more = _parsed(pattern)
    if wanted is None:
        return pattern == subject
    if not subject.startswith(start):
        return False
    found = subject.split(".")
    if len(found) <= len(wanted) if more else len(found) != len(wanted):
        return False
    return all(a in ("*", b) for a, b in zip(wanted, found, strict=False))


@lru_cache(maxsize=4096)
def _parsed(pattern: str) -> tuple[str, tuple[str, ...] | None, bool]:
    """How every match begins, the tokens (None without wildcards) and whether more follow. Brokers ask for every message and listener."""
    tokens = pattern.split(".")
    more = tokens[-1] == ">"
    wanted = tuple(tokens[:-1] if more else tokens)
    if not more and "*" not in wanted:
        return pattern, None, False
    literal = list(takewhile("*".__ne__, wanted))
    return ".".join([*literal, ""]), wanted, more


def overlap(one: str, other: str) -> bool:
    """Is there a subject that matches both patterns?"""
    for a, b in zip(one.split("."), other.split("."), strict=False):
        if ">" in (a, b):
            return True
        if a != b and "*" not in (a, b):
            return False
    return len(one.split(".")) == len(other.split("."))


def transformed(subject: str, source: str, destination: str) -> str:
    """The server's subject mapping for `{{wildcard(n)}}` and `{{partition(n,w…)}}`; other functions raise `Misconfigured`."""
    wild = [token for pattern, token in zip(source.split("."), subject.split("."), strict=False) if pattern == "*"]
    result = []
    for token in destination.split("."):
        if not token.startswith("{{"):
            result.append(token)
            continue
        name, _, arguments = token.strip("{}").partition("(")
        numbers = [int(number) for number in arguments.rstrip(")").split(",")]
        if name == "wildcard":
            result.append(wild[numbers[0] - 1])
        elif name == "partition":
            key = "".join(wild[number - 1] for number in numbers[1:])
            result.append(str(partition_of(RunId(key), numbers[0])))
        else:
            raise Misconfigured(f"transform {destination!r}: {name!r} is not known here")
    return ".".join(result)


def stream_of(streams: dict[str, MemoryStream], name: str) -> MemoryStream:
    """The stream, or `NotFound`."""
    stream = streams.get(name)
    if stream is None:
        raise NotFound(f"stream {name!r} does not exist")
    return stream
