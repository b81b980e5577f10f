"""What arrives on a tool subject and is no tool call: kept in the dead letter stream with its reason, then acked. Owns no retry."""

from __future__ import annotations

import structlog

from waypost_gateway.retrying import until_reached
from waypost_io.bus.ports import Bus, Delivery, PubAck
from waypost_proto.errors import NotFound, Unreachable
from waypost_proto.notices import DEAD_ORIGIN_HEADER, DEAD_REASON_HEADER, DEAD_SEQUENCE_HEADER, DEAD_STREAM_HEADER
from waypost_proto.subjects import Subjects

MAX_REASON_CHARS = 500

_log = structlog.get_logger(__name__)


class DeadLetters:
    """Publishes to `waypost.dead.tools`. Idempotent by the message's place in its stream."""

    def __init__(self, bus: Bus, subjects: Subjects) -> None:
        self._bus = bus
        self._subject = subjects.dead("tools")
        self._stream = subjects.stream("TOOLS")

    async def keep(self, delivery: Delivery, reason: str) -> None:
        """Return when the dead letter is stored; the caller acks."""
        reason = " ".join(reason.split())[:MAX_REASON_CHARS].encode("ascii", "replace").decode()
        _log.error("a message is not a tool call", subject=delivery.subject, sequence=delivery.stream_seq, reason=reason)
        headers = {
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
