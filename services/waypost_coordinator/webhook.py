"""Notices to people outside of NATS: each is sent to one address by HTTP, signed, until the other side has taken it.

Every replica pulls from one durable consumer of the notices' stream: a notice is acknowledged when the address has answered 2xx, so one
that is under way when a coordinator dies is sent by another. At least once: the receiver tells repeats by `notice_id`.

    POST URL
    Content-Type: application/json
    Waypost-Signature: t=1796144400,v1=<hex HMAC-SHA256 of "1796144400." and the body, by the shared secret>
    Waypost-Notice-Id: <notice_id>
"""

from __future__ import annotations

import asyncio
from typing import Protocol

import structlog

from waypost_coordinator.ground import Ground
from waypost_io.bus.ports import Delivery
from waypost_io.bus.topology import notices_consumer
from waypost_io.webhooks import Send, post, signature
from waypost_proto.codec import decode
from waypost_proto.errors import BadMessage, WaypostError
from waypost_proto.notices import Notice

log = structlog.get_logger(__name__)

AT_ONCE = 8
"""Notices under way at the same time; an address that hangs holds so many threads and no more."""
FIRST_RETRY_SECONDS = 1.0
LAST_RETRY_SECONDS = 300.0
KEEP_SECONDS = 10.0
"""How often the server is told that a notice is still being worked on; below the consumer's ack wait."""
RESTART_SECONDS = 1.0


class Outlet(Protocol):
    """A way out."""

    @property
    def name(self) -> str:
        """Its consumer's."""
        ...

    def send(self, notice: Notice, body: bytes, now: float) -> str:
        """Hand a notice over; "" when it was taken, otherwise why not. Blocks, in a thread. Raises `OSError` when there was no answer."""
        ...


class Webhook:
    """Signed, to one address."""

    name = "webhook"

    def __init__(self, url: str, secret: str, *, send: Send = post) -> None:
        self._url = url
        self._secret = secret
        self._send = send

    def send(self, notice: Notice, body: bytes, now: float) -> str:
        """See `Outlet`."""
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "waypost",
            "Waypost-Notice-Id": notice.notice_id,
            "Waypost-Signature": signature(self._secret, body, now),
        }
        status = self._send(self._url, body, headers)
        return "" if 200 <= status < 300 else f"status {status}"


class Courier:
    """Run `run()` in a task. A notice that nobody takes is tried again with growing pauses, as long as the stream keeps it."""

    def __init__(self, ground: Ground, outlet: Outlet) -> None:
        self._ground = ground
        self._outlet = outlet

    async def run(self) -> None:
        """Until cancelled; a stream that is gone is made again by the sweep, and pulling goes on."""
        while True:
            try:
                await self._pull()
            except WaypostError as error:
                log.warning("notices_interrupted", outlet=self._outlet.name, error=str(error))
                await asyncio.sleep(RESTART_SECONDS)

    async def _pull(self) -> None:
        spec = notices_consumer(self._ground.subjects, self._outlet.name)
        await self._ground.bus.ensure_consumer(spec)
        puller = self._ground.bus.pull(spec.stream, spec.name, max_in_hand=AT_ONCE, prefetch=False)
        free = asyncio.Semaphore(AT_ONCE)
        try:
            async with asyncio.TaskGroup() as group:
                while True:
                    await free.acquire()
                    deliveries = await puller.next_batch(1)
                    if not deliveries:
                        free.release()
                    for delivery in deliveries:
                        group.create_task(self._deliver(delivery)).add_done_callback(lambda _: free.release())
        except* WaypostError as group_of_errors:
            raise group_of_errors.exceptions[0] from None
        finally:
            await puller.close()

    async def _deliver(self, delivery: Delivery) -> None:
        """Until it is taken. The server is told meanwhile that somebody has it."""
        try:
            notice = decode(Notice, delivery.body)
        except BadMessage:
            log.exception("notice_unreadable", subject=delivery.subject)
            delivery.ack()
            return
        wait = FIRST_RETRY_SECONDS
        while not await self._taken(notice, delivery.body):
            await self._hold(delivery, wait)
            wait = min(LAST_RETRY_SECONDS, 2 * wait)
        delivery.ack()

    async def _taken(self, notice: Notice, body: bytes) -> bool:
        try:
            why = await asyncio.to_thread(self._outlet.send, notice, body, self._ground.clock.now())
        except (OSError, ValueError) as error:
            why = f"{type(error).__name__}: {error}"
        if why:
            log.warning(
                "notice_not_delivered",
                outlet=self._outlet.name,
                notice_id=notice.notice_id,
                run_id=notice.run_id,
                agent=notice.agent,
                error=why,
            )
        return not why

    async def _hold(self, delivery: Delivery, seconds: float) -> None:
        while seconds > 0:
            delivery.in_progress()
            await asyncio.sleep(min(seconds, KEEP_SECONDS))
            seconds -= KEEP_SECONDS
        delivery.in_progress()
