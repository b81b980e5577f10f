"""What the demo knows of every case: folded from the runs' events, in order, each once. Pure; knows no terminal and no clock.

A repeated or old event has no effect, so that a reader may start again anywhere.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Literal, TypeVar

from msgspec import UNSET, Raw, UnsetType

from waypost_cli.demo import words
from waypost_examples.compliance.model import Assessment, Case, Outcome, Receipt
from waypost_proto import events
from waypost_proto.codec import decode, decode_union
from waypost_proto.errors import BadMessage
from waypost_proto.task import parse_time
from waypost_proto.values import RunStatus

T = TypeVar("T")
REPORT = "file-report"
FEED_LINES = 200
"""How much of the story is kept for the live view; plain output prints each line once anyway."""

Tone = Literal["plain", "good", "bad", "ask", "chaos"]
CallState = Literal["running", "waiting", "approval", "in_doubt", "held"]


@dataclass(slots=True)
class OpenCall:
    """A tool call or child run that a case waits for. Times are Unix seconds."""

    name: str
    state: CallState
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
    decided_by: str = ""
    outcome: Outcome | None = None
    report_id: str = ""
    error: str = ""
    last_seq: int = 0

    @property
    def ended(self) -> bool:
        return self.status in {RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED}

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
        """Fold one event of the case's run. Events at or below the last one seen are ignored; unknown types count as seen."""
        row = self.rows[case]
        if event.seq <= row.last_seq:
            return
        row.last_seq = event.seq
        try:
            data = decode_union(events.AnyData, event.data)
        except BadMessage:
            return
        _Fold(self, row, parse_time(event.recorded_at)).apply(data)

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

    def waiting_for_officer(self) -> list[Row]:
        """Cases whose report waits for an approval, in the order of the file."""
        return [row for row in self.rows.values() if row.approval_id and not row.ended]


