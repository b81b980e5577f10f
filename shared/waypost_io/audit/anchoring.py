"""Anchors: places outside of the database where heads are kept, so that whoever has the database and the key cannot make another record.

    class Ledger:                                          # kind = "python", entry = "my_company.anchors:Ledger"
        def __init__(self, name: str, options: Mapping[str, object]) -> None: ...
        def put(self, head: HeadRecord) -> str: ...

`put` blocks, in a thread of its own; it bounds its own time. After a crash it may get the same head again; otherwise later ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import msgspec

from waypost_core.audit.heads import parse_head
from waypost_core.audit.kept import HeadRecord
from waypost_proto.errors import Conflict
from waypost_proto.task import format_time

__all__ = ["Anchor", "HeadRecord", "Options", "check_after", "read_record", "record_line", "record_of"]

Options = Mapping[str, object]


class Anchor(Protocol):
    """One place."""

    def put(self, head: HeadRecord) -> str:
        """Keep the head; where it is, in a few words. Idempotent by (origin, size).

        Raises `Conflict` when the place has a head that this one contradicts, anything else when it could not be kept: it is tried again.
        """
        ...


def record_of(note: str, key_id: str) -> HeadRecord:
    """What anchors keep of a signed head. Raises `BadNote`."""
    head = parse_head(note)[0]
    root = head.text.splitlines()[2]
    return HeadRecord(origin=head.origin, size=head.size, root=root, time=format_time(head.time), key_id=key_id, note=note)


def record_line(head: HeadRecord) -> bytes:
    """One line of JSON, with its end."""
    return msgspec.json.encode(head) + b"\n"


def check_after(last_line: bytes, head: HeadRecord, where: str) -> bool:
    """Whether the head is still to be kept behind the last line of a place; False when it is there.

    Raises `Conflict` when that line is of a log that this head's is not the continuation of, as far as sizes and roots tell.
    """
    if not last_line.strip():
        return True
    try:
        last = msgspec.json.decode(last_line, type=HeadRecord)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Conflict(f"the last line of {where} is no head: {error}; look at it, and mend it or name another place") from error
    if last.origin != head.origin:
        raise Conflict(f"{where} has heads of the log {last.origin!r}, this one is {head.origin!r}: name a place of its own for each log")
    if last.size > head.size:
        raise Conflict(
            f"{where} has a head of {last.size} leaves, this log's newest has {head.size}: "
            "the log's end was lost, or it was restored from an old copy"
        )
    if last.size == head.size and last.root != head.root:
        raise Conflict(f"{where} has another root of {head.size} leaves than this log: the log was forked")
    return last.size < head.size


def read_record(data: bytes) -> HeadRecord | None:
    """A head as it was kept; None for anything else."""
    try:
        return msgspec.json.decode(data, type=HeadRecord)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
