"""What happened, in order. Always condensed to a number that tells two replays apart; kept in full only when somebody will read it."""

from __future__ import annotations

import re
import zlib
from collections import Counter
from collections.abc import Callable
from typing import Any

from tests.simulation.loop import Process


class Trace:
    """`digest` is equal for two runs of a seed, or the simulation is not deterministic."""

    def __init__(self, now: Callable[[], float], *, keep: bool = False) -> None:
        self._now = now
        self._keep = keep
        self.digest = 0
        self.struck: Counter[str] = Counter()
        """How often each kind of fault struck."""
        self.lines: list[str] = []

    def add(self, what: str, process: Process | None, *details: Any) -> None:
        """One happening. Details are told by `str`, shortened."""
        name = process.name if process is not None else "world"
        self.digest = zlib.crc32(f"{self._now():.6f} {name} {what}".encode(), self.digest)
        if self._keep:
            told = " ".join(_short(detail) for detail in details if detail not in ("", None))
            self.lines.append(f"{self._now():9.4f} {name:16} {what:20} {told}")

    def strike(self, what: str, process: Process | None, *details: Any) -> None:
        """Something went wrong on purpose: a happening that is counted."""
        self.struck[what] += 1
        self.add(what, process, *details)


_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


def _short(detail: Any) -> str:
    text = detail.decode("utf-8", "replace") if isinstance(detail, bytes) else _ADDRESS.sub("", str(detail))
    return text if len(text) <= 160 else f"{text[:160]}…"
