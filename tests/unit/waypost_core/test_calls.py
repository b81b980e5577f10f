"""Attempts, retries, doubt and reconciliation of tool calls."""

from __future__ import annotations

import pytest
from msgspec import Raw

from tests.unit.waypost_core.machine import RUN, START, Machine, failed, succeeded, uncertain
from waypost_core import effects as fx
from waypost_core.backoff import delay_seconds
from waypost_core.messages import TimersDue
from waypost_proto import events as ev
from waypost_proto import mailbox as mb
from waypost_proto.ids import CallId
from waypost_proto.values import Failure, Retry, RunStatus

CALL = CallId("0:1")


def test_a_failed_attempt_waits_visibly_and_is_sent_again() -> None:
    run = Machine().calls("read").tell(failed())
    assert run.types == ["tool_attempt_failed"]
    attempt = run.events[0]
    assert isinstance(attempt, ev.ToolAttemptFailed)
    assert (attempt.attempt, attempt.max_attempts, attempt.next_attempt_at) == (1, 3, START + 1.0)
    assert run.of(fx.SetTimer) == [fx.SetTimer("0:1#retry", START + 1.0)]
    assert run.the.status is RunStatus.WAITING
    run.tell(TimersDue(("0:1#retry",)))
    assert run.types == ["tool_call_dispatched"]
    assert run.the.calls[CALL].attempt == 2


def test_retry_after_is_honoured_when_it_is_longer() -> None:
    run = Machine().calls("read").tell(failed(retry_after_seconds=30.0))
    assert run.the.calls[CALL].due_at == START + 30.0


def test_after_the_last_attempt_the_code_gets_the_error() -> None:
    run = Machine().calls("read")
    for attempt in (1, 2):
        run.tell(failed(attempt=attempt)).tell(TimersDue(("0:1#retry",)))
    run.tell(failed(attempt=3))
    assert run.types == ["tool_call_failed"]
    assert run.of(fx.Activate) != []


def test_what_cannot_be_helped_is_not_retried() -> None:
    assert Machine().calls("read").tell(failed(retryable=False)).types == ["tool_call_failed"]


def test_a_late_success_of_an_earlier_attempt_is_used() -> None:
    run = Machine().calls("read").tell(failed()).tell(succeeded(attempt=1))
    assert run.types == ["tool_call_completed"]


def test_a_late_failure_of_an_earlier_attempt_means_nothing() -> None:
    run = Machine().calls("read").tell(failed()).tell(TimersDue(("0:1#retry",)))
    assert run.tell(failed(attempt=1)).events == []


def test_an_answer_that_comes_twice_counts_once() -> None:
    run = Machine().calls("pay").tell(succeeded())
    assert run.tell(succeeded()).events == []


def test_doubt_without_a_hook_waits_for_a_person_and_is_never_sent_again() -> None:
    """CORRECTNESS.md row 6."""
    run = Machine().calls("pay").tell(uncertain())
    assert run.types == ["tool_call_in_doubt"]
    assert run.of(fx.SetTimer) == []
    assert [notify.notice.why for notify in run.of(fx.Notify)] == ["in_doubt"]
    assert run.tell(TimersDue(("0:1#retry",))).events == []


def test_doubt_with_a_hook_asks_it_after_the_settle_time() -> None:
    run = Machine().calls("asks").tell(uncertain())
    assert run.of(fx.SetTimer) == [fx.SetTimer("0:1#retry", START + 5)]
    run.tell(TimersDue(("0:1#retry",)))
    assert run.of(fx.SendTool) == [fx.SendTool(CALL, run.the.seq, "reconcile")]
    assert run.of(fx.GrantPermit) == []


def test_surely_not_done_is_a_failed_attempt_and_the_next_one_forces_a_fresh_permit() -> None:
    run = Machine().calls("asks").tell(uncertain()).tell(TimersDue(("0:1#retry",)))
    run.tell(mb.ToolNotDone(run_id=RUN, call_id=CALL, attempt=1))
    assert run.types == ["tool_attempt_failed"]
    run.tell(TimersDue(("0:1#retry",)))
    assert run.of(fx.GrantPermit) == [fx.GrantPermit(CALL, force=True)]


def test_a_hook_that_cannot_tell_is_asked_again_a_bounded_number_of_times() -> None:
    run = Machine().calls("asks").tell(uncertain())
    asked = 0
    while run.the.calls[CALL].due_at is not None:
        run.tell(TimersDue(("0:1#retry",)))
        asked += 1
        run.tell(mb.ToolUnknown(run_id=RUN, call_id=CALL, attempt=1, error=Failure(type="X", message="?")))
    assert asked == 5
    assert run.of(fx.Notify) != []


@pytest.mark.parametrize(
    ("outcome", "types"),
    [
        ("completed", ["tool_call_completed"]),
        ("not_done", ["tool_attempt_failed"]),
        ("failed", ["tool_call_failed"]),
    ],
)
def test_a_person_resolves_what_is_in_doubt(outcome: str, types: list[str]) -> None:
    run = Machine().calls("pay").tell(uncertain())
    run.tell(mb.ResolveCall(run_id=RUN, request_id="r", call_id=CALL, outcome=outcome, result=Raw(b"1"), by="ann"))  # type: ignore[arg-type]
    assert run.types == types


def test_a_refused_call_fails_and_its_permit_is_revoked() -> None:
    run = Machine().calls("pay")
    run.tell(mb.ToolRefused(run_id=RUN, call_id=CALL, attempt=1, error=Failure(type="ToolDenied", message="no")))
    assert run.types == ["tool_call_failed"]
    assert run.of(fx.RevokeCall) == [fx.RevokeCall(CALL)]


def test_what_is_not_in_doubt_cannot_be_resolved() -> None:
    run = Machine().calls("pay")
    run.tell(mb.ResolveCall(run_id=RUN, request_id="r", call_id=CALL, outcome="failed", by="ann"))
    assert run.events == []
    assert run.decision.reply is not None
    assert run.decision.reply.code == "409"


def test_backoff_grows_is_bounded_and_jitters_downwards() -> None:
    retry = Retry(max_attempts=9, initial_seconds=1, factor=2, max_seconds=5, jitter=0.5)
    assert [delay_seconds(retry, attempt, 0.0) for attempt in (1, 2, 3, 4, 9_999)] == [1, 2, 4, 5, 5]
    assert delay_seconds(retry, 3, 0.5) == 3
    assert delay_seconds(retry, 1, 0.0, retry_after_seconds=0.2) == 1
