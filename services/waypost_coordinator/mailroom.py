"""The mailbox pumps: one consumer per owned partition and lease epoch, each feeding the letter box.

A message carries one letter or a frame of several. Each must be what its subject says: permissions tell senders apart by subjects, and the
server sorts by the run in them, so what claims to be from somebody else, or for another run, is nobody's message.

A new epoch gets a consumer under a new name and the old ones are deleted: then everything unacked comes again, in order, and what a
zombie still holds or acks means nothing (CORRECTNESS.md row 9).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

import structlog

from waypost_coordinator.callers import Gatekeeper
from waypost_coordinator.ground import Ground
from waypost_coordinator.letters import Letter, source_of
from waypost_coordinator.posting import INBOX_HEADER
from waypost_io.bus.parts import Part, Whole
from waypost_io.bus.ports import Delivery, Puller
from waypost_io.bus.topology import mail_consumer
from waypost_proto.codec import decode_union, encode
from waypost_proto.errors import BadMessage, Misconfigured, NotFound, PermanentError, WaypostError
from waypost_proto.ids import RunId
from waypost_proto.mailbox import (
    Advance,
    AnyFramed,
    AnyMail,
    AnyMailed,
    Control,
    DecideApproval,
    ForkRun,
    MailFrame,
    Reply,
    StartRun,
    ToolMail,
)

log = structlog.get_logger(__name__)

IN_HAND = 2_000
"""Deliveries of one partition that are not done yet; past it the pump stops pulling."""
RETRY_SECONDS = 0.5
RECENT_EPOCHS = 3
"""How many epochs back consumers are deleted at first. Epochs without a pump (a broker that was away) can make it more."""

Unreadable = Callable[[Delivery, str, str], None]
"""Takes a delivery that is no message of ours, its source and the reason; must not wait."""


class Mailroom:
    """Opens and closes pumps. Use inside a TaskGroup that it is given."""

    def __init__(self, ground: Ground, unreadable: Unreadable, gate: Gatekeeper) -> None:
        self._ground = ground
        self._gate = gate
        self._unreadable = unreadable
        self._pumps: dict[int, asyncio.Task[None]] = {}
        self._forwarding: set[asyncio.Task[None]] = set()

    async def open(self, partition: int, epoch: int, group: asyncio.TaskGroup) -> None:
        """Start the pump of a partition under its epoch."""
        await self.close(partition)
        self._pumps[partition] = group.create_task(self._pump(partition, epoch), name=f"pump-{partition}")

    async def close(self, partition: int) -> None:
        """Stop a pump. What it handed out stays unacked and comes again. Idempotent."""
        task = self._pumps.pop(partition, None)
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    async def close_all(self) -> None:
        """Stop every pump. Idempotent."""
        await asyncio.gather(*(self.close(partition) for partition in list(self._pumps)))

    async def _pump(self, partition: int, epoch: int) -> None:
        stream = self._ground.subjects.stream("MAILBOX")
        consumer = self._ground.subjects.mail_consumer(partition, epoch)
        back = RECENT_EPOCHS
        while True:
            try:
                for old in range(max(1, epoch - back), epoch):
                    await self._ground.bus.delete_consumer(stream, self._ground.subjects.mail_consumer(partition, old))
                await self._ground.bus.ensure_consumer(mail_consumer(self._ground.subjects, partition, epoch))
                await self._pull(partition, stream, self._ground.bus.pull(stream, consumer, max_in_hand=IN_HAND))
            except WaypostError as error:
                log.warning("pump_interrupted", partition=partition, error=str(error))
                if isinstance(error, NotFound):
                    self._ground.look()
                if isinstance(error, Misconfigured):
                    back *= 8  # an older epoch's consumer is still there and overlaps with ours
                await asyncio.sleep(RETRY_SECONDS)

    async def _pull(self, partition: int, stream: str, puller: Puller) -> None:
        try:
            while True:
                deliveries = await puller.next_batch(IN_HAND)
                if deliveries[-1].stream_seq > self._ground.stored.get(stream, 0):
                    self._ground.stored[stream] = deliveries[-1].stream_seq
                for delivery in deliveries:
                    self._open(partition, delivery)
        finally:
            await puller.close()

    def _open(self, partition: int, delivery: Delivery) -> None:
        """Put what is in a delivery into the box; what cannot be read goes to the dead letters, and its pump goes on."""
        try:
            mail = decode_union(AnyMailed, delivery.body)
            if isinstance(mail, MailFrame):
                self._take_apart(partition, delivery, mail)
                return
            self._put(partition, delivery, mail)
        except PermanentError as error:
            self._unreadable(delivery, source_of(delivery), str(error))

    def _put(self, partition: int, delivery: Delivery, mail: AnyMail) -> None:
        """Raises `PermanentError` when it is not what its subject says, or not to be believed."""
        _, kind, name, run_id = delivery.subject.rsplit(".", 3)
        _check_sender(kind, name, mail)
        if run_id != mail.run_id:
            raise BadMessage(f"mail for run {mail.run_id} on the subject of run {run_id}")
        if isinstance(mail, DecideApproval):
            mail = self._gate.vouched(mail)
        answer = None
        if isinstance(mail, (Control, StartRun, ForkRun)) and mail.reply_to:
            answer = partial(self._reply, mail.reply_to)
        between_runs = not isinstance(mail, (Advance, ToolMail))  # nobody else's mail comes from an inbox
        letter = Letter(
            mail=mail,
            run_id=mail.run_id,
            partition=partition,
            done=delivery.ack,
            answer=answer,
            inbox_id=delivery.headers.get(INBOX_HEADER, "") if between_runs else "",
            delivery=delivery,
        )
        self._ground.box.put(letter)

    def _take_apart(self, partition: int, delivery: Delivery, frame: MailFrame) -> None:
        """Each part as if it had come alone. Raises `BadMessage` when there is none."""
        if not frame.mail:
            raise BadMessage("a frame without mail")
        whole = Whole(delivery, len(frame.mail))
        head, kind, name, _ = delivery.subject.rsplit(".", 3)
        for number, body in enumerate(frame.mail):
            part = Part(whole, number, body, delivery.subject)
            try:
                mail = decode_union(AnyFramed, body)
                part.subject = f"{head}.{kind}.{name}.{mail.run_id}"
                _check_sender(kind, name, mail)
            except PermanentError as error:
                self._unreadable(part, source_of(part), str(error))
                continue
            live = self._ground.runs.get(mail.run_id)
            own = self._ground.partition(mail.run_id) if live is None else live.partition
            letter = Letter(mail=mail, run_id=mail.run_id, partition=own, done=part.ack, delivery=part)
            if own != partition:  # it came with a run of another partition, which may be lost before this one
                letter.dropped = partial(self._forward, part, own)
            self._ground.box.put(letter)

    def _forward(self, part: Part, partition: int) -> None:
        """A part was given up here. Of a partition that is no longer ours it goes where it would have come alone, for its new owner; of one
        that is ours it comes again with its frame."""
        if not self._ground.owns(partition):
            task = asyncio.get_running_loop().create_task(self._forwarded(part))
            self._forwarding.add(task)
            task.add_done_callback(self._forwarding.discard)

    async def _forwarded(self, part: Part) -> None:
        *_, kind, name, run_id = part.subject.split(".")
        subject = self._ground.subjects.mail(kind, name, RunId(run_id))
        try:
            await self._ground.bus.publish(subject, part.body, msg_id=f"{source_of(part)}.forwarded")
        except WaypostError as error:
            log.warning("mail_not_forwarded", subject=subject, error=str(error))
        else:
            part.ack()

    def _reply(self, reply_to: str, reply: Reply) -> None:
        self._ground.bus.send(reply_to, encode(reply))


def _check_sender(kind: str, name: str, mail: AnyMail) -> None:
    """Raises `BadMessage` unless a subject of this kind and name is for such mail."""
    if isinstance(mail, Advance):
        if kind != "advance" or name != mail.agent:
            raise BadMessage(f"an advance of agent {mail.agent} on a subject for {kind} of {name}")
    elif kind != ("result" if isinstance(mail, ToolMail) else "control"):
        raise BadMessage(f"{type(mail).__name__} on a subject for {kind} of {name}")
