"""Sends answers to the coordinator's mailbox, until JetStream has confirmed them. Owns no message."""

from __future__ import annotations

from waypost_gateway.answers import message_id
from waypost_gateway.retrying import until_reached
from waypost_io import faults
from waypost_io.bus.company import Company
from waypost_io.bus.ports import Bus, Delivery, PubAck
from waypost_io.mail_frames import MailFrames
from waypost_proto.errors import NotFound, Unreachable
from waypost_proto.subjects import Subjects
from waypost_proto.tools import ToolCall


class Mailer:
    """Publishes answers under the id of the message that they answer, so that a repeat within the duplicate window is stored once."""

    def __init__(self, bus: Bus, subjects: Subjects) -> None:
        self._company = Company(bus, MailFrames())
        self._subjects = subjects

    async def post(self, call: ToolCall, origin: Delivery, body: bytes) -> None:
        """Return when the answer to the message `origin` is stored. Tries for ever; the message stays unacked meanwhile."""
        subject = self._subjects.mail("result", call.tool, call.run_id)
        msg_id = message_id(call, origin, body)

        async def publish() -> PubAck:
            try:
                return await self._company.publish(subject, body, msg_id=msg_id, shares=call.sender)
            except NotFound as error:
                # the mailbox is made again by a coordinator, after a wipe or at the very first start
                raise Unreachable(f"no stream takes {subject}: {error}") from error

        faults.point("gateway.publish.before")
        await until_reached(publish, what="publish an answer")
        faults.point("gateway.publish.after")
