"""Frames that a NATS client sends, cut out of a stream of bytes, and how they are forged. Pure.

Only PUB and HPUB have a payload; every other operation is one line.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

_END = b"\r\n"
_LAST_HEADER = b"\r\n\r\n"
_FORGOTTEN = (b"nats-msg-id:", b"nats-expected-")
"""Headers by which the server would refuse the second copy."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One operation, with its bytes as they were. `subject` is empty unless it publishes."""

    data: bytes
    subject: bytes = b""
    reply: bytes = b""
    headers: bytes = b""
    body: bytes = b""


class Cutter:
    """Collects bytes and yields whole frames; what is incomplete waits for more."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that are complete now. Raises `ValueError` for what no client of this protocol sends."""
        self._buffer += data
        start = 0
        while (end := self._buffer.find(_END, start)) >= 0:
            line = bytes(self._buffer[start:end])
            size = _payload_size(line)
            stop = end + len(_END) + (size + len(_END) if size is not None else 0)
            if len(self._buffer) < stop:
                break
            yield _frame(line, bytes(self._buffer[start:stop]), end + len(_END) - start, size)
            start = stop
        del self._buffer[:start]


def _payload_size(line: bytes) -> int | None:
    """None for an operation without payload."""
    operation = line[:5].upper()
    if operation.startswith((b"PUB ", b"HPUB ")):
        return int(line.rsplit(b" ", 1)[1])
    return None


def _frame(line: bytes, data: bytes, payload_at: int, size: int | None) -> Frame:
    if size is None:
        return Frame(data)
    words = line.split()
    payload = data[payload_at : payload_at + size]
    with_headers = words[0].upper() == b"HPUB"
    length = int(words[-2]) if with_headers else 0
    middle = words[2 : -2 if with_headers else -1]
    return Frame(data, words[1], middle[0] if middle else b"", payload[:length], payload[length:])


def forged(frame: Frame, *, reply: bool) -> bytes:
    """The same message once more, as the server does not recognise it; without its reply subject unless `reply`."""
    head = [frame.subject, *([frame.reply] if reply and frame.reply else [])]
    headers = _without_ids(frame.headers)
    if not headers:
        return b"PUB " + b" ".join([*head, str(len(frame.body)).encode()]) + _END + frame.body + _END
    sizes = [str(len(headers)).encode(), str(len(headers) + len(frame.body)).encode()]
    return b"HPUB " + b" ".join([*head, *sizes]) + _END + headers + frame.body + _END


def _without_ids(headers: bytes) -> bytes:
    lines = headers.removesuffix(_LAST_HEADER).split(_END)
    kept = [line for line in lines if not line.lower().startswith(_FORGOTTEN)]
    return _END.join(kept) + _LAST_HEADER if len(kept) > 1 else b""
