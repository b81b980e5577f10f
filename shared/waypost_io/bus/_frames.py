"""NATS protocol frames as bytes: what we send, and the headers of what we receive. Pure; owns no connection.

A frame is checked here, before it is queued: the server answers a frame past its payload limit by closing the
connection (probed), and a blank or line break in a subject would be read as another protocol command.
Source: https://docs.nats.io/reference/reference-protocols/nats-protocol
"""

from __future__ import annotations

import re

from waypost_io.bus.ports import Headers
from waypost_proto.errors import BadInput, TooLarge
from waypost_proto.limits import MAX_MESSAGE_BYTES

MSG_ID_HEADER = "Nats-Msg-Id"
STATUS_HEADER = "Status"
DESCRIPTION_HEADER = "Description"
NO_RESPONDERS = "503"

_VERSION_LINE = b"NATS/1.0"
_SUBJECT = re.compile(r"[^\s\x00-\x1f\x7f]+").fullmatch
_HEADER_NAME = re.compile(r"[!-9;-~]+").fullmatch
_LINE_BREAKS = str.maketrans({"\r": " ", "\n": " "})


def check_subject(subject: str) -> str:
    """Return `subject` if it can stand in a frame. Raises `BadInput`."""
    if _SUBJECT(subject) is None:
        raise BadInput(f"subject {subject!r} is empty or holds blanks or control characters")
    return subject


def encode_headers(headers: Headers | None, msg_id: str | None = None) -> bytes:
    """A header block, or b"" when there is none. Line breaks in values become blanks. Raises `BadInput` for a bad name."""
    if not headers and msg_id is None:
        return b""
    lines = ["NATS/1.0"]
    if msg_id is not None:
        lines.append(f"{MSG_ID_HEADER}: {_clean(msg_id)}")
    if headers:
        for name, value in headers.items():
            if _HEADER_NAME(name) is None:
                raise BadInput(f"header name {name!r}: use printable ASCII without blanks and colons")
            lines.append(f"{name}: {_clean(value)}")
    lines.append("\r\n")
    return "\r\n".join(lines).encode()


def publish_frame(subject: str, reply: str, headers: bytes, body: bytes, *, limit: int = MAX_MESSAGE_BYTES) -> bytes:
    """A PUB or HPUB frame. Raises `TooLarge` when body and encoded headers are past `limit` bytes, `BadInput` for a bad subject."""
    total = check_message(subject, headers, body, limit=limit)
    if headers:
        return b"%b%b%b\r\n" % (f"HPUB {subject} {reply} {len(headers)} {total}\r\n".encode(), headers, body)
    return b"%b%b\r\n" % (f"PUB {subject} {reply} {total}\r\n".encode(), body)


def check_message(subject: str, headers: bytes, body: bytes, *, limit: int) -> int:
    """The bytes of body and encoded headers. Raises `TooLarge` when they are past `limit`, `BadInput` for a bad subject."""
    if _SUBJECT(subject) is None:
        check_subject(subject)
    total = len(headers) + len(body)
    if total > limit:
        raise TooLarge(
            f"message to {subject!r}: {len(body)} bytes of body and {len(headers)} of headers, the limit is {limit}; "
            "send large values as a blob"
        )
    return total


def decode_headers(block: bytes | None) -> dict[str, str]:
    """The headers of a received message; a status line (`NATS/1.0 408 Request Timeout`) becomes `Status` and `Description`."""
    if not block:
        return {}
    lines = block.split(b"\r\n")
    found: dict[str, str] = {}
    status = lines[0][len(_VERSION_LINE) :].strip()
    if status:
        code, _, description = status.partition(b" ")
        found[STATUS_HEADER] = code.decode("ascii", "replace")
        if description:
            found[DESCRIPTION_HEADER] = description.decode("utf-8", "replace")
    for line in lines[1:]:
        name, colon, value = line.partition(b":")
        if colon:
            found[name.strip().decode("ascii", "replace")] = value.strip().decode("utf-8", "replace")
    return found


def status_of(block: bytes | None) -> str:
    """The status code of a header block, "" when it carries none."""
    if not block or block[8:9] != b" ":
        return ""
    return block[9:12].decode("ascii", "replace")


def _clean(value: str) -> str:
    return value.translate(_LINE_BREAKS).strip() if "\n" in value or "\r" in value else value.strip()
