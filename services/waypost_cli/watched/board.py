"""What is known of the runs that are followed: one chronicle each. Pure; `following` fills it, `tree` reads it."""

from __future__ import annotations

from waypost_core.chronicle import Chronicle, Entry
from waypost_core.tracing import Capture
from waypost_proto.events import Event
from waypost_proto.ids import RunId, parse_run_id

MAX_RUNS = 200
"""Runs that are followed at once; of more children only what their parent says of them is shown."""


class Board:
    """`roots` are the runs that were named; `runs` has their children too, by run id, in the order in which they were met."""

    def __init__(self, roots: list[str], capture: Capture, *, children: bool = True) -> None:
        """Raises `BadInput` for what is no run id."""
        self.roots: list[RunId] = list(dict.fromkeys(map(parse_run_id, roots)))
        self.capture = capture
        self.children = children
        self.runs: dict[RunId, Chronicle] = {run_id: Chronicle(run_id, capture) for run_id in self.roots}
        self.trouble = ""
        """Why nothing new arrives; "" while all is well."""

    def feed(self, event: Event) -> list[RunId]:
        """Take an event of a run that is followed; the runs to follow from now on because of it."""
        tale = self.runs[event.run_id]
        entry = tale.feed(event)
        if entry is None or not self._follows(entry):
            return []
        child = parse_run_id(entry.child_run)
        self.runs[child] = Chronicle(child, self.capture)
        return [child]

    def awaited(self, run_id: RunId) -> bool:
        """Whether somebody still waits for this run: a child that its parent has given up may never begin."""
        if run_id in self.roots:
            return True
        return any(entry.child_run == run_id for tale in self.runs.values() for entry in tale.open.values())

    @property
    def ended(self) -> bool:
        """Whether every run that was named has ended."""
        return all(self.runs[run_id].ended is not None for run_id in self.roots)

    def _follows(self, entry: Entry) -> bool:
        return bool(self.children and entry.kind == "child" and entry.child_run not in self.runs and len(self.runs) < MAX_RUNS)


def spent(board: Board, tale: Chronicle) -> tuple[int, int, int]:
    """Model calls, tokens and micro-dollars of a run and of all that is known of its children."""
    totals = tale.totals
    calls, tokens, cost = totals.model_calls, totals.input_tokens + totals.output_tokens, tale.cost_micros
    followed = [board.runs[RunId(entry.child_run)] for entry in tale.entries if entry.child_run in board.runs]
    for child in followed:
        more = spent(board, child)
        calls, tokens, cost = calls + more[0], tokens + more[1], cost + more[2]
    if not followed:
        tokens, cost = tokens + totals.children_tokens, cost + tale.children_micros
    return calls, tokens, cost
