"""Checks that spans cover every leaf once and every position of each partition once, and that an event's columns say what its bytes say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from waypost_core.audit.checking import Checker
from waypost_core.audit.leaves import event_leaf
from waypost_io.store.ports import AuditSpan, EventRow
from waypost_proto.task import parse_time


class _Columns(msgspec.Struct):
    """What an event's bytes say of what is in columns too."""

    type: str
    recorded_at: str


_columns = msgspec.json.Decoder(_Columns).decode


class SpanCheck:
    """Feed it the spans of each chunk in order. `since`: where the check begins; what lies before is taken as it is."""

    def __init__(self, checker: Checker, since: int) -> None:
        self._checker = checker
        self._next = since
        self._whole = since == 0
        self._ends: dict[int, int] = {}
        self._chunk: list[AuditSpan] = []

    def take(self, spans: Sequence[AuditSpan], high: int) -> None:
        """The spans that hold the leaves of a chunk that ends at `high`."""
        self._chunk = list(spans)
        for span in spans:
            if span.index + span.count <= self._next and span.count > 0:
                continue  # the chunk before had it
            if span.index != self._next and (self._whole or span.index > self._next):
                text = f"the span of partition {span.partition}, position {span.position} begins at leaf {span.index}, not {self._next}"
                self._checker.add("store", text, index=self._next)
            end = self._ends.get(span.partition, 0 if self._whole else None)
            if end is not None and span.position != end + 1:
                text = f"partition {span.partition}: after position {end} comes the span at position {span.position}"
                self._checker.add("store", text, index=span.index)
            self._ends[span.partition] = span.position + span.count - 1
            self._next = span.index + span.count
        if self._next < high:
            self._checker.add("store", f"no span says which events leaves {self._next} to {high - 1} are", index=self._next, until=high)
            self._next = high

    def place(self, index: int) -> tuple[int, int]:
        """(partition, position) of a leaf; (-1, -1) when no span says it."""
        for span in self._chunk:
            if span.index <= index < span.index + span.count:
                return span.partition, span.position + index - span.index
        return -1, -1

    def fits(self, row: EventRow, told: bytes) -> bool:
        """Whether a leaf hash is this event's."""
        return event_leaf(row.run_id, row.seq, row.body) == told

    def columns(self, index: int, row: EventRow) -> None:
        """The bytes are the record; columns that say something else mislead whoever searches by them."""
        try:
            said = _columns(row.body)
            at = parse_time(said.recorded_at)
        except (msgspec.DecodeError, UnicodeDecodeError, ValueError):
            return  # the checker says so
        if said.type != row.type:
            text = f"event {row.seq} of run {row.run_id} is {said.type!r}, its column says {row.type!r}"
            self._checker.add("misfiled", text, index=index, run_id=row.run_id, seq=row.seq)
        if abs(at - row.recorded_at) > 1e-5:
            text = f"event {row.seq} of run {row.run_id} was recorded at {said.recorded_at}, its column says another time"
            self._checker.add("misfiled", text, index=index, run_id=row.run_id, seq=row.seq)

    def finish(self, cursors: Mapping[int, int], size: int) -> None:
        """The cursors stand where the spans end."""
        if self._next > size:
            self._checker.add("store", f"spans reach to leaf {self._next}, the log has {size}", index=size, until=self._next)
        for partition, position in sorted(cursors.items()):
            end = self._ends.get(partition, 0)
            if position != end and (self._whole or partition in self._ends):
                text = f"partition {partition}: the cursor is at position {position}, the log ends at {end}: "
                text += "events in between would never be taken over" if position > end else "events would be taken over twice"
                self._checker.add("store", text)
        for partition in sorted(self._ends.keys() - cursors.keys()):
            self._checker.add("store", f"partition {partition} has no cursor: its events would be taken over again")
