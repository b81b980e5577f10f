"""NATS as a doorbell: a published event says that there is something new, and nothing else is believed of it.

The subscription is open only while the logger waits. Under load it is closed: the logger looks again by itself then, and thousands of
messages a second would each only say what it knows. What is published between opening it and the last look is found by the one look
that `wait` asks for after opening. A lost ring costs one poll interval.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from waypost_io.bus.ports import Bus, Message
from waypost_io.lifecycle import Stop
from waypost_proto.errors import TransientError


class Bell:
    """One logger's doorbell on `subject`."""

    def __init__(self, bus: Bus, subject: str) -> None:
        self._bus = bus
        self._subject = subject

    async def idle(self, stop: Stop, seconds: float, look: Callable[[], Awaitable[bool]]) -> None:
        """`wait`, and return at a stop too. A server that is away meanwhile is no matter of who waits."""
        ring = asyncio.ensure_future(self.wait(seconds, look))
        end = asyncio.ensure_future(stop.wait())
        try:
            await asyncio.wait({ring, end}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            end.cancel()
            ring.cancel()
            found = await asyncio.gather(ring, end, return_exceptions=True)
        if isinstance(found[0], Exception) and not isinstance(found[0], TransientError):
            raise found[0]

    async def wait(self, seconds: float, look: Callable[[], Awaitable[bool]]) -> None:
        """Return after a ring, after `seconds`, or at once if `look()` finds something once the bell is being listened to.

        Without NATS this is a plain sleep. Raises what `look` raises.
        """
        if not self._bus.connected:
            await asyncio.sleep(seconds)
            return
        rung = asyncio.Event()

        async def ring(_: Message) -> None:
            rung.set()

        try:
            subscription = await self._bus.subscribe(self._subject, ring)
        except TransientError:
            await asyncio.sleep(seconds)
            return
        try:
            if await look():
                return
            async with asyncio.timeout(seconds):
                await rung.wait()
        except TimeoutError:
            pass
        finally:
            await subscription.close()
