"""Heads: what the log says of itself, signed. A checkpoint of c2sp.org/tlog-checkpoint, with the time as its extension line:

    waypost/9f3c…                 the log's name (origin)
    1234                          leaves
    qINS1GRFiWaxCW4YgfwTAkl…=     the root, base64
    time 2026-11-22T17:00:00.000000Z

and statements of keys. Each key but the first is brought in by the one before it, and both sign, so that whoever trusts one of them can
follow the others in both directions:

    waypost audit key
    waypost/9f3c…
    1234                          all heads up to this size are the old key's, all beyond the new one's
    qINS1GRFiWaxCW4YgfwTAkl…=     the root then
    time 2026-11-22T17:00:00.000000Z
    old waypost-audit+…           - for the first key
    new waypost-audit+…
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Final

from waypost_core.audit.merkle import HASH_BYTES
from waypost_core.audit.notes import BadNote, Note, VerifierKey
from waypost_proto.task import format_time, parse_time

_KEY_LINE: Final = "waypost audit key"
NO_KEY: Final = "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """`size` leaves have this root. `time`: Unix seconds."""

    origin: str
    size: int
    root: bytes
    time: float

    @property
    def text(self) -> str:
        """What is signed."""
        return f"{self.origin}\n{self.size}\n{_base64(self.root)}\ntime {format_time(self.time)}\n"

    @classmethod
    def parse(cls, text: str) -> Head:
        """Raises `BadNote`. Extension lines that we do not know are passed over, as the format wants it."""
        lines = text.splitlines()
        if len(lines) < 3:
            raise BadNote("a head has a name, a size and a root, each on a line of its own")
        times = [line.removeprefix("time ") for line in lines[3:] if line.startswith("time ")]
        return cls(origin=lines[0], size=_size(lines[1]), root=_root(lines[2]), time=_time(times[0]) if times else 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyStatement:
    """`new` signs all heads beyond `size`; `old` is None for the first key of a log."""

    origin: str
    size: int
    root: bytes
    time: float
    old: VerifierKey | None
    new: VerifierKey

    @property
    def text(self) -> str:
        """What both sign."""
        old = NO_KEY if self.old is None else str(self.old)
        body = f"{_KEY_LINE}\n{self.origin}\n{self.size}\n{_base64(self.root)}\ntime {format_time(self.time)}\n"
        return f"{body}old {old}\nnew {self.new}\n"

    @classmethod
    def parse(cls, text: str) -> KeyStatement:
        """Raises `BadNote`."""
        lines = text.splitlines()
        if len(lines) != 7 or lines[0] != _KEY_LINE or [line.split(" ")[0] for line in lines[4:]] != ["time", "old", "new"]:
            raise BadNote("this is no statement of a key of the audit log")
        old = lines[5].removeprefix("old ")
        return cls(
            origin=lines[1],
            size=_size(lines[2]),
            root=_root(lines[3]),
            time=_time(lines[4].removeprefix("time ")),
            old=None if old == NO_KEY else VerifierKey.parse(old),
            new=VerifierKey.parse(lines[6].removeprefix("new ")),
        )


def parse_head(note: str) -> tuple[Head, Note]:
    """A signed head; nothing is verified. Raises `BadNote`."""
    found = Note.parse(note)
    return Head.parse(found.text), found


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _size(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or (text.startswith("0") and text != "0") or len(text) > 18:
        raise BadNote(f"{text[:30]!r} is no number of leaves")
    return int(text)


def _root(text: str) -> bytes:
    try:
        found = base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        found = b""
    if len(found) != HASH_BYTES or _base64(found) != text:
        raise BadNote(f"{text[:60]!r} is no root: base64 of {HASH_BYTES} bytes")
    return found


def _time(text: str) -> float:
    try:
        return parse_time(text)
    except ValueError as error:
        raise BadNote(f"{text[:40]!r} is no time") from error
