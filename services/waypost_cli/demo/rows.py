"""The values of the demo's view: a case, its open calls and child runs, a line of the story. No logic beyond what follows from them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from waypost_examples.compliance.model import Case, Outcome
from waypost_proto.values import RunStatus

Tone = Literal["plain", "good", "bad", "ask", "chaos"]
CallState = Literal["running", "waiting", "approval", "in_doubt", "held", "paused"]

TWO_OFFICERS = "two officers"
DENIED = "denied by policy"
LOOP = "loop stopped"
ASKED = "doubt settled by reconcile"
PERSON = "doubt settled by a person"
"""What the final table notes of a case; `expected.csv` names them."""


@dataclass(slots=True)
class OpenCall:
    """A tool call or child run that a case waits for. Times are Unix seconds."""

    name: str
    state: CallState
    call_id: str = ""
    attempt: int = 1
    max_attempts: int = 0
    next_at: float | None = None
    error: str = ""
    about: str = ""
    """Whom the call is about, where its first argument says it in a word."""

    @property
    def label(self) -> str:
        return f"{self.name} {self.about!r}" if self.about else self.name


@dataclass(slots=True)
class Child:
    """A child run of a case that is followed beside it. `looping`: paused because it goes in circles, until somebody says what to do."""

    run_id: str
    call_id: str
    name: str
    last_seq: int = 0
    looping: bool = False
    ended: bool = False


@dataclass(slots=True)
class Row:
    """One case as the view shows it."""

    case: Case
    deadline_at: float | None = None
    run_id: str = ""
    status: str = "not submitted"
    calls: dict[str, OpenCall] = field(default_factory=dict)
    attempts: int = 0
    failed_attempts: int = 0
    doubts: int = 0
    risk: float | None = None
    reasons: list[str] = field(default_factory=list)
    approval_id: str = ""
    quorum: int = 1
    officer: str = ""
    """Who is deciding now, of a quorum."""
    children: dict[str, Child] = field(default_factory=dict)
    """Child runs by their ids."""
    notes: list[str] = field(default_factory=list)
    """What was out of the ordinary, each once, in the order it happened."""
    decided_by: str = ""
    outcome: Outcome | None = None
    report_id: str = ""
    error: str = ""
    last_seq: int = 0

    @property
    def ended(self) -> bool:
        return self.status in {RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED}

    def note(self, text: str) -> None:
        """Remember something for the final table."""
        if text not in self.notes:
            self.notes.append(text)

    @property
    def unsettled(self) -> list[OpenCall]:
        """Calls in doubt that only a person can settle."""
        return [call for call in self.calls.values() if call.state == "in_doubt" and call.next_at is None]

    @property
    def decision(self) -> str:
        """The last word on the case, or what keeps it from one."""
        if self.outcome is not None:
            return self.outcome.decision
        return "failed" if self.error else ""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the story. `case` is "" for what concerns the whole platform; `at`: Unix seconds, None for now."""

    case: str
    text: str
    tone: Tone = "plain"
    at: float | None = None
