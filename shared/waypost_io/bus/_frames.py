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
_known_names: set[str] = set()
"""Header names that were found good: there are a dozen."""
_KNOWN_MOST = 256
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
            if name not in _known_names:
                _check_name(name)
            lines.append(f"{name}: {_clean(value)}")
    lines.append("\r\n")
    return "\r\n".join(lines).encode()


def encode_block(block: bytes, msg_id: str) -> bytes:
    """A header block of a message id and lines that are encoded already (`Outbound.block`)."""
    return b"NATS/1.0\r\nNats-Msg-Id: %b\r\n%b\r\n" % (_clean(msg_id).encode(), block)


def _check_name(name: str) -> None:
    if _HEADER_NAME(name) is None:
        raise BadInput(f"header name {name!r}: use printable ASCII without blanks and colons")
    if len(_known_names) < _KNOWN_MOST:
        _known_names.add(name)


def publish_frame(subject: str, reply: str, headers: bytes, body: bytes, *, limit: int = MAX_MESSAGE_BYTES) -> bytes:
    """A PUB or HPUB frame. Raises `TooLarge` when body and encoded headers are past `limit` bytes, `BadInput` for a bad subject."""
    total = check_message(subject, headers, body, limit=limit)
    if headers:
        return b"%b%b%b\r\n" % (f"HPUB {subject} {reply} {len(headers)} {total}\r\n".encode(), headers, body)
    return b"%b%b\r\n" % (f"PUB {subject} {reply} {total}\r\n".encode(), body)


def check_message(subject: str, headers: bytes, body: bytes, *, limit: int) -> int:
    """The bytes of body and encoded headers. Raises `TooLarge` when they are past `limit`, `BadInput` for a bad subject."""
    if not (subject.isascii() and subject.isprintable() and " " not in subject and subject):  # a third of what the pattern costs
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
    lines = block.decode("utf-8", "replace").split("\r\n")
    found: dict[str, str] = {}
    status = lines[0][len(_VERSION_LINE) :].strip()
    if status:
        code, _, description = status.partition(" ")
        found[STATUS_HEADER] = code
        if description:
            found[DESCRIPTION_HEADER] = description
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if colon:
            found[name.strip()] = value.strip()
    return found


def status_of(block: bytes | None) -> str:
    """The status code of a header block, "" when it carries none."""
    if not block or block[8:9] != b" ":
        return ""
    return block[9:12].decode("ascii", "replace")


def _clean(value: str) -> str:
    return value.strip() if value.isprintable() else value.translate(_LINE_BREAKS).strip()
