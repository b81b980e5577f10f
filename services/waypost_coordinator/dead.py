"""Dead letters: what cannot be processed is kept, with its bytes and the reason, in Postgres and on `waypost.dead.<origin>`.

The row comes first, then the copy on NATS, then the ack: a crash in between repeats all three, and the row's source makes that harmless.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import structlog

from waypost_coordinator.ground import Ground
from waypost_coordinator.letters import Letter, source_of
from waypost_io.bus.ports import Delivery
from waypost_proto.errors import WaypostError
from waypost_proto.mailbox import Reply
from waypost_proto.notices import DEAD_ID_HEADER, DEAD_ORIGIN_HEADER, DEAD_REASON_HEADER, DEAD_SEQUENCE_HEADER, DEAD_STREAM_HEADER

log = structlog.get_logger(__name__)

TRIES = 3
"""How often a message may fail to be handled before it is dead. Counted in the database, so that a crash counts too."""
REASON_CHARS = 1_000


class Undertaker:
    """Buries what cannot be handled. `bury` may be called for the same message again."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._tasks: set[asyncio.Task[None]] = set()

    async def failed(self, letter: Letter, reason: str) -> None:
        """A letter could not be decided or committed. After `TRIES` it is dead; before that it stays unacked and comes again."""
        live = self._ground.runs.get(letter.run_id)
        agent = "" if live is None else live.state.agent
        log.error("letter_failed", run_id=letter.run_id, agent=agent, kind=type(letter.mail).__name__, reason=reason)
        reply = Reply(run_id=letter.run_id, ok=False, code="500", message=f"could not be handled: {reason}")
        if letter.buried is not None:
            letter.buried()
            return
        letter.drop(reply)
        if letter.delivery is not None:
            origin = letter.delivery
            letter.source, letter.subject = source_of(origin), origin.subject
            letter.body, letter.headers = origin.body, origin.headers
        if not letter.source:
            return  # the shell's own letters are derived again
        try:
            if await self._ground.store.dead.count_failure(letter.source) >= TRIES:
                await self._bury(letter.source, letter.subject, letter.body, letter.headers or {}, reason, letter.run_id)
                if letter.done is not None:
                    letter.done()
        except WaypostError as error:
            log.warning("dead_letter_not_recorded", source=letter.source, error=str(error))

    def unreadable(self, delivery: Delivery, source: str, reason: str) -> None:
        """Not a message of ours: dead at once. Does not wait; what is not recorded comes again."""
        task = asyncio.get_running_loop().create_task(self._unreadable(delivery, source, reason))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _unreadable(self, delivery: Delivery, source: str, reason: str) -> None:
        try:
            await self.refuse(delivery, source, reason)
        except WaypostError as error:
            log.warning("dead_letter_not_recorded", source=source, error=str(error))

    async def refuse(self, delivery: Delivery, source: str, reason: str) -> None:
        """Record, publish, ack. Idempotent by `source`. Raises `Unreachable` or `PublishTimeout`: then nothing is acked."""
        await self._bury(source, delivery.subject, delivery.body, delivery.headers, reason, None)
        delivery.ack()

    async def _bury(self, source: str, subject: str, body: bytes, headers: Mapping[str, str], reason: str, run_id: str | None) -> None:
        origin = source.split(".", 1)[0].lower()
        reason = reason[:REASON_CHARS]
        dead_id = await self._ground.store.dead.add(
            origin=origin, subject=subject, reason=reason, body=body, headers=headers, source=source, run_id=run_id
        )
        copy = {
            DEAD_ID_HEADER: str(dead_id),
            DEAD_REASON_HEADER: _one_line(reason),
            DEAD_ORIGIN_HEADER: subject,
            DEAD_STREAM_HEADER: self._ground.subjects.stream(origin.upper()),
            DEAD_SEQUENCE_HEADER: source.rsplit(".", 1)[-1].partition("-")[0],  # a part has the number of its message
        }
        await self._ground.bus.publish(self._ground.subjects.dead(origin), body, headers=copy, msg_id=source)
        self._ground.metrics.dead(origin)
        log.warning("dead_letter", origin=origin, dead_id=dead_id, reason=reason)


def _one_line(text: str) -> str:
    """Header values are one line of printable ASCII."""
    return "".join(c if " " <= c <= "~" else " " for c in text)
