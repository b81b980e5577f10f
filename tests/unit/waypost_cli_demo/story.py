"""Canned events of one case's run, for the tests of the demo's view."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

from msgspec import Raw

from waypost_cli.demo.board import Board
from waypost_examples.compliance.model import Assessment, Case, Outcome, Reason, Receipt, Transaction
from waypost_proto import codec, events
from waypost_proto.ids import CallId, RunId
from waypost_proto.values import Effect, Failure

RUN = RunId("0192f0c1-7a3e-7c21-8f00-3b1d6a9c4e55")
CHILD = RunId("0192f0c1-7a3e-7c21-8f00-3b1d6a9c4e56")
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC).timestamp()
BANK, SANCTIONS, ANALYST, REPORT = CallId("0.1:1"), CallId("0.2:1"), CallId("0:1"), CallId("0:2")


def case(name: str = "C-1") -> Case:
    booked = datetime(2026, 3, 2, tzinfo=UTC)
    row = Transaction(id="T-1", booked_at=booked, amount=Decimal(5), currency="EUR", counterparty="X", country="DE", kind="card")
    return Case(id=name, account="A-1", transactions=[row])


def board(*names: str) -> Board:
    made = Board([case(name) for name in names or ("C-1",)])
    for name in made.rows:
        made.submitted(name, RUN)
    return made


class Teller:
    """Numbers events of one run and folds them into the board."""

    def __init__(self, board: Board, case: str = "C-1", run_id: RunId = RUN) -> None:
        self.run_id = run_id
        self.board = board
        self.case = case
        self.row = board.rows[case]
        self.told: list[events.Event] = []

    def tell(self, *data: events.AnyData) -> None:  # type: ignore[valid-type]
        for one in data:
            body = codec.encode(one)
            kind = one.__struct_config__.tag  # type: ignore[attr-defined]
            event = events.Event(
                run_id=self.run_id,
                seq=len(self.told) + 1,
                type=str(kind),
                agent="compliance",
                correlation_id="C-1",
                recorded_at="2026-03-02T12:00:00.000000Z",
                data=Raw(body),
            )
            self.told.append(event)
            self.board.apply(self.case, event)

    @property
    def said(self) -> list[str]:
        return [line.text for line in self.board.feed if line.case == self.case]


def raw(value: object) -> Raw:
    return Raw(codec.encode(value))


def requested(call_id: CallId, tool: str, *, effect: Effect | None = Effect.READ) -> events.ToolCallRequested:
    return events.ToolCallRequested(call_id=call_id, tool=tool, args_digest="d", idempotency_key="k", effect=effect)


def failed(call_id: CallId, tool: str, attempt: int, *, next_in: float, retry_after: float | None = None) -> events.ToolAttemptFailed:
    return events.ToolAttemptFailed(
        call_id=call_id,
        tool=tool,
        attempt=attempt,
        max_attempts=20,
        error=Failure(type="RetryLater", message="maintenance"),
        next_attempt_at=NOON + next_in,
        retry_after_seconds=retry_after,
    )


def completed(call_id: CallId, tool: str, result: object, **more: object) -> events.ToolCallCompleted:
    return events.ToolCallCompleted(call_id=call_id, tool=tool, attempt=1, result=raw(result), **more)  # type: ignore[arg-type]


def assessed(risk: float) -> events.ChildCompleted:
    level = "high" if risk >= 0.7 else "low"
    reasons = [Reason(rule="sanctions", weight=risk, text="a name")]
    return events.ChildCompleted(
        call_id=ANALYST, child_run_id=CHILD, result=raw(Assessment(case="C-1", risk=risk, level=level, reasons=reasons))
    )


def child() -> events.ChildRequested:
    return events.ChildRequested(call_id=ANALYST, child_agent="risk-analyst", child_run_id=CHILD)


def approval() -> events.ApprovalRequested:
    return events.ApprovalRequested(
        approval_id="ap-1", call_id=REPORT, tool="file-report", args_digest="d", role="officer", expires_at=NOON + 60
    )


def ended(decision: str = "reported", report_id: str | None = "R-00001") -> events.RunCompleted:
    return events.RunCompleted(result=raw(Outcome(case="C-1", decision=decision, risk=0.75, report_id=report_id)))  # type: ignore[arg-type]


RECEIPT = Receipt(report_id="R-00001")
