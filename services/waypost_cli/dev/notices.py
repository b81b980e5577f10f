"""What the supervisor tells about its processes, and how a line on the terminal looks."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TextIO

What = Literal["starting", "ready", "ended", "restarting", "reloading", "killed", "stopped"]


@dataclass(frozen=True, slots=True)
class Notice:
    """Something happened to a process."""

    name: str
    """Of the process: `nats`, `postgres`, `coordinator`, `worker`, …"""
    what: What
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.name} {self.what}{': ' if self.detail else ''}{self.detail}"


Notify = Callable[[Notice], None]
LogLine = Callable[[str, str], None]
"""(process name, line of its log)."""

_COLOURS = (36, 33, 32, 35, 34, 96, 93, 92)


class Terminal:
    """Prints notices and log lines with the process's name in front, in colour on a terminal."""

    def __init__(self, out: TextIO | None = None) -> None:
        self._out = out or sys.stderr
        self._colour = self._out.isatty()
        self._seen: dict[str, int] = {}
        self._width = len("coordinator")

    def notice(self, notice: Notice) -> None:
        """For `Notify`."""
        text = f"{notice.what}{': ' if notice.detail else ''}{notice.detail}"
        self._write(notice.name, f"{time.strftime('%H:%M:%S')} [{text}]")

    def log_line(self, name: str, line: str) -> None:
        """For `LogLine`."""
        self._write(name, line)

    def _write(self, name: str, text: str) -> None:
        label = f"{name:<{self._width}} |"
        if self._colour:
            colour = _COLOURS[self._seen.setdefault(name, len(self._seen)) % len(_COLOURS)]
            label = f"\x1b[{colour}m{label}\x1b[0m"
        print(label, text, file=self._out, flush=True)
