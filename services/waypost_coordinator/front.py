"""The front desk: how a request gets to the run it is for. Implements `api.Commands`, and serves intake.

A run that is ours is handed over in memory, anyone else's through the mailbox; either way the answer comes after the commit, so
that what was answered is in Postgres (CORRECTNESS.md row 2).
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from typing import Self

import msgspec

from waypost_coordinator.ground import Ground
from waypost_coordinator.letters import Letter, Rederive
from waypost_core.starting import input_digest
from waypost_io.bus.ports import Message, Subscription
from waypost_proto.api import RedispatchAnswer
from waypost_proto.codec import decode, encode
from waypost_proto.errors import BadMessage, NotConfirmed, NotFound
from waypost_proto.ids import RunId
from waypost_proto.mailbox import AnyControl, ChildEnded, Reply, StartRun

EVERYTHING = ""
"""On the replicas' subject: derive all of yours again. Anything else there is the id of one run."""
CONFIRM_SECONDS = 10.0
"""How long a caller waits for the commit before it is told that it may or may not happen."""


class FrontDesk:
    """Use as an async context manager: entering subscribes to the replies of other replicas."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._inbox = ground.bus.new_inbox()
        self._waiting: dict[str, asyncio.Future[Reply]] = {}
        self._subscription: Subscription | None = None

    async def __aenter__(self) -> Self:
        self._subscription = await self._ground.bus.subscribe(f"{self._inbox}.*", self._replied)
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._subscription is not None:
            await self._subscription.close()

    async def submit(self, mail: AnyControl) -> Reply:
        """See `api.Commands.submit`."""
        if isinstance(mail, StartRun):
            reserved = await self.reserve(mail)
            if isinstance(reserved, Reply):
                return reserved
            mail = reserved
        future: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        partition = self._ground.partition(mail.run_id)
        name = uuid.uuid4().hex
        try:
            async with asyncio.timeout(CONFIRM_SECONDS):
                if self._ground.owns(partition):
                    self._ground.box.put(Letter(mail=mail, run_id=mail.run_id, partition=partition, answer=_resolver(future)))
                else:
                    self._waiting[name] = future
                    await self._send(mail, f"{self._inbox}.{name}")
                return await future
        except TimeoutError:
            raise NotConfirmed(
                f"run {mail.run_id}: the commit was not confirmed within {CONFIRM_SECONDS:.0f} seconds; it may still be applied, "
                "asking again is safe"
            ) from None
        finally:
            self._waiting.pop(name, None)

    async def reserve(self, mail: StartRun) -> StartRun | Reply:
        """Bind an idempotency key to its run id. Another input under the same key is a conflict. Raises `Unreachable`."""
        if mail.idempotency_key is None:
            return mail
        key = (mail.tenant, mail.agent, mail.idempotency_key)
        digest = input_digest(mail)
        run_id, first_digest = (await self._ground.store.keys.reserve([(*key, mail.run_id, digest)]))[key]
        if first_digest != digest:
            message = (
                f"idempotency key {mail.idempotency_key!r} of agent {mail.agent} was used by run {run_id} with another input; "
                "use a new key for new input"
            )
            return Reply(run_id=run_id, ok=False, code="409", message=message)
        return mail if run_id == mail.run_id else msgspec.structs.replace(mail, run_id=run_id)

    async def redispatch(self, run_id: RunId | None) -> RedispatchAnswer:
        """See `api.Commands.redispatch`: one run by its owner; all of them by a call to every replica, ourselves among them."""
        if run_id is None:
            runs = await self._open_runs()
            self._ground.bus.send(self._ground.subjects.broadcast(), encode(EVERYTHING))
            return RedispatchAnswer(runs=runs, dispatches=0)
        if await self._ground.store.reads.get(run_id) is None:
            raise NotFound(f"no run {run_id}")
        partition = self._ground.partition(run_id)
        if self._ground.owns(partition):
            self._ground.box.put(Letter(mail=Rederive(), run_id=run_id, partition=partition))
        else:
            self._ground.bus.send(self._ground.subjects.broadcast(), encode(run_id))
        return RedispatchAnswer(runs=1, dispatches=0)

    async def _open_runs(self) -> int:
        """How many runs are open, whoever owns them."""
        count = 0
        for partition in range(self._ground.partitions):
            after = ""
            while rows := await self._ground.store.log.open_runs(partition, after=after):
                count += len(rows)
                after = rows[-1].run_id
        return count

    async def _send(self, mail: AnyControl, reply_to: str) -> None:
        name = mail.agent if isinstance(mail, StartRun) else "run"
        addressed = mail if isinstance(mail, ChildEnded) else msgspec.structs.replace(mail, reply_to=reply_to)
        subject = self._ground.subjects.mail("control", name, mail.run_id)
        try:
            await self._ground.bus.publish(subject, encode(addressed), msg_id=reply_to)
        except NotFound as error:  # the streams were wiped and are made again at once: not the caller's fault, and not for good
            self._ground.look()
            raise NotConfirmed(f"run {mail.run_id}: the mailbox is being made again ({error}); ask again") from error

    async def _replied(self, message: Message) -> None:
        future = self._waiting.pop(message.subject.rsplit(".", 1)[-1], None)
        if future is None or future.done():
            return
        try:
            future.set_result(decode(Reply, message.body))
        except BadMessage as error:
            future.set_exception(error)


def _resolver(future: asyncio.Future[Reply]) -> Callable[[Reply], None]:
    def resolve(reply: Reply) -> None:
        if not future.done():
            future.set_result(reply)

    return resolve
