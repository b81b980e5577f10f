"""What one run has told the coordinator and has not been confirmed: the outbox of its advances.

A result counts as recorded once it is committed in Postgres (P3), so every advance is kept until the coordinator confirms it, and is
published again under a new message id after a reconnect or when nobody confirmed it for a while (CORRECTNESS.md row 15).

Order: an advance builds on the digest of the one before, so at most one advance of a run is on its way to JetStream at a time;
what comes up meanwhile goes into the next one. Different runs are pipelined.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

import structlog
from msgspec import Raw

from waypost_io import faults
from waypost_io.bus.ports import PubAck
from waypost_proto.codec import encode
from waypost_proto.errors import TooLarge, WaypostError
from waypost_proto.ids import RunId, chain_digest
from waypost_proto.mailbox import Advance
from waypost_proto.values import Token
from waypost_worker.frames import EMPTY
from waypost_worker.tuning import Tuning

_PAST = 16
"""Confirmed digests that are remembered: far more than the coordinator has activations of one run under way."""
_log = structlog.get_logger(__name__)


class Publishes(Protocol):
    """What the outbox needs of the bus."""

    def publish(self, subject: str, body: bytes, *, msg_id: str, shares: str = "") -> Awaitable[PubAck]: ...


@dataclass(frozen=True, slots=True)
class Sender:
    """Who signs the advances of a run, and where they go."""

    run_id: RunId
    agent: str
    worker: str
    build: str
    subject: str


@dataclass(slots=True)
class Sent:
    """An advance under way. `digest` is what the run's journal has once it is accepted."""

    base: str
    digest: str
    msg_id: str
    body: bytes
    answers: str
    """The coordinator whose activation it answers."""
    emission: int = 0
    stored: bool = False
    due_at: float = 0.0
    """When it is published again unless it is confirmed by then, on the loop's clock."""
    wait_seconds: float = 0.0


