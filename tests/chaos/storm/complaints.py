"""What services logged as errors, read from where the last look ended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec

_MARK = b'"level":"error"'
_WIDTH = 100


class Line(msgspec.Struct, kw_only=True):
    """A line of a service's log, as far as it matters here."""

    service: str = ""
    event: str = ""
    error: str = ""
    exception: str = ""

    def __str__(self) -> str:
        why = self.error or (self.exception.strip().splitlines() or [""])[-1]
        return f"{self.service}: {self.event[:_WIDTH]}{f' ({why[:_WIDTH]})' if why else ''}"


class Complaints:
    """Of every log in a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: Counter[Path] = Counter()

    def since_last(self) -> Counter[str]:
        """How often each error was logged since the last call."""
        return Counter(str(line) for path in sorted(self._folder.glob("*-[0-9].log")) for line in self._fresh(path))

    def _fresh(self, path: Path) -> Iterator[Line]:
        with path.open("rb") as file:
            file.seek(self._read[path])
            for text in file:
                if not text.endswith(b"\n"):
                    break
                self._read[path] += len(text)
                if _MARK in text:
                    yield _line(text)


def _line(text: bytes) -> Line:
    try:
        return msgspec.json.decode(text, type=Line)
    except msgspec.MsgspecError:
        return Line(event=text.decode(errors="replace"))