class _Fold:
    """What each type of event does to a row, and what it says."""

    def __init__(self, board: Board, row: Row, at: float) -> None:
        self._board = board
        self._row = row
        self._at = at

    def _say(self, text: str, tone: Tone = "plain") -> None:
        self._board.say(self._row.case.id, text, tone, self._at)

    def apply(self, data: events.Data) -> None:
        match data:
            case events.RunStarted():
                self._row.deadline_at = data.deadline_at
                self._row.status = RunStatus.RUNNING
            case events.ToolCallRequested():
                held = data.effect is None
                self._row.calls[data.call_id] = OpenCall(data.tool, "held" if held else "running", about=words.about(data.args))
                self._row.attempts += not held
            case events.ToolCallDispatched():
                self._dispatched(data)
            case events.ToolAttemptFailed():
                self._attempt_failed(data)
            case events.ToolCallInDoubt():
                self._in_doubt(data)
            case events.ToolCallCompleted():
                self._completed(data)
            case events.ToolCallFailed():
                label = self._label(data.call_id, data.tool)
                self._row.calls.pop(data.call_id, None)
                self._say(f"{label} failed for good: {words.failure(data.error)}", "bad")
            case events.ToolCallCancelled() | events.ToolCallCancelRequested():
                self._row.calls.pop(data.call_id, None)
            case events.ChildRequested():
                self._row.calls[data.call_id] = OpenCall(data.child_agent, "running")
            case events.ChildCompleted():
                self._assessed(data)
            case events.ChildFailed():
                self._row.calls.pop(data.call_id, None)
                self._say(f"risk analysis failed: {words.failure(data.error)}", "bad")
            case _:
                self._approval(data)

    def _label(self, call_id: str, tool: str) -> str:
        call = self._row.calls.get(call_id)
        return call.label if call is not None else tool

    def _approval(self, data: events.Data) -> None:
        row = self._row
        match data:
            case events.ApprovalRequested():
                row.approval_id = data.approval_id
                if call := row.calls.get(data.call_id):
                    call.state = "approval"
                    row.attempts -= 1  # it is not attempted before somebody approves
                row.status = RunStatus.WAITING_APPROVAL
                self._say(f"risk {row.risk}: waits for an {data.role} to approve exactly this report", "ask")
            case events.ApprovalGranted():
                self._decided(data.call_id, data.by)
                row.attempts += 1
                self._say(f"approved by {data.by}", "good")
            case events.ApprovalDenied():
                self._decided(data.call_id, data.by)
                self._say(f"denied by {data.by}{f': {data.reason}' if data.reason else ''}", "bad")
            case events.ApprovalExpired():
                self._decided(data.call_id, "")
                self._say("nobody decided in time: the approval has expired", "bad")
            case _:
                self._run(data)

    def _run(self, data: events.Data) -> None:
        row = self._row
        match data:
            case events.RunPaused():
                row.status = RunStatus.PAUSED
                self._say(f"paused: {data.reason}", "bad")
            case events.RunResumed():
                row.status = RunStatus.RUNNING
                self._say("goes on")
            case events.RunCompleted():
                self._end(RunStatus.COMPLETED)
                if (outcome := _read(data.result, Outcome)) is not None:
                    row.outcome, row.risk, row.report_id = outcome, outcome.risk, outcome.report_id or ""
                self._say(f"completed: {row.decision}{f', report {row.report_id}' if row.report_id else ''}", "good")
            case events.RunFailed():
                self._end(RunStatus.FAILED)
                row.error = words.failure(data.error)
                self._say(f"failed: {row.error}", "bad")
            case events.RunCancelled():
                self._end(RunStatus.CANCELLED)
                row.error = data.reason or "cancelled"
                self._say(f"cancelled: {row.error}", "bad")
            case _:
                pass

    def _end(self, status: RunStatus) -> None:
        self._row.status = status
        self._row.approval_id = ""
        self._row.calls.clear()

    def _decided(self, call_id: str, by: str) -> None:
        row = self._row
        row.approval_id, row.decided_by, row.status = "", by, RunStatus.RUNNING
        if call := row.calls.get(call_id):
            call.state = "running"

    def _dispatched(self, data: events.ToolCallDispatched) -> None:
        call = self._row.calls.get(data.call_id)
        if call is None:
            return
        call.attempt, call.next_at = data.attempt, None
        if data.mode == "execute":
            call.state = "running"
            self._row.attempts += 1
        self._row.status = RunStatus.RUNNING

    def _attempt_failed(self, data: events.ToolAttemptFailed) -> None:
        row = self._row
        row.failed_attempts += 1
        error = words.failure(data.error)
        call = row.calls.setdefault(data.call_id, OpenCall(data.tool, "waiting"))
        call.state, call.attempt, call.max_attempts = "waiting", data.attempt, data.max_attempts
        call.next_at, call.error = data.next_attempt_at, error
        row.status = RunStatus.WAITING
        asked = f" (asked for {data.retry_after_seconds:g} s)" if data.retry_after_seconds else ""
        when = f"; next at {words.clock(data.next_attempt_at)}{asked}" if data.next_attempt_at is not None else ""
        self._say(f"{call.label}: attempt {data.attempt} of {data.max_attempts} failed: {error}{when}")

    def _in_doubt(self, data: events.ToolCallInDoubt) -> None:
        row = self._row
        call = row.calls.setdefault(data.call_id, OpenCall(data.tool, "in_doubt", data.attempt))
        if call.state != "in_doubt":
            row.doubts += 1
        call.state, call.next_at, call.error = "in_doubt", data.reconcile_at, words.failure(data.error)
        row.status = RunStatus.WAITING
        then = f"; asks the regulator at {words.clock(data.reconcile_at)}" if data.reconcile_at is not None else "; a person must settle it"
        self._say(f"{data.tool} is in doubt, it may have taken effect: {call.error}{then}", "ask")

    def _completed(self, data: events.ToolCallCompleted) -> None:
        row = self._row
        call = row.calls.pop(data.call_id, None)
        row.status = RunStatus.RUNNING
        receipt = _read(data.result, Receipt) if data.tool == REPORT else None
        if receipt is not None:
            row.report_id = receipt.report_id
        if data.via == "reconcile":
            self._say(f"{data.tool} had taken effect, says the regulator: {row.report_id}", "good")
        elif receipt is not None:
            self._say(f"filed {row.report_id}")
        elif call is not None and data.attempt > 1:
            self._say(f"{call.label} answered at attempt {data.attempt}")

    def _assessed(self, data: events.ChildCompleted) -> None:
        row = self._row
        row.calls.pop(data.call_id, None)
        if (assessment := _read(data.result, Assessment)) is not None:
            row.risk = assessment.risk
            row.reasons = [reason.rule for reason in assessment.reasons]
            because = f" ({', '.join(row.reasons)})" if row.reasons else ""
            self._say(f"assessed: {assessment.level} risk {assessment.risk:.2f}{because}")


def _read(raw: Raw | UnsetType, kind: type[T]) -> T | None:
    if raw is UNSET:
        return None
    try:
        return decode(kind, raw)
    except BadMessage:
        return None
