"""What the demo knows of every case: folded from the runs' events, in order, each once. Pure; knows no terminal and no clock.

A repeated or old event has no effect, so that a reader may start again anywhere.
"""

from __future__ import annotations

from collections import deque

from waypost_cli.demo.folding import REPORT, ChildFold, Fold
from waypost_cli.demo.rows import Child, Line, Row, Tone
from waypost_examples.compliance.model import Case
from waypost_proto import events
from waypost_proto.codec import decode_union
from waypost_proto.errors import BadMessage
from waypost_proto.task import parse_time
from waypost_proto.values import RunStatus

FEED_LINES = 200
"""How much of the story is kept for the live view; plain output prints each line once anyway."""


class Board:
    """Every case, the story so far, and what chaos did."""

    def __init__(self, cases: list[Case]) -> None:
        self.rows: dict[str, Row] = {case.id: Row(case=case) for case in cases}
        self.feed: deque[Line] = deque(maxlen=FEED_LINES)
        self.said = 0
        """How many lines were ever added to the feed."""

    def submitted(self, case: str, run_id: str) -> None:
        """The platform has accepted a case."""
        row = self.rows[case]
        row.run_id = run_id
        if row.last_seq == 0:
            row.status = RunStatus.PENDING
            self.say(case, "accepted")

    def say(self, case: str, text: str, tone: Tone = "plain", at: float | None = None) -> None:
        """Add a line to the story."""
        self.feed.append(Line(case, text, tone, at))
        self.said += 1

    def apply(self, case: str, event: events.Event) -> None:
        """Fold one event of the case's run or of a child of it. Events at or below the last one seen are ignored; unknown types count
        as seen."""
        row = self.rows[case]
        child = row.children.get(event.run_id)
        seen = child or row
        if event.seq <= seen.last_seq:
            return
        seen.last_seq = event.seq
        try:
            data = decode_union(events.AnyData, event.data)
        except BadMessage:
            return
        at = parse_time(event.recorded_at)
        if child is None:
            Fold(self.say, row, at).apply(data)
        else:
            ChildFold(self.say, row, child, at).apply(data)

    @property
    def ended(self) -> int:
        return sum(row.ended for row in self.rows.values())

    @property
    def all_ended(self) -> bool:
        return self.ended == len(self.rows)

    @property
    def idle(self) -> bool:
        """Whether every case that was accepted has ended."""
        return all(row.ended for row in self.rows.values() if row.run_id)

    @property
    def busy(self) -> bool:
        """Whether any call of any case is being worked on."""
        return any(call.state in ("running", "in_doubt") for row in self.rows.values() for call in row.calls.values())

    @property
    def filing(self) -> bool:
        """Whether a report is on its way to the regulator: the moment at which a crash could do harm."""
        return any(call.state == "running" and call.name == REPORT for row in self.rows.values() for call in row.calls.values())

    def looping(self) -> list[Child]:
        """Child runs that the breaker has paused in a circle."""
        return [child for row in self.rows.values() for child in row.children.values() if child.looping and not row.ended]

    def case_of(self, run_id: str) -> str | None:
        """The case that a run, or a child of one, works on; None while that is not known."""
        return next((case for case, row in self.rows.items() if run_id == row.run_id or run_id in row.children), None)

    def waiting_for_officer(self) -> list[Row]:
        """Cases whose report waits for an approval, in the order of the file."""
        return [row for row in self.rows.values() if row.approval_id and not row.ended]
