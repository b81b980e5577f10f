"""What processes in NATS accounts of their own ask: announcements, heartbeats, consumers, journals. Owns who may have what.

NATS puts the pool's name into the subject (an import of its account, ADR 0248), so that it is known who speaks. Such a process may
host what its pool may, read journals of its own agents, and pull consumers that we make for it: it makes none itself, because whoever may
make a consumer may let JetStream deliver to any subject.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Self

import structlog

from waypost_coordinator.api.journal import journal
from waypost_coordinator.api.ports import Api
from waypost_coordinator.ground import Ground
from waypost_coordinator.registry import Registry
from waypost_io.bus.ports import Message, Subscription
from waypost_io.pools import Pool
from waypost_proto.api import ERROR_CODE_HEADER, ERROR_HEADER, ApiError
from waypost_proto.codec import decode, encode
from waypost_proto.errors import BadMessage, NotFound, TransientError, WaypostError
from waypost_proto.registry import Announce, Announced, ConsumerAsked, ConsumerTold, GatewayNews, Heartbeat

QUEUE = "pools"
ACK_WAIT_SECONDS = (1.0, 600.0)
log = structlog.get_logger(__name__)


class Pools:
    """Use as an async context manager: entering listens. With no pools it listens to nothing."""

    def __init__(self, ground: Ground, registry: Registry, api: Api, pools: dict[str, Pool]) -> None:
        self._ground = ground
        self._registry = registry
        self._api = api
        self._pools = pools
        self._subscriptions: list[Subscription] = []

    async def __aenter__(self) -> Self:
        bus, subjects = self._ground.bus, self._ground.subjects
        for name in self._pools:
            self._subscriptions += [
                await bus.subscribe(subjects.pool(name, "heartbeat"), self._heartbeat),
                await bus.subscribe(subjects.pool(name, "gateways"), self._gateway_news),
                await bus.subscribe(subjects.pool(name, "announce"), self._announce, queue=QUEUE),
                await bus.subscribe(subjects.pool(name, "consumer"), self._consumer, queue=QUEUE),
                await bus.subscribe(subjects.pool(name, "journal"), self._journal, queue=QUEUE),
            ]
        if self._pools:
            bus.send(subjects.roll_call(), b"{}")
        return self

    async def __aexit__(self, *exc: object) -> None:
        subscriptions, self._subscriptions = self._subscriptions, []
        for subscription in subscriptions:
            await subscription.close()

    def _of(self, message: Message) -> tuple[str, Pool]:
        name = message.subject.split(".")[-2]
        return name, self._pools[name]

    async def _heartbeat(self, message: Message) -> None:
        """A pool's processes speak for themselves: one that names another pool's peer is not heard."""
        name, _ = self._of(message)
        try:
            beat = decode(Heartbeat, message.body)
        except BadMessage as error:
            log.warning("heartbeat_unreadable", pool=name, error=str(error))
            return
        if beat.peer.startswith(f"{name}-"):
            await self._registry.heartbeat(message)
        else:
            log.warning("heartbeat_refused", pool=name, peer=beat.peer)

    async def _gateway_news(self, message: Message) -> None:
        """What a pool says of breakers counts for its own tools."""
        name, pool = self._of(message)
        try:
            strange = {breaker.tool for breaker in decode(GatewayNews, message.body).breakers} - set(pool.tools)
        except BadMessage as error:
            log.warning("gateway_news_unreadable", pool=name, error=str(error))
            return
        if strange:
            log.warning("gateway_news_refused", pool=name, tools=sorted(strange))
        else:
            await self._registry.gateway_news(message)

    async def _announce(self, message: Message) -> None:
        name, pool = self._of(message)
        try:
            problem = pool.problem_of(name, decode(Announce, message.body))
        except BadMessage as error:
            problem = str(error)
        if not problem:
            await self._registry.announce(message)
            return
        log.warning("announcement_refused", pool=name, error=problem)
        if message.reply:
            self._ground.bus.send(message.reply, encode(Announced(ok=False, error=problem)))

    async def _consumer(self, message: Message) -> None:
        try:
            told = await self._told(message)
        except WaypostError as error:
            told = ConsumerTold(error=str(error), retry=isinstance(error, TransientError))
        if message.reply:
            self._ground.bus.send(message.reply, encode(told))

    async def _told(self, message: Message) -> ConsumerTold:
        name, pool = self._of(message)
        asked = decode(ConsumerAsked, message.body)
        spec = pool.consumers(name, self._ground.subjects).get(asked.name)
        if spec is None or spec.stream != asked.stream:
            log.warning("consumer_refused", pool=name, consumer=asked.name)
            return ConsumerTold(error=f"the pool {name!r} may not pull the consumer {asked.name!r} of {asked.stream!r}")
        if asked.ack_wait_seconds is not None:
            low, high = ACK_WAIT_SECONDS
            try:
                await self._ground.bus.ensure_consumer(replace(spec, ack_wait_seconds=min(high, max(low, asked.ack_wait_seconds))))
            except NotFound:
                self._ground.look()
                return ConsumerTold()
        return ConsumerTold(created=await self._ground.bus.consumer_created(spec.stream, spec.name))

    async def _journal(self, message: Message) -> None:
        """`runs.journal` for the pool's own agents; any other run does not exist as far as it can tell."""
        _, pool = self._of(message)
        headers: dict[str, str] = {}
        try:
            page = await journal(self._api, message)
            if page.agent not in pool.agents:
                raise NotFound(f"no run {page.run_id}")
            body = encode(page)
        except WaypostError as error:
            body = encode(ApiError(status=int(error.code), title=type(error).__name__, detail=str(error)))
            headers = {ERROR_CODE_HEADER: error.code, ERROR_HEADER: str(error).splitlines()[0][:500]}
        if message.reply:
            self._ground.bus.send(message.reply, body, headers=headers)
