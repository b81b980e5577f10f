"""Keeps one message in each queue that every step goes through, while there is traffic, so that none is empty between two steps.

A work queue with little traffic is empty after every ack, and then nats-server deletes the file that held the message and makes
another: a quarter of the server's CPU time per step and more, and the next message waits for it (profiled; ADR 0183). With one
message lying in the newest file that does not happen. It goes when the traffic does, and has a short life should this process not
live to remove it. No consumer reads its subject; without it everything works, only slower.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

import structlog

from waypost_io.bus.ports import Bus
from waypost_io.bus.topology import KEPT, TTL_HEADER
from waypost_proto.errors import WaypostError
from waypost_proto.subjects import Subjects

log = structlog.get_logger(__name__)

LOOK_SECONDS = 1.0
IDLE_LOOKS = 2
"""Looks without traffic after which the queues are left empty."""
AGAIN_LOOKS = 20
"""A file of a queue is full after 4 MiB or more: minutes, at a traffic that empties the queue between two messages."""
LIFETIME_SECONDS = 60


class Keeping:
    """`traffic` is any number that changes when messages went through; `name` tells replicas apart. Run `run()` in a task."""

    def __init__(self, bus: Bus, subjects: Subjects, name: str, traffic: Callable[[], int]) -> None:
        self._bus = bus
        self._subjects = subjects
        self._name = name
        self._traffic = traffic
        self._seen = traffic()
        self._idle = 0
        self._age: int | None = None
        """Looks since the messages were put there; None: none are there."""

    async def run(self, seconds: float = LOOK_SECONDS) -> None:
        """Until cancelled; then the queues are left empty."""
        try:
            while True:
                await asyncio.sleep(seconds)
                with contextlib.suppress(WaypostError):
                    await self.look()
        finally:
            with contextlib.suppress(WaypostError, TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._remove()

    async def look(self) -> None:
        """One look: put the messages there, renew them, or take them away."""
        seen, self._seen = self._seen, self._traffic()
        self._idle = self._idle + 1 if seen == self._seen else 0
        if self._idle >= IDLE_LOOKS:
            await self._remove()
            return
        if self._age is not None:
            self._age += 1
        if self._idle == 0 and (self._age is None or self._age >= AGAIN_LOOKS):
            await self._put()

    async def _put(self) -> None:
        self._age = 0
        for queue in KEPT:
            await self._bus.publish(self._subjects.keep(queue, self._name), b"", headers={TTL_HEADER: str(LIFETIME_SECONDS)})

    async def _remove(self) -> None:
        if self._age is None:
            return
        for queue in KEPT:
            await self._bus.purge(self._subjects.stream(queue), self._subjects.keep(queue, self._name))
        self._age = None
