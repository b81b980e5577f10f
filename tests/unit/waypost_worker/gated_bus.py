"""A bus in memory whose publishes to the mailbox do what a test wants: wait, fail, or be acknowledged and lost."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

from waypost_io.bus.memory import MemoryBroker, MemoryBus
from waypost_io.bus.ports import Headers, PubAck
from waypost_proto.errors import PublishTimeout


class GatedBus(MemoryBus):
    """`mail` lists the message ids that were published, in order; `gate` open lets JetStream confirm them."""

    def __init__(self, broker: MemoryBroker) -> None:
        super().__init__(broker)
        self.gate = asyncio.Event()
        self.gate.set()
        self.mail: list[str] = []
        self.time_out = 0
        """So many publishes are stored and not confirmed."""
        self.lose = 0
        """So many publishes are confirmed and not stored: a wipe right after the confirmation."""

    def publish(self, subject: str, body: bytes, *, headers: Headers | None = None, msg_id: str | None = None) -> Awaitable[PubAck]:
        if ".mailbox." not in subject:
            return super().publish(subject, body, headers=headers, msg_id=msg_id)
        assert msg_id is not None, "an advance without a message id could be stored twice"
        self.mail.append(msg_id)
        if self.lose:
            self.lose -= 1
            return asyncio.ensure_future(self._lost())
        publishing = asyncio.ensure_future(self._publish_when_open(subject, body, msg_id))
        publishing.add_done_callback(lambda done: done.cancelled() or done.exception())  # safe to drop
        return publishing

    async def _publish_when_open(self, subject: str, body: bytes, msg_id: str) -> PubAck:
        await self.gate.wait()
        times_out = self.time_out > 0
        self.time_out -= times_out
        ack = await super().publish(subject, body, msg_id=msg_id)
        if times_out:
            raise PublishTimeout("the test says so")
        return ack

    async def _lost(self) -> PubAck:
        return PubAck("MAILBOX", 1)
