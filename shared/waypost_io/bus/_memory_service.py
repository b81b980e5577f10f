"""A NATS service without NATS: endpoints and discovery (ADR-32) on any bus's core subscriptions."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from waypost_io.bus._answers import Answerer
from waypost_io.bus.ports import Bus, Endpoint, Handler, Message, Subscription
from waypost_proto.limits import MAX_MESSAGE_BYTES


class MemoryService:
    """A hosted service: its endpoints and the three discovery subjects of NATS ADR-32."""

    def __init__(self, bus: Bus, identity: dict[str, str], endpoints: Sequence[Endpoint]) -> None:
        self._bus = bus
        self._identity = identity
        self._endpoints = endpoints
        self._answerer = Answerer(lambda subject, body, headers: bus.send(subject, body, headers=headers), MAX_MESSAGE_BYTES)
        self._subscriptions: list[Subscription] = []

    async def start(self) -> None:
        """Listen. Raises `BadInput` for a subject that cannot be one."""
        name, unique = self._identity["name"], self._identity["id"]
        for verb in ("PING", "INFO", "STATS"):
            for subject in (f"$SRV.{verb}", f"$SRV.{verb}.{name}", f"$SRV.{verb}.{name}.{unique}"):
                self._subscriptions.append(await self._bus.subscribe(subject, self._discovery(verb)))
        for endpoint in self._endpoints:
            self._subscriptions.append(await self._bus.subscribe(endpoint.subject, self._handler(endpoint), queue="q"))

    async def close(self) -> None:
        """Stop taking requests, let those in progress finish within a bound. Idempotent."""
        subscriptions, self._subscriptions = self._subscriptions, []
        for subscription in subscriptions:
            await subscription.close()
        await self._answerer.close()

    def _handler(self, endpoint: Endpoint) -> Handler:
        async def handle(message: Message) -> None:
            await self._answerer.take(endpoint, message)

        return handle

    def _discovery(self, verb: str) -> Handler:
        async def handle(message: Message) -> None:
            answer: dict[str, object] = {"type": f"io.nats.micro.v1.{verb.lower()}_response", "metadata": {}, **self._identity}
            if verb != "PING":
                answer["endpoints"] = [self._describe(endpoint, verb) for endpoint in self._endpoints]
            self._bus.send(message.reply, msgspec.json.encode(answer))

        return handle

    def _describe(self, endpoint: Endpoint, verb: str) -> dict[str, object]:
        described: dict[str, object] = {"name": endpoint.name, "subject": endpoint.subject, "queue_group": "q"}
        if verb == "STATS":
            counters = self._answerer.counters(endpoint.name)
            described |= {"num_requests": counters.requests, "num_errors": counters.errors, "last_error": counters.last_error}
        return described
