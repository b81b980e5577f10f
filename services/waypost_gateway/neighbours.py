"""What gateways tell each other (`waypost.registry.gateways`, core NATS): that they live, and which breakers are open.

Owns the exchange: the beat, who was heard, what a joiner is told. A gateway that hosts no tool with a rate or a breaker says nothing and
listens to nothing. Losing a message costs at most a beat: every beat says everything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Self

import structlog

from waypost_gateway.breaking import ToolBreaker
from waypost_gateway.rates import TokenBucket
from waypost_io.bus.ports import Bus, Message, Subscription
from waypost_proto.codec import decode, encode
from waypost_proto.errors import BadMessage
from waypost_proto.registry import BreakerNews, GatewayNews
from waypost_proto.subjects import Subjects

BEAT_SECONDS = 1.0
LOST_AFTER_SECONDS = 3.5
"""Without a beat for so long, a gateway counts no more: the others take its share of every rate."""
JOIN_SECONDS = 0.3
"""A gateway that starts listens for so long before it uses its share: the others answer its hello at once."""

_log = structlog.get_logger(__name__)


class Neighbours:
    """One gateway's side of the exchange. Use as an async context manager and `run` it in a task; `joined` says when rates may be used."""

    def __init__(
        self,
        bus: Bus,
        subjects: Subjects,
        gateway: str,
        *,
        breakers: Mapping[str, ToolBreaker],
        buckets: Mapping[str, TokenBucket],
        monotonic: Callable[[], float],
    ) -> None:
        self._bus = bus
        self._subject = subjects.gateways()
        self._gateway = gateway
        self._breakers = breakers
        self._buckets = buckets
        self._monotonic = monotonic
        self._heard: dict[str, tuple[float, frozenset[str]]] = {}
        self._subscription: Subscription | None = None
        self.joined = asyncio.Event()

    @property
    def needed(self) -> bool:
        """Whether there is anything to tell."""
        return bool(self._breakers or self._buckets)

    async def __aenter__(self) -> Self:
        if self.needed:
            self._subscription = await self._bus.subscribe(self._subject, self._on_message)
            self._bus.on_reconnect(lambda: self._say("hello"))
            self._say("hello")
        else:
            self.joined.set()
        return self

    async def __aexit__(self, *exc: object) -> None:
        subscription, self._subscription = self._subscription, None
        if subscription is not None:
            self._say("leaving")
            await subscription.close()

    async def run(self) -> None:
        """Beat until cancelled."""
        if not self.needed:
            return
        await asyncio.sleep(JOIN_SECONDS)
        self.joined.set()
        while True:
            self._say("here")
            self._forget_the_silent()
            await asyncio.sleep(BEAT_SECONDS)

    def changed(self, tool: str) -> None:
        """A breaker of ours has changed: say so now."""
        breaker = self._breakers[tool]
        news = breaker.news
        log = _log.warning if news.state == "open" else _log.info
        log("the breaker of a tool has changed", tool=tool, state=news.state, reason=news.reason, trips=breaker.trips)
        self._say("here", only=tool)

    def _say(self, what: str, *, only: str | None = None) -> None:
        told: Iterable[BreakerNews] = (
            [self._breakers[only].news] if only is not None else [b.news for b in self._breakers.values() if b.news.at > 0]
        )
        news = GatewayNews(gateway=self._gateway, news=what, tools=sorted(self._hosted), breakers=list(told))  # type: ignore[arg-type]
        self._bus.send(self._subject, encode(news))

    @property
    def _hosted(self) -> frozenset[str]:
        return frozenset(self._breakers) | frozenset(self._buckets)

    async def _on_message(self, message: Message) -> None:
        try:
            news = decode(GatewayNews, message.body)
        except BadMessage as error:
            _log.warning("not news of a gateway", error=str(error))
            return
        if news.gateway == self._gateway:
            return
        if news.news == "leaving":
            self._heard.pop(news.gateway, None)
        else:
            self._heard[news.gateway] = (self._monotonic(), frozenset(news.tools))
        for breaker in news.breakers:
            mine = self._breakers.get(breaker.tool)
            if mine is not None and mine.heard(breaker):
                _log.info("another gateway's breaker is taken over", tool=breaker.tool, state=breaker.state, gateway=news.gateway)
        self._share()
        if news.news == "hello":
            self._say("here")

    def _forget_the_silent(self) -> None:
        now = self._monotonic()
        silent = [name for name, (at, _) in self._heard.items() if now - at > LOST_AFTER_SECONDS]
        for name in silent:
            del self._heard[name]
        if silent:
            self._share()

    def _share(self) -> None:
        now = self._monotonic()
        for tool, bucket in self._buckets.items():
            bucket.share(1 + sum(tool in tools for _, tools in self._heard.values()), now)
