"""Facet `traces`: what the projection of traces reads, how far it has come, and how runs are found for a search. Part of `ports`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from waypost_proto.ids import RunId


class TraceEvent(NamedTuple):
    """An event as a trace needs it; a tuple, because thousands a second are made. `at_us`: when it was recorded, in Unix microseconds."""

    run_id: RunId
    seq: int
    type: str
    at_us: int
    body: bytes
    partition: int = 0
    position: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TracedRun:
    """A run as a search lists it; times in Unix seconds."""

    run_id: RunId
    tenant: str
    agent: str
    status: str
    open: bool
    created_at: float
    updated_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RunsInTime:
    """Which runs a search looks at. Times in Unix seconds; None: no limit. `look_at` bounds how many rows are read to find `limit`."""

    started_from: float | None = None
    started_until: float | None = None
    tenant: str | None = None
    agent: str | None = None
    statuses: Sequence[str] | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    look_at: int = 20_000
    limit: int = 500


class Traces(Protocol):
    """Table trace_cursors (writer: audit logger); reads events and runs."""

    async def cursors(self) -> dict[int, int]:
        """Partition → position of the last event whose spans were exported."""
        ...

    async def behind(self) -> dict[int, int]:
        """Partition → events behind the cursor; only partitions that have any."""
        ...

    async def pending(self, limit: int, max_bytes: int) -> list[TraceEvent]:
        """Events behind the cursors, in order within each partition: at most `limit` of each, and none after `max_bytes` of one."""
        ...

    async def move(self, moves: Mapping[int, tuple[int, int]]) -> None:
        """Partition → (where the cursor was, where it is now). Raises `ConcurrencyError` when another process moved one."""
        ...

    async def skip(self) -> None:
        """Begin at what is committed now, in partitions that have no cursor. Idempotent."""
        ...

    async def runs(self, query: RunsInTime) -> list[TracedRun]:
        """Newest first: runs that started in the range, then those that started before it and are still open."""
        ...

    async def events_of(self, run_ids: Sequence[RunId], *, after: int = 0, upto: int = 1_000) -> list[TraceEvent]:
        """Events with `after` < seq ≤ `upto` of several runs, by run and seq."""
        ...

    async def labels(self, *, tenant: str | None = None, look_at: int = 1_000, limit: int = 1_000) -> list[tuple[str, str]]:
        """Names and values of the labels of the `look_at` newest runs."""
        ...


def floor_of(unix_seconds: float) -> RunId:
    """The smallest run id of that moment: runs are found by time through their ids."""
    millis = min(max(round(unix_seconds * 1000), 0), 0xFFFF_FFFF_FFFF)
    text = f"{millis:012x}"
    return RunId(f"{text[:8]}-{text[8:]}-0000-0000-000000000000")


FIRST_ID = RunId("00000000-0000-0000-0000-000000000000")
LAST_ID = RunId("ffffffff-ffff-ffff-ffff-ffffffffffff")


def range_of(query: RunsInTime) -> tuple[RunId, RunId]:
    """The ids between which the runs of a query lie."""
    low = FIRST_ID if query.started_from is None else floor_of(query.started_from)
    return low, LAST_ID if query.started_until is None else floor_of(query.started_until)
