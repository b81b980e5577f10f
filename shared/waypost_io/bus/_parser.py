"""Reads whole messages off the wire without a coroutine, a regular expression and a copy of the buffer for each.

nats-py's parser keeps every byte in one buffer, matches up to seven expressions against it, and awaits a coroutine per message: a
twentieth of what a service does under load (profiled; ADR 0187). Here a chunk from the socket is taken apart as it came, and what
is not a whole message (an answer to a ping, an error, the server's info, the pieces of a message that spans chunks) goes to
nats-py's own parser, which also judges what is malformed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from nats.protocol.parser import AWAITING_CONTROL_LINE, AWAITING_MSG_PAYLOAD, Parser

_LINE_END = b"\r\n"


class Receiver(Protocol):
    """Whose messages they are: nats-py's client."""

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes | None) -> None: ...


Deliver = Callable[[int, bytes, bytes, bytes, "bytes | None"], bool]
"""Called with subscription id, subject, reply, body and header block; False when it has nobody for the message."""


class QuickParser(Parser):
    """In place of nats-py's. Messages that `deliver` refuses go to the client as before, in order."""

    def __init__(self, client: Receiver, deliver: Deliver) -> None:
        self._resets = 0
        super().__init__(client)
        self._client = client
        self._deliver = deliver

    def reset(self) -> None:
        """The connection is gone, with whatever of its last chunk was not taken apart."""
        super().reset()
        self._resets += 1

    async def parse(self, data: bytes = b"") -> None:
        """One chunk as it came from the socket. Raises nats-py's `ProtocolError` as its own parser does."""
        if self.buf or self.state != AWAITING_CONTROL_LINE:
            data = await self._joined(data)
        position, end, resets = 0, len(data), self._resets
        while position < end:
            line_end = data.find(_LINE_END, position)
            frame = _message(data[position:line_end].split()) if line_end > 0 else None
            if frame is None:
                position = await self._other(data, position, line_end)
                if self._resets != resets:
                    return
                continue
            sid, subject, reply, header_bytes, body_bytes = frame
            start = line_end + len(_LINE_END)
            stop = start + body_bytes
            if stop + len(_LINE_END) > end:
                break
            headers = data[start : start + header_bytes] if header_bytes else None
            body = data[start + header_bytes : stop]
            if not self._deliver(sid, subject, reply, body, headers):
                await self._client._process_msg(sid, subject, reply, body, headers)
            position = stop + len(_LINE_END)
        if position < end:
            await super().parse(data[position:])

    async def _joined(self, data: bytes) -> bytes:
        """What is still to be taken apart, once the message that was cut by the end of the last chunk is whole."""
        if self.state == AWAITING_MSG_PAYLOAD:
            missing = self.needed + len(_LINE_END) - len(self.buf)
            await super().parse(data[:missing])
            return data[missing:]
        joined, self.buf = bytes(self.buf) + data, bytearray()
        return joined

    async def _other(self, data: bytes, position: int, line_end: int) -> int:
        """Hand one line to nats-py's parser, or all that is left where it wants more than the line; where the next one begins."""
        after = line_end + len(_LINE_END) if line_end >= 0 else len(data)
        await super().parse(data[position:after])
        if self.buf or self.state != AWAITING_CONTROL_LINE:
            await super().parse(data[after:])
            return len(data)
        return after


def _message(words: list[bytes]) -> tuple[int, bytes, bytes, int, int] | None:
    """Subscription id, subject, reply, header bytes and bytes in all of a message's control line; None for any other line.

    `MSG subject sid [reply] bytes` and `HMSG subject sid [reply] header-bytes bytes`, as the server writes them (NATS client protocol).
    """
    count = len(words)
    try:
        if words[0] == b"HMSG":
            headers, size = int(words[-2]), int(words[-1])
            reply = words[3] if count == 6 else b"" if count == 5 else None
        elif words[0] == b"MSG":
            headers, size = 0, int(words[-1])
            reply = words[3] if count == 5 else b"" if count == 4 else None
        else:
            return None
        if reply is None or not 0 <= headers <= size:
            return None
        return int(words[2]), words[1], reply, headers, size
    except (ValueError, IndexError):  # an empty line, or no number where one belongs
        return None