class Outbox:
    """`on_stored` is called each time the last advance given to `send` is in JetStream."""

    def __init__(self, sender: Sender, bus: Publishes, tuning: Tuning, on_stored: Callable[[], None], *, base: str) -> None:
        self.tip = base
        """Digest of the journal with everything sent so far."""
        self._sender = sender
        self._bus = bus
        self._tuning = tuning
        self._on_stored = on_stored
        self._loop = asyncio.get_running_loop()
        self._queue: deque[Sent] = deque()
        self._unconfirmed: deque[Sent] = deque()
        self._storing: Sent | None = None
        self._retry: asyncio.TimerHandle | None = None
        self._past: deque[str] = deque(maxlen=_PAST)
        self._empties = 0

    @property
    def storing(self) -> bool:
        """An advance is not in JetStream yet: nothing that builds on it may begin."""
        return self._storing is not None

    @property
    def unconfirmed(self) -> int:
        """Advances that hold something the coordinator has not confirmed."""
        return len(self._unconfirmed)

    def knows(self, digest: str) -> bool:
        """Whether a journal with this digest is ours: the last one, one on its way, or one that was confirmed lately.

        The last matter because a confirmation can overtake an activation that was dispatched before it.
        """
        return digest == self.tip or any(sent.base == digest for sent in self._unconfirmed) or digest in self._past

    def send(self, frame: bytes, *, token: Token, seen: int, running: int, answers: str = "") -> None:
        """Publish an advance with the item bytes `frame`. Several in a row go out one after another. `answers`: which coordinator."""
        base = self.tip
        run_id = self._sender.run_id
        if frame == EMPTY:
            self._empties += 1
            # the digest does not change, and a run that was let go and brought back begins to count anew: what was read makes the id new,
            # or the server would take the answer to a later activation for a repeat, and the run would wait for ever
            unique = f"{token.epoch}-{token.counter}.{seen}.{self._empties}"
            sent = Sent(base=base, digest=base, msg_id=f"{run_id}.{base}.{self._sender.worker}.{unique}", body=b"", answers=answers)
        else:
            digest = chain_digest(base, frame)
            sent = Sent(base=base, digest=digest, msg_id=f"{run_id}.{digest}", body=b"", answers=answers)
            self.tip = digest
            self._unconfirmed.append(sent)
        sent.body = encode(
            Advance(
                run_id=run_id,
                agent=self._sender.agent,
                worker=self._sender.worker,
                build=self._sender.build,
                token=token,
                base=base,
                seen=seen,
                running=running,
                items=Raw(frame),
            )
        )
        self._queue.append(sent)
        if self._storing is None:
            self._next()

    def confirm(self, digest: str) -> bool:
        """Everything up to this digest is committed. A digest that is not waited for changes nothing, and gives False."""
        waiting = self._unconfirmed
        if not waiting or (waiting[0].digest != digest and all(sent.digest != digest for sent in waiting)):
            return False
        while True:
            sent = waiting.popleft()
            self._past.append(sent.base)
            if sent.digest == digest:
                return True

    def is_refused(self, base: str) -> bool:
        """Whether a rejection of the advance on `base` means that our journal is not the run's.

        While an earlier advance is unconfirmed it says nothing: that one was lost or is late, and both are published again.
        """
        return base == (self._unconfirmed[0].base if self._unconfirmed else self.tip)

    def republish(self, now: float, *, all_now: bool = False) -> int:
        """Publish again, under a new message id, what is due (or everything stored and unconfirmed). The number published."""
        if not all_now and not any(sent.stored and sent.due_at <= now for sent in self._unconfirmed):
            return 0
        count = 0
        for sent in self._unconfirmed:
            if sent.stored:
                sent.emission += 1
                sent.answers = ""  # whoever that was, perhaps it is no more
                sent.wait_seconds = min(sent.wait_seconds * 2, self._tuning.republish_max_seconds)
                sent.due_at = now + sent.wait_seconds
                self._publish(sent)  # nobody waits for it: if it fails too, it is due again
                count += 1
        return count

    def close(self) -> None:
        """Forget everything, and whoever was told. Idempotent."""
        self._on_stored = _nobody
        if self._retry is not None:
            self._retry.cancel()
        self._storing = None
        self._queue.clear()
        self._unconfirmed.clear()

    def _publish(self, sent: Sent) -> Awaitable[PubAck]:
        return self._bus.publish(self._sender.subject, sent.body, msg_id=f"{sent.msg_id}.{sent.emission}", shares=sent.answers)

    def _next(self) -> None:
        """Publish the head of the queue. A retry keeps the message id: JetStream may have it already."""
        self._retry = None
        sent = self._storing = self._queue[0]
        faults.point("worker.publish.before")
        future = asyncio.ensure_future(self._publish(sent))
        future.add_done_callback(lambda done: self._answered(sent, done))

    def _answered(self, sent: Sent, done: asyncio.Future[PubAck]) -> None:
        if self._storing is not sent:
            return  # closed meanwhile
        error = None if done.cancelled() else done.exception()
        if error is not None and not isinstance(error, WaypostError):
            _log.error("publish failed", run_id=self._sender.run_id, agent=self._sender.agent, exc_info=error)
        if done.cancelled() or error is not None:
            delay = self._tuning.retry_seconds
            if isinstance(error, TooLarge):  # a server whose limit is lower than ours: nothing that trying at once could mend
                _log.error(
                    "an advance does not fit into a message",
                    run_id=self._sender.run_id,
                    agent=self._sender.agent,
                    size=len(sent.body),
                    error=str(error),
                )
                delay = self._tuning.republish_max_seconds
            self._retry = self._loop.call_later(delay, self._next)
            return
        faults.point("worker.publish.after")
        sent.stored = True
        sent.wait_seconds = self._tuning.republish_seconds
        sent.due_at = self._loop.time() + sent.wait_seconds
        self._queue.popleft()
        self._storing = None
        if self._queue:
            self._next()
        else:
            self._on_stored()


def _nobody() -> None:
    """Told of what is stored after `close`."""
