"""What a stand-in for the coordinator keeps: the journal of a run, and each advance as it arrived."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import msgspec
from msgspec import Raw

from waypost_proto import commands as cmd
from waypost_proto import events as ev
from waypost_proto.codec import encode
from waypost_proto.ids import RunId
from waypost_proto.mailbox import Advance
from waypost_proto.work import Entry


@dataclass
class Run:
    """One run's journal as a coordinator keeps it."""

    run_id: RunId
    agent: str
    build: str
    entries: list[Entry] = field(default_factory=list)
    digest: str = ""
    seen: int = 0
    running: int = 0
    worker: str = ""
    status: str = "running"
    counter: int = 0
    steps_left: int | None = None
    result: Any = None
    error: Any = None

    @property
    def outside(self) -> int:
        return max((entry.seq for entry in self.entries if entry.type in ev.OUTSIDE), default=0)

    def record(self, data: ev.Data, *, at: float | None = None) -> int:
        """Append an event; its seq."""
        body = encode(data)
        kind = msgspec.json.decode(body)["type"]
        self.entries.append(Entry(seq=len(self.entries) + 1, type=kind, at=at or time.time(), data=Raw(body)))
        return len(self.entries)

    def of_type(self, kind: str) -> list[Entry]:
        return [entry for entry in self.entries if entry.type == kind]


@dataclass(frozen=True)
class Seen:
    """One advance as it arrived: accepted, rejected, or a repeat."""

    advance: Advance
    items: list[cmd.AnyItem]
    verdict: str

    @property
    def kinds(self) -> list[str]:
        return [type(item).__name__ for item in self.items]
