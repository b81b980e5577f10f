"""The tables of the in-memory adapter. Several `MemoryStore`s may share one, as processes share a database.

No real time and no randomness: the clock is a parameter, and everything iterates in order of insertion or of key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from waypost_io.store.ports import (
    AnchorRow,
    ApprovalRow,
    AuditSpan,
    AuditState,
    EventRow,
    HeadRow,
    InboxRow,
    KeyRow,
    LedgerState,
    NoticeRow,
    PermitRow,
    RunRow,
    TimerRow,
)
from waypost_proto.errors import BadMessage, Unreachable
from waypost_proto.ids import CallId, RunId
from waypost_proto.registry import AgentDefinition, ToolDefinition

Clock = Callable[[], float]


@dataclass(slots=True)
class PartitionRecord:
    """A row of partitions."""

    epoch: int = 0
    owner: str = ""
    expires_at: float = 0.0
    position: int = 0
    published: int = 0


@dataclass(slots=True)
class LedgerRecord:
    """A row of tool_ledger. `spent`: an attempt of this call has used the permit's approval."""

    permit: PermitRow
    state: Literal["permitted", "started", "done", "failed", "doubt", "revoked"] = "permitted"
    spent: bool = False
    gateway: str = ""
    lease_until: float | None = None
    hard_deadline: float | None = None
    result: bytes | None = None

    def view(self) -> LedgerState:
        """The row as the port shows it."""
        permit = self.permit
        return LedgerState(
            permit.run_id,
            permit.call_id,
            permit.attempt,
            self.state,
            self.gateway,
            self.lease_until,
            self.hard_deadline,
            self.result,
            permit.args_digest,
        )


@dataclass(slots=True, kw_only=True)
class DeadRecord:
    """A row of dead."""

    at: float
    source: str
    origin: str
    subject: str
    reason: str
    run_id: str | None
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True)
class AuditTables:
    """The tables of the audit log."""

    state: AuditState = field(default_factory=AuditState)
    expires_at: float = 0.0
    leaves: bytes = b""
    spans: list[AuditSpan] = field(default_factory=list)
    nodes: dict[tuple[int, int], bytes] = field(default_factory=dict)
    cursors: dict[int, int] = field(default_factory=dict)
    heads: dict[tuple[int, str], HeadRow] = field(default_factory=dict)
    keys: dict[int, KeyRow] = field(default_factory=dict)
    anchors: dict[str, AnchorRow] = field(default_factory=dict)


@dataclass(slots=True)
class MemoryDatabase:
    """Every table. `clock` gives Unix seconds; `down` makes every call raise `Unreachable`."""

    clock: Clock
    down: bool = False
    partitions: dict[int, PartitionRecord] = field(default_factory=dict)
    events: dict[RunId, dict[int, EventRow]] = field(default_factory=dict)
    causes: dict[tuple[RunId, str], int] = field(default_factory=dict)
    by_partition: dict[int, list[EventRow]] = field(default_factory=dict)
    """Events of each partition in order of position."""
    runs: dict[RunId, RunRow] = field(default_factory=dict)
    timers: dict[tuple[RunId, str], TimerRow] = field(default_factory=dict)
    approvals: dict[str, ApprovalRow] = field(default_factory=dict)
    ledger: dict[tuple[RunId, CallId], LedgerRecord] = field(default_factory=dict)
    keys: dict[tuple[str, str, str], tuple[RunId, str]] = field(default_factory=dict)
    agents: dict[tuple[str, str], AgentDefinition] = field(default_factory=dict)
    tools: dict[str, ToolDefinition] = field(default_factory=dict)
    inbox: dict[str, InboxRow] = field(default_factory=dict)
    blobs: dict[str, dict[int, tuple[int, bytes]]] = field(default_factory=dict)
    dead: dict[int, DeadRecord] = field(default_factory=dict)
    next_dead_id: int = 1
    failures: dict[str, int] = field(default_factory=dict)
    streams: dict[str, tuple[str, int]] = field(default_factory=dict)
    notices: dict[str, NoticeRow] = field(default_factory=dict)
    audit: AuditTables = field(default_factory=AuditTables)
    trace_cursors: dict[int, int] = field(default_factory=dict)

    def reach(self) -> None:
        """Raise `Unreachable` while the database is `down`."""
        if self.down:
            raise Unreachable("the in-memory database is down (a test said so)")


def check_text(values: Iterable[Any]) -> None:
    """Refuse text that Postgres could not hold: NUL and lone surrogates. Raises `BadMessage`."""
    for value in values:
        if isinstance(value, str) and ("\0" in value or not (value.isascii() or _encodable(value))):
            raise BadMessage(f"the database cannot hold the text {value[:80]!r}: it has a NUL or a lone surrogate")


def check_rows(rows: Iterable[Any]) -> None:
    """`check_text` of every field of these rows, labels included."""
    for row in rows:
        for each in fields(row):
            value = getattr(row, each.name)
            if each.name == "labels":
                check_text([*value.keys(), *value.values()])
            else:
                check_text([value])


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
