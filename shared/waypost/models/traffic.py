"""How many requests to one model are under way on this worker, and how fast they follow: concurrency, rates, and what a 429 asked for.

One `Lane` for each model and set of limits on an event loop, so that all runs of a worker share it, however often the model was made.
A model is what its `lane` says (for the providers: address, key and name), or provider and name.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakKeyDictionary

from waypost.models.options import ModelOptions
from waypost.models.protocol import Model, ModelBusy
from waypost.options import rate_of
from waypost_proto.values import Rate

_MAX_HOLD_SECONDS = 60.0
"""A longer wait is that call's own; others may look again before it is over."""
_MAX_LANES = 4_096
"""Models of one process; past it lanes are made anew, which forgets what was under way."""


class Bucket:
    """A token bucket: at most `rate.count` in `rate.seconds`, and `burst` at once. Amounts above the burst wait until it is full."""

    def __init__(self, rate: Rate, now: float) -> None:
        self._per_second = rate.count / rate.seconds
        self._room = float(rate.burst or rate.count)
        self._level = self._room
        self._at = now

    def wait(self, amount: float, now: float) -> float:
        """Seconds after which `amount` may be taken; 0: now."""
        self._level = min(self._room, self._level + (now - self._at) * self._per_second)
        self._at = now
        return max(0.0, (min(amount, self._room) - self._level) / self._per_second)

    def take(self, amount: float) -> None:
        """Take it; what is above the burst is paid back by those who come later."""
        self._level -= amount


class Lane:
    """The requests to one model. Fair: who comes first goes first."""

    def __init__(self, options: ModelOptions) -> None:
        self._loop = asyncio.get_running_loop()
        now = self._loop.time()
        self._free = options.concurrency
        self._queue: deque[asyncio.Future[None]] = deque()
        self._turn = asyncio.Lock()
        self._buckets: list[tuple[Bucket, bool]] = []
        for rate, of_tokens in ((rate_of(options.rate), False), (rate_of(options.token_rate), True)):
            if rate is not None:
                self._buckets.append((Bucket(rate, now), of_tokens))
        self._held_until = 0.0
        self._holder = ""

    @asynccontextmanager
    async def turn(self, tokens: int, max_wait_seconds: float) -> AsyncIterator[None]:
        """Wait for a place, then for the rates; the place is free again afterwards.

        Raises `ModelBusy` with `retry_after` while the provider has asked everybody for a longer wait than `max_wait_seconds`.
        """
        await self._enter()
        try:
            if self._buckets or self._held_until:
                async with self._turn:
                    await self._wait_for_rates(tokens, max_wait_seconds)
            yield
        finally:
            self._leave()

    def hold(self, seconds: float, why: str) -> None:
        """The provider said when to come again: nobody asks before."""
        until = self._loop.time() + min(seconds, _MAX_HOLD_SECONDS)
        if until > self._held_until:
            self._held_until, self._holder = until, why

    async def _wait_for_rates(self, tokens: int, max_wait_seconds: float) -> None:
        while True:
            now = self._loop.time()
            wait = self._held_until - now
            if wait > max_wait_seconds:
                raise ModelBusy(f"not asked: the provider said {self._holder!r} a moment ago, {wait:.0f} s are left", retry_after=wait)
            if wait <= 0:
                self._held_until = 0.0
                wait = max((bucket.wait(tokens if of_tokens else 1, now) for bucket, of_tokens in self._buckets), default=0.0)
            if wait <= 0:
                for bucket, of_tokens in self._buckets:
                    bucket.take(tokens if of_tokens else 1)
                return
            await asyncio.sleep(wait)

    async def _enter(self) -> None:
        if self._free > 0 and not self._queue:
            self._free -= 1
            return
        place = self._loop.create_future()
        self._queue.append(place)
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self._leave()
            elif place in self._queue:
                self._queue.remove(place)
            raise

    def _leave(self) -> None:
        while self._queue:
            place = self._queue.popleft()
            if not place.done():
                place.set_result(None)
                return
        self._free += 1


_LANES: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[tuple[object, ...], Lane]] = WeakKeyDictionary()


def lane_of(model: Model, options: ModelOptions) -> Lane:
    """The lane of a model on the running loop. Models that give other limits under the same name have lanes of their own."""
    lanes = _LANES.setdefault(asyncio.get_running_loop(), {})
    key = (getattr(model, "lane", None) or (model.provider, model.name), options.concurrency, str(options.rate), str(options.token_rate))
    lane = lanes.get(key)
    if lane is None:
        if len(lanes) >= _MAX_LANES:
            lanes.clear()
        lane = lanes[key] = Lane(options)
    return lane


__all__ = ["Bucket", "Lane", "lane_of"]
