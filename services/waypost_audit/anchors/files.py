"""Heads in a file, a line of JSON each: on another machine's disk, on write-once storage, wherever the database's owner does not reach."""

from __future__ import annotations

import os
from pathlib import Path

from waypost_io.audit.anchoring import HeadRecord, check_after, record_line

TAIL_BYTES = 64 * 1024
"""The last line is looked for in so much of the end; a line is about 1 KiB."""


class FileAnchor:
    """Appends to one file. A half-written last line, of a crash, is ended and stays: nothing is ever taken back."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def put(self, head: HeadRecord) -> str:
        """See `anchoring.Anchor`."""
        append_head(self._path, head)
        return str(self._path)


def append_head(path: Path, head: HeadRecord) -> bool:
    """Append a head behind the last one; False when it is there. Raises `Conflict`, `OSError`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - TAIL_BYTES))
        tail = file.read()
        torn = bool(tail) and not tail.endswith(b"\n")
        lines = tail.splitlines()
        if torn:
            lines = lines[:-1]
        if not check_after(lines[-1] if lines else b"", head, str(path)):
            return False
        file.write((b"\n" if torn else b"") + record_line(head))
        file.flush()
        os.fsync(file.fileno())
    return True
