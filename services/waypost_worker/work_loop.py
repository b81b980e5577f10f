"""Takes activations of one consumer and hands them on; back-pressure is not to ask for more. Owns its consumer's life."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from waypost_io.bus.ports import Bus, ConsumerSpec, Delivery
from waypost_proto.errors import NotFound, TransientError

_RETRY_SECONDS = 0.5
"""Between tries to make a consumer that is gone: its stream is made again by a coordinator."""
_BATCH = 64
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class WorkLoop:
    """`room` waits until more may be taken and says how many; `handle` must not raise.

    `prefetch` where the messages are for this worker alone; where others could take them, nothing is hoarded.
    """

    bus: Bus
    spec: ConsumerSpec
    room: Callable[[], Awaitable[int]]
    handle: Callable[[Delivery], None]
    prefetch: bool = False

    async def run(self) -> None:
        """Pull until cancelled. A consumer or stream that is gone is made again as soon as that is possible."""
        while True:
            try:
                await self.bus.ensure_consumer(self.spec)
                await self._pull()
            except NotFound as error:
                _log.warning("no consumer to take work from, making it again", consumer=self.spec.name, error=str(error))
            except TransientError as error:
                _log.warning("cannot take work, trying again", consumer=self.spec.name, error=str(error))
            await asyncio.sleep(_RETRY_SECONDS)

    async def _pull(self) -> None:
        puller = self.bus.pull(self.spec.stream, self.spec.name, max_in_hand=_BATCH, prefetch=self.prefetch)
        try:
            while True:
                limit = min(await self.room(), _BATCH)
                for delivery in await puller.next_batch(limit):
                    self.handle(delivery)
        finally:
            await puller.close()
