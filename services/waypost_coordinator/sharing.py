"""How replicas share the partitions out: each tells the others that it lives, and owns its fair part.

Presence is core NATS and only decides who *should* own how much; who *does* own a partition is decided by the lease in Postgres. So a
lost or late presence costs balance for a moment, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Self

import structlog

from waypost_coordinator.ground import Ground
from waypost_io.bus.ports import Message, Subscription
from waypost_proto.codec import decode, encode
from waypost_proto.errors import BadMessage
from waypost_proto.registry import News, Presence

log = structlog.get_logger(__name__)


def fair_share(partitions: int, replicas: Iterable[str], me: str) -> int:
    """How many partitions `me` should own: all alike, the first in order of name one more while they do not divide."""
    names = sorted({*replicas, me})
    least, more = divmod(partitions, len(names))
    return least + (names.index(me) < more)


class Replicas:
    """The coordinators that live. Use as an async context manager; `announce` at every round of leases."""

    def __init__(self, ground: Ground, name: str, *, silent_seconds: float, changed: Callable[[], None]) -> None:
        """`changed` is called when another replica comes, goes or gives partitions back; it must not wait."""
        self._ground = ground
        self._name = name
        self._silent_seconds = silent_seconds
        self._changed = changed
        self._heard: dict[str, float] = {}
        self._subscription: Subscription | None = None

    async def __aenter__(self) -> Self:
        self._subscription = await self._ground.bus.subscribe(self._ground.subjects.presence(), self._hear)
        self.announce()
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Tell the others that we go, so that they need not wait for our silence."""
        self.announce("leaving")
        if self._subscription is not None:
            await self._subscription.close()

    def announce(self, news: News = "here") -> None:
        """Say that we live (`here`), that partitions are free now (`released`), or that we go (`leaving`)."""
        self._ground.bus.send(self._ground.subjects.presence(), encode(Presence(name=self._name, news=news)))

    def share(self) -> int:
        """How many partitions are for us, by who was heard in time."""
        now = self._ground.clock.monotonic()
        self._heard = {name: at for name, at in self._heard.items() if now - at < self._silent_seconds}
        return fair_share(self._ground.partitions, self._heard, self._name)

    async def _hear(self, message: Message) -> None:
        try:
            presence = decode(Presence, message.body)
        except BadMessage as error:
            log.warning("presence_unreadable", error=str(error))
            return
        if presence.name == self._name:
            return
        known = presence.name in self._heard
        if presence.news == "leaving":
            self._heard.pop(presence.name, None)
        else:
            self._heard[presence.name] = self._ground.clock.monotonic()
        if not known:
            log.info("replica_found", name=presence.name)
            self.announce()
        if not known or presence.news != "here":
            self._changed()
