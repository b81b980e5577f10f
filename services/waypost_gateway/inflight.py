"""What this gateway has in hand: one `Work` per call, from the delivery of its message until its ack. Owns the registry, not the work.

Everything that reaches into running calls from outside goes through here: the heartbeat, the leases, stop notices, the drain.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Literal, NamedTuple

from waypost_gateway.time_limit import TimeLimit
from waypost_io.bus.ports import Delivery
from waypost_proto.ids import CallId, RunId
from waypost_proto.tools import ToolCall
from waypost_proto.values import Effect


class Key(NamedTuple):
    """One piece of work; `emission` is left out: a call that was derived again is the same work."""

    run_id: RunId
    call_id: CallId
    attempt: int
    mode: str


def key_of(call: ToolCall) -> Key:
    return Key(call.run_id, call.call_id, call.attempt, call.mode)


class Permit:
    """A ledger row that this gateway has started. Times are of the event loop's clock."""

    __slots__ = ("attempt", "hard_until", "lost", "owner", "renewed_at")

    def __init__(self, *, owner: str, attempt: int, now: float, hard_seconds: float) -> None:
        self.owner = owner
        """The name under which this very execution holds the row; never used twice."""
        self.attempt = attempt
        """The attempt in the row."""
        self.renewed_at = now
        self.hard_until = now + hard_seconds
        self.lost = False
        """The row has another owner or is settled: what comes of this execution may not be written any more."""


class Work:
    """One call in hand. `deliveries` are all messages about it: usually one, more after a redelivery or a repeated dispatch."""

    __slots__ = ("call", "deliveries", "effect", "given_up", "interrupted", "key", "limit", "on_stuck", "permit")

    def __init__(self, delivery: Delivery) -> None:
        self.deliveries: list[Delivery] = [delivery]
        self.key: Key | None = None
        self.call: ToolCall | None = None
        self.effect = Effect.UNSAFE
        self.permit: Permit | None = None
        self.limit: TimeLimit | None = None
        self.on_stuck: Callable[[], None] | None = None
        """Called when the tool's code will not stop."""
        self.given_up = False
        """The code would not stop: the call has been answered without it."""
        self.interrupted: Literal["draining", "ended"] | None = None

    def interrupt(self, why: Literal["draining", "ended"]) -> None:
        """Stop the tool's code where it waits, now or as soon as it runs. The handler goes on and settles what that means. Idempotent."""
        if self.interrupted is None:
            self.interrupted = why
            if self.limit is not None and not self.limit.expired:  # past its time limit it is ending already
                self.limit.interrupt()

    @property
    def traceparent(self) -> str:
        """Of the message, for the tool to pass on."""
        return self.deliveries[0].headers.get("traceparent", "") if self.deliveries else ""

    @property
    def delivered(self) -> int:
        """How often the first of the messages has been delivered."""
        return self.deliveries[0].delivered

    def ack(self) -> None:
        """Ack all messages about it."""
        for delivery in self.deliveries:
            delivery.ack()

    def next(self) -> bool:
        """The first message is acked and settled nothing: whether another has joined it, which is the first from now on."""
        if self.given_up or len(self.deliveries) < 2:
            return False
        del self.deliveries[0]
        return True

    def give_back(self) -> None:
        """Let another gateway have it at once: this one stops."""
        for delivery in self.deliveries:
            delivery.give_back()


class InFlight:
    """All work in hand."""

    def __init__(self) -> None:
        self._works: set[Work] = set()
        self._by_key: dict[Key, Work] = {}
        self._empty = asyncio.Event()
        self._empty.set()

    def __len__(self) -> int:
        return len(self._works)

    def __iter__(self) -> Iterator[Work]:
        return iter(tuple(self._works))

    def take(self, delivery: Delivery) -> Work:
        """A message has arrived; from now on it is kept alive."""
        work = Work(delivery)
        self._works.add(work)
        self._empty.clear()
        return work

    def claim(self, work: Work, key: Key) -> bool:
        """Make `work` the one that handles `key`.

        False: another does already and has been given the message, to ack it with its own if that settles the call, and to handle it
        afterwards if not.
        """
        other = self._by_key.get(key)
        if other is not None:
            other.deliveries += work.deliveries
            work.deliveries = []
            return False
        work.key = key
        self._by_key[key] = work
        return True

    def drop(self, work: Work) -> None:
        """The work is over, acked or not. Idempotent."""
        self._works.discard(work)
        if work.key is not None and self._by_key.get(work.key) is work:
            del self._by_key[work.key]
        if not self._works:
            self._empty.set()

    def of_run(self, run_id: RunId, call_id: CallId | None = None) -> list[Work]:
        """The work of a run, or of one of its calls."""
        return [
            work
            for work in self._works
            if work.key is not None and work.key.run_id == run_id and (call_id is None or work.key.call_id == call_id)
        ]

    async def empty(self) -> None:
        """Wait until nothing is in hand."""
        await self._empty.wait()
