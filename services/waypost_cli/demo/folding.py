"""What each type of event does to a case, and what is said of it. Pure: a row, an event, and where lines of the story go."""

from __future__ import annotations

from typing import Protocol, TypeVar

from msgspec import UNSET, Raw, Struct, UnsetType

from waypost_cli.demo import rows, words
from waypost_cli.demo.rows import Child, OpenCall, Row, Tone
from waypost_examples.compliance.model import Assessment, Outcome, Ownership, Receipt
from waypost_proto import events
from waypost_proto.codec import decode
from waypost_proto.errors import BadMessage
from waypost_proto.values import RunStatus

T = TypeVar("T")
REPORT = "file-report"


class Say(Protocol):
    """Adds a line to the story."""

    def __call__(self, case: str, text: str, tone: Tone = "plain", at: float | None = None) -> None: ...


class Denial(Struct, frozen=True):
    """Which rule of which policy denied a call: the `details` of its error."""

    rule: str
    policy_version: str


class Fold:
    """What each type of event does to a row, and what it says."""

    def __init__(self, say: Say, row: Row, at: float) -> None:
        self._tell = say
        self._row = row
        self._at = at

    def _say(self, text: str, tone: Tone = "plain") -> None:
        self._tell(self._row.case.id, text, tone, self._at)

    def apply(self, data: events.Data) -> None:
        """Fold one event of the case's own run."""
        match data:
            case events.RunStarted():
                self._row.deadline_at = data.deadline_at
                self._row.status = RunStatus.RUNNING
            case events.ToolCallRequested():
                held = data.effect is None
                self._row.calls[data.call_id] = OpenCall(
                    data.tool, "held" if held else "running", data.call_id, about=words.about(data.args)
                )
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
                self._failed(data)
            case events.ToolCallCancelled() | events.ToolCallCancelRequested():
                self._row.calls.pop(data.call_id, None)
            case events.ChildRequested():
                self._row.calls[data.call_id] = OpenCall(data.child_agent, "running", data.call_id)
                self._row.children[data.child_run_id] = Child(data.child_run_id, data.call_id, data.child_agent)
            case events.ChildCompleted():
                self._child_completed(data)
            case events.ChildFailed():
                label = self._label(data.call_id, "a child")
                self._row.calls.pop(data.call_id, None)
                self._say(f"{label} failed: {words.failure(data.error)}", "bad")
            case _:
                self._approval(data)

    def _label(self, call_id: str, tool: str) -> str:
        call = self._row.calls.get(call_id)
        return call.label if call is not None else tool

    def _failed(self, data: events.ToolCallFailed) -> None:
        label = self._label(data.call_id, data.tool)
        self._row.calls.pop(data.call_id, None)
        denial = _read(data.error.details, Denial) if data.error.type == "ToolDenied" else None
        if denial is None:
            self._say(f"{label} failed for good: {words.failure(data.error)}", "bad")
            return
        self._row.note(rows.DENIED)
        reason = data.error.message.partition(" (rule")[0]
        self._say(f"{label} denied by rule {denial.rule!r} of policy {denial.policy_version}: {reason}", "bad")

    def _approval(self, data: events.Data) -> None:
        row = self._row
        match data:
            case events.ApprovalRequested():
                row.approval_id = data.approval_id
                if call := row.calls.get(data.call_id):
                    call.state = "approval"
                    row.attempts -= 1  # it is not attempted before somebody approves
                row.status = RunStatus.WAITING_APPROVAL
                row.quorum = data.quorum
                whom = f"an {data.role}" if data.quorum == 1 else f"{data.quorum} different {data.role}s"
                self._say(f"risk {row.risk}: waits for {whom} to approve exactly this report", "ask")
            case events.ApprovalGiven():
                self._say(f"approved by {data.by}, {data.given} of {data.quorum}", "good")
            case events.ApprovalGranted():
                self._decided(data.call_id, data.by)
                row.attempts += 1
                if len(data.given_by) > 1:
                    row.note(rows.TWO_OFFICERS)
                self._say(f"approved by {' and '.join(data.given_by or [data.by])}", "good")
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
        call = row.calls.setdefault(data.call_id, OpenCall(data.tool, "waiting", data.call_id))
        call.state, call.attempt, call.max_attempts = "waiting", data.attempt, data.max_attempts
        call.next_at, call.error = data.next_attempt_at, error
        row.status = RunStatus.WAITING
        asked = f" (asked for {data.retry_after_seconds:g} s)" if data.retry_after_seconds else ""
        when = f"; next at {words.clock(data.next_attempt_at)}{asked}" if data.next_attempt_at is not None else ""
        self._say(f"{call.label}: attempt {data.attempt} of {data.max_attempts} failed: {error}{when}")

    def _in_doubt(self, data: events.ToolCallInDoubt) -> None:
        row = self._row
        call = row.calls.setdefault(data.call_id, OpenCall(data.tool, "running", data.call_id, data.attempt))
        if call.state != "in_doubt":
            row.doubts += 1
        call.attempt = data.attempt
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
            row.note(rows.ASKED)
            self._say(f"{data.tool} had taken effect, says the regulator: {row.report_id}", "good")
        elif data.via == "person":
            row.note(rows.PERSON)
            self._say(f"{data.tool} had taken effect, says {data.by}", "good")
        elif receipt is not None:
            self._say(f"filed {row.report_id}")
        elif call is not None and data.attempt > 1:
            self._say(f"{call.label} answered at attempt {data.attempt}")

    def _child_completed(self, data: events.ChildCompleted) -> None:
        row = self._row
        row.calls.pop(data.call_id, None)
        if (owners := _read(data.result, Ownership)) is not None:
            self._say(f"{' is owned by '.join(owners.chain)}{', and in a circle' if owners.circular else ''}")
        if (assessment := _read(data.result, Assessment)) is not None:
            row.risk = assessment.risk
            row.reasons = [reason.rule for reason in assessment.reasons]
            because = f" ({', '.join(row.reasons)})" if row.reasons else ""
            self._say(f"assessed: {assessment.level} risk {assessment.risk:.2f}{because}")


class ChildFold:
    """The same for a child run: only what keeps it from going on is told, the rest is the parent's story."""

    def __init__(self, say: Say, row: Row, child: Child, at: float) -> None:
        self._tell = say
        self._row = row
        self._child = child
        self._at = at

    def apply(self, data: events.Data) -> None:
        """Fold one event of the child."""
        match data:
            case events.LoopDetected():
                self._child.looping = True
                self._say(f"goes in circles: {data.message}", "bad")
            case events.RunPaused():
                self._state("paused")
                self._say("is paused by the breaker where it is", "bad")
            case events.InstructionAdded():
                self._say(f"is told by {data.by or 'somebody'}: {data.text}", "good")
            case events.RunResumed():
                if self._child.looping:
                    self._row.note(rows.LOOP)
                self._child.looping = False
                self._state("running")
                self._say("goes on")
            case events.RunCompleted() | events.RunFailed() | events.RunCancelled():
                self._child.ended = True
            case _:
                pass

    def _say(self, text: str, tone: Tone = "plain") -> None:
        self._tell(self._row.case.id, f"{self._child.name} {text}", tone, self._at)

    def _state(self, state: rows.CallState) -> None:
        if call := self._row.calls.get(self._child.call_id):
            call.state = state


def _read(raw: Raw | UnsetType, kind: type[T]) -> T | None:
    if raw is UNSET:
        return None
    try:
        return decode(kind, raw)
    except BadMessage:
        return None
