"""Several messages to one stream with one confirmation: JetStream's fast-ingest batches (ADR-50), nats-server 2.14 and later.

Each message is stored as it arrives; the server counts them by their reply subjects
`<inbox>.<batch>.<flow>.fail.<number>.<operation>.$FI` and answers the last one with the number it stored. A message that is missing or
refused ends the batch, and the count is short: so one answer proves that all are stored, through a change of leader too. Duplicates
(`Nats-Msg-Id`) count and are stored once. Anything but the full count is a failure of the whole group, after which each of its messages
may be stored or not: to be published again one by one, under the same ids.

A server that does not know of batches takes the reply subjects for ordinary ones, and confirms each message. That is counted too.
Owns the frames and the counting; when to send, and how long to wait, is the publisher's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

import msgspec
from msgspec import Struct

from waypost_io.bus._frames import NO_RESPONDERS, check_message, encode_block, encode_headers, status_of
from waypost_io.bus.ports import Outbound, PubAck
from waypost_proto.errors import NotFound, TransientError, WaypostError

_START, _APPEND, _COMMIT = b"0", b"1", b"2"
_FLOW = b"1000"
"""Above the largest group: the server need not confirm before the last."""
_PROGRESS = b'"type":"ack"'


_NOT_ALLOWED = 10205
"""JSBatchPublishDisabled."""


class GroupsNotAllowed(TransientError):
    """The stream's settings (`allow_batched`) do not allow groups; nothing was stored."""


class _Error(Struct, frozen=True):
    err_code: int = 0
    description: str = ""


class _Answer(Struct, frozen=True):
    type: str = ""
    stream: str = ""
    seq: int = 0
    batch: str = ""
    count: int = 0
    error: _Error | None = None


_decode = msgspec.json.Decoder(_Answer).decode


class Group:
    """The frames of one group, and what the server has said of it."""

    __slots__ = ("_heads", "_single", "_tails", "size", "subject")

    def __init__(self, messages: Sequence[Outbound], *, limit: int) -> None:
        """Raises `TooLarge` or `BadInput` for the first message that cannot be sent."""
        self.subject = messages[0].subject
        self._heads: list[bytes] = []
        self._tails: list[bytes] = []
        self._single: dict[bytes, PubAck] = {}
        self.size = 0
        for message in messages:
            headers = headers_of(message)
            total = check_message(message.subject, headers, message.body, limit=limit)
            self._heads.append(f"HPUB {message.subject} ".encode())
            self._tails.append(b"$FI %d %d\r\n%b%b\r\n" % (len(headers), total, headers, message.body))
            self.size += total

    def __len__(self) -> int:
        return len(self._tails)

    def frame(self, reply: bytes) -> bytes:
        """All of them. `reply` ends in the batch's id, which nobody on the server has used before; sent again it is another batch."""
        last = len(self._tails)
        parts: list[bytes] = []
        operation = _START
        for number, (head, tail) in enumerate(zip(self._heads, self._tails, strict=True), 1):
            if number == last:
                operation = _COMMIT
            parts += (head, b"%b.%b.fail.%d.%b." % (reply, _FLOW, number, operation), tail)
            operation = _APPEND
        self._single.clear()
        return b"".join(parts)

    def heard(self, subject: bytes, body: bytes, headers: bytes | None) -> PubAck | WaypostError | None:
        """What an answer means for the group: the last message's ack, a failure, or nothing yet."""
        if _PROGRESS in body:
            return None
        if headers is not None and status_of(headers) == NO_RESPONDERS:
            return NotFound(f"no stream takes {self.subject!r}: it is missing or JetStream is not enabled")
        try:
            answer = _decode(body)
        except msgspec.DecodeError as error:
            return TransientError(f"publish to {self.subject!r}: unreadable answer {body[:80]!r}: {error}")
        if answer.error is not None:
            return self._refused(answer.error)
        ack = PubAck(answer.stream, answer.seq)
        if not answer.type and not answer.batch:  # a server without batches: each message is confirmed
            self._single[subject] = ack
            return None if len(self._single) < len(self) else max(self._single.values(), key=lambda each: each.seq)
        if answer.count == len(self) and not answer.type:
            return ack
        return TransientError(f"JetStream stored only some of {len(self)} messages, the first to {self.subject!r}")

    def _refused(self, error: _Error) -> WaypostError:
        if error.err_code == _NOT_ALLOWED:
            return GroupsNotAllowed(f"the stream of {self.subject!r} takes messages one by one only")
        text = f"{error.description} (err_code {error.err_code})"
        return TransientError(f"JetStream refused one of {len(self)} messages, the first to {self.subject!r}: {text}")


def headers_of(message: Outbound) -> bytes:
    """The header block of a message."""
    return encode_block(message.block, message.msg_id) if message.block else encode_headers(message.headers, message.msg_id)


def together(confirmations: Iterable[asyncio.Future[PubAck]]) -> asyncio.Future[PubAck]:
    """The last ack of messages that were published one by one, when all are stored; the first failure, when all are settled."""
    waiting = list(confirmations)
    future: asyncio.Future[PubAck] = asyncio.get_running_loop().create_future()
    left = len(waiting)

    def settled(_: asyncio.Future[PubAck]) -> None:
        nonlocal left
        left -= 1
        if left or future.done():
            return
        errors = [each.exception() for each in waiting if not each.cancelled()]
        failed = next((error for error in errors if error is not None), None)
        if failed is not None:
            future.set_exception(failed)
            future.exception()  # marks it as seen: who drops the awaitable gets no warning
        else:
            future.set_result(waiting[-1].result())

    for each in waiting:
        each.add_done_callback(settled)
    return future
