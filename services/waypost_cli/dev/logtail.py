"""Follows the log files of the processes and hands their lines on.

Files and not pipes: a terminal that stands still (Ctrl-S) must not stop the services, and a crash leaves its log behind.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path

from waypost_cli.dev.notices import LogLine

POLL_SECONDS = 0.1
MAX_LOG_BYTES = 64 << 20
"""A file that grows past this starts over."""
CHUNK_BYTES = 1 << 18


class LogFollower:
    """Reads what is appended to the files from now on."""

    def __init__(self, files: Mapping[str, Path], on_line: LogLine) -> None:
        self._files = dict(files)
        self._on_line = on_line
        self._offsets = {name: _size(path) for name, path in self._files.items()}
        self._rests = dict.fromkeys(self._files, b"")

    async def run(self) -> None:
        """Follow until cancelled; what is there then is still handed on."""
        try:
            while True:
                self.poll()
                await asyncio.sleep(POLL_SECONDS)
        finally:
            self.poll()

    def poll(self) -> None:
        """Hand on the complete lines that are new."""
        for name, path in self._files.items():
            size = _size(path)
            if size < self._offsets[name]:  # it was started over
                self._offsets[name], self._rests[name] = 0, b""
            while self._offsets[name] < size:
                self._read(name, path)
            if size > MAX_LOG_BYTES:
                os.truncate(path, 0)

    def _read(self, name: str, path: Path) -> None:
        with path.open("rb") as file:
            file.seek(self._offsets[name])
            data = file.read(CHUNK_BYTES)
        if not data:
            self._offsets[name] = _size(path)
            return
        self._offsets[name] += len(data)
        *lines, rest = (self._rests[name] + data).split(b"\n")
        self._rests[name] = rest[-CHUNK_BYTES:]
        for line in lines:
            self._on_line(name, line.decode("utf-8", "replace"))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
