"""What arrives on a tool subject and is no tool call: a row and a copy in the dead letter stream, with the reason. Owns no retry."""

from __future__ import annotations

import structlog

from waypost_gateway.retrying import until_reached
from waypost_io.bus.ports import Bus, Delivery, PubAck
from waypost_io.store.ports import Dead
from waypost_proto.errors import NotFound, Unreachable
from waypost_proto.notices import DEAD_ID_HEADER, DEAD_ORIGIN_HEADER, DEAD_REASON_HEADER, DEAD_SEQUENCE_HEADER, DEAD_STREAM_HEADER
from waypost_proto.subjects import Subjects

MAX_REASON_CHARS = 500

_log = structlog.get_logger(__name__)


class DeadLetters:
    """Writes rows of `dead` and publishes to `waypost.dead.tools`. Idempotent by the message's place and time in its stream."""

    def __init__(self, bus: Bus, dead: Dead, subjects: Subjects) -> None:
        self._bus = bus
        self._dead = dead
        self._subject = subjects.dead("tools")
        self._stream = subjects.stream("TOOLS")

    async def keep(self, delivery: Delivery, reason: str) -> None:
        """Return when the dead letter is stored; the caller acks."""
        reason = " ".join(reason.split())[:MAX_REASON_CHARS].encode("ascii", "replace").decode()
        _log.error("a message is not a tool call", subject=delivery.subject, sequence=delivery.stream_seq, reason=reason)
        source = f"TOOLS.{int(delivery.timestamp * 1e6)}.{delivery.stream_seq}"
        dead_id = await until_reached(
            lambda: self._dead.add(
                origin="tools",
                subject=delivery.subject,
                reason=reason,
                body=delivery.body,
                headers=delivery.headers,
                source=source,
                run_id=None,
            ),
            what="record a dead letter",
        )
        headers = {
            DEAD_ID_HEADER: str(dead_id),
            DEAD_REASON_HEADER: reason,
            DEAD_ORIGIN_HEADER: delivery.subject,
            DEAD_STREAM_HEADER: self._stream,
            DEAD_SEQUENCE_HEADER: str(delivery.stream_seq),
        }

        async def publish() -> PubAck:
            try:
                return await self._bus.publish(
                    self._subject,
                    delivery.body,
                    headers=headers,
                    msg_id=f"dead.{self._stream}.{delivery.stream_seq}.{int(delivery.timestamp * 1e6)}",
                )
            except NotFound as error:
                raise Unreachable(f"no stream takes {self._subject}: {error}") from error

        await until_reached(publish, what="publish a dead letter")
