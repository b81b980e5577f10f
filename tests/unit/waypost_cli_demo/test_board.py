"""The board: what each event of a run does to a case, and what is said of it."""

from __future__ import annotations

import pytest
from msgspec import structs

from tests.unit.waypost_cli_demo import story
from waypost_cli.demo import rows
from waypost_proto import events
from waypost_proto.values import Effect, Failure

NOON = story.NOON


def told(*data: events.AnyData) -> story.Teller:  # type: ignore[valid-type]
    teller = story.Teller(story.board())
    teller.tell(events.RunStarted(deadline_at=NOON + 86_400), *data)
    return teller


def test_a_case_goes_from_not_submitted_to_running() -> None:
    board = story.Board([story.case()])
    assert board.rows["C-1"].status == "not submitted"
    assert board.idle
    board.submitted("C-1", story.RUN)
    assert board.rows["C-1"].status == "pending"
    assert not board.idle
    assert told().row.status == "running"
    assert told().row.deadline_at == NOON + 86_400


def test_a_call_is_open_until_its_result() -> None:
    teller = told(story.requested(story.BANK, "core-banking"), story.requested(story.SANCTIONS, "sanctions"))
    assert {call.name: call.state for call in teller.row.calls.values()} == {"core-banking": "running", "sanctions": "running"}
    assert teller.board.busy
    teller.tell(story.completed(story.BANK, "core-banking", {}))
    assert [call.name for call in teller.row.calls.values()] == ["sanctions"]
    assert (teller.row.attempts, teller.row.failed_attempts) == (2, 0)


def test_a_failed_attempt_waits_with_the_time_of_the_next() -> None:
    teller = told(story.requested(story.SANCTIONS, "sanctions"), story.failed(story.SANCTIONS, "sanctions", 1, next_in=2, retry_after=2))
    call = teller.row.calls[story.SANCTIONS]
    assert (call.state, call.attempt, call.max_attempts, call.next_at) == ("waiting", 1, 20, NOON + 2)
    assert teller.row.status == "waiting"
    assert not teller.board.busy
    assert teller.said[-1] == "sanctions: attempt 1 of 20 failed: RetryLater: maintenance; next at 12:00:02.0 (asked for 2 s)"
    teller.tell(events.ToolCallDispatched(call_id=story.SANCTIONS, attempt=2))
    assert (teller.row.calls[story.SANCTIONS].state, teller.row.attempts) == ("running", 2)


def test_a_call_that_nobody_hosts_is_held() -> None:
    teller = told(story.requested(story.BANK, "core-banking", effect=None))
    assert teller.row.calls[story.BANK].state == "held"
    assert teller.row.attempts == 0
    teller.tell(events.ToolCallDispatched(call_id=story.BANK, attempt=1, effect=Effect.READ))
    assert (teller.row.calls[story.BANK].state, teller.row.attempts) == ("running", 1)


def test_the_child_s_answer_is_the_risk() -> None:
    teller = told(story.child())
    assert [call.name for call in teller.row.calls.values()] == ["risk-analyst"]
    teller.tell(story.assessed(0.75))
    assert (teller.row.risk, teller.row.reasons, teller.row.calls) == (0.75, ["sanctions"], {})
    assert teller.said[-1] == "assessed: high risk 0.75 (sanctions)"


def test_a_report_waits_for_an_officer_and_is_then_attempted_once() -> None:
    teller = told(story.assessed(0.75), story.requested(story.REPORT, "file-report", effect=Effect.UNSAFE), story.approval())
    assert teller.row.status == "waiting_approval"
    assert teller.board.waiting_for_officer() == [teller.row]
    assert teller.row.attempts == 0
    teller.tell(events.ApprovalGranted(approval_id="ap-1", call_id=story.REPORT, by="ann"))
    assert teller.board.waiting_for_officer() == []
    assert (teller.row.status, teller.row.decided_by, teller.row.attempts) == ("running", "ann", 1)


@pytest.mark.parametrize(
    ("decision", "says"),
    [
        (events.ApprovalDenied(approval_id="ap-1", call_id=story.REPORT, by="ann", reason="no"), "denied by ann: no"),
        (events.ApprovalExpired(approval_id="ap-1", call_id=story.REPORT), "nobody decided in time: the approval has expired"),
    ],
)
def test_an_approval_that_is_not_given(decision: events.AnyData, says: str) -> None:  # type: ignore[valid-type]
    teller = told(story.requested(story.REPORT, "file-report"), story.approval(), decision)
    assert teller.said[-1] == says
    assert teller.board.waiting_for_officer() == []
    teller.tell(story.ended("refused", None))
    assert (teller.row.decision, teller.row.report_id, teller.row.ended) == ("refused", "", True)


def test_a_quorum_is_told_person_by_person() -> None:
    asked = structs.replace(story.approval(), quorum=2)
    teller = told(story.assessed(0.75), story.requested(story.REPORT, "file-report", effect=Effect.UNSAFE), asked)
    assert teller.row.quorum == 2
    assert "waits for 2 different officers" in teller.said[-1]
    teller.tell(events.ApprovalGiven(approval_id="ap-1", call_id=story.REPORT, by="ann", given=1, quorum=2))
    assert teller.said[-1] == "approved by ann, 1 of 2"
    assert teller.board.waiting_for_officer() == [teller.row]
    teller.tell(events.ApprovalGranted(approval_id="ap-1", call_id=story.REPORT, by="bert", given_by=["ann", "bert"]))
    assert teller.said[-1] == "approved by ann and bert"
    assert teller.row.notes == [rows.TWO_OFFICERS]


def test_a_denial_names_rule_and_version() -> None:
    denial = Failure(
        type="ToolDenied", message="not us (rule 'r' of policy v1@abc)", details=story.raw({"rule": "r", "policy_version": "v1@abc"})
    )
    teller = told(
        story.requested(story.REPORT, "file-report"),
        events.ToolCallFailed(call_id=story.REPORT, tool="file-report", attempt=1, error=denial),
    )
    assert teller.said[-1] == "file-report denied by rule 'r' of policy v1@abc: not us"
    assert teller.row.notes == [rows.DENIED]


def test_a_tool_that_the_agent_may_not_call_is_no_policy() -> None:
    denial = Failure(type="ToolDenied", message="not listed")
    failed = events.ToolCallFailed(call_id=story.REPORT, tool="file-report", attempt=1, error=denial)
    teller = told(story.requested(story.REPORT, "file-report"), failed)
    assert teller.said[-1] == "file-report failed for good: ToolDenied: not listed"
    assert teller.row.notes == []


def test_a_child_that_goes_in_circles_until_it_is_told_what_to_do() -> None:
    teller = told(events.ChildRequested(call_id=story.ANALYST, child_agent="owner-tracer", child_run_id=story.CHILD))
    child = story.Teller(teller.board, run_id=story.CHILD)
    found = events.LoopDetected(kind="same_call", message="again and again", seqs=[2, 4, 6], times=3)
    child.tell(events.RunStarted(), found, events.RunPaused(reason="loop"))
    assert [one.run_id for one in teller.board.looping()] == [story.CHILD]
    assert teller.row.calls[story.ANALYST].state == "paused"
    assert "owner-tracer goes in circles: again and again" in teller.said
    assert (teller.row.last_seq, teller.row.status) == (2, "running")
    child.tell(events.RunResumed(by="dora"), events.InstructionAdded(text="stop", by="dora"))
    assert teller.board.looping() == []
    assert teller.row.calls[story.ANALYST].state == "running"
    assert teller.said[-1] == "owner-tracer is told by dora: stop"
    assert teller.row.notes == [rows.LOOP]
    assert not teller.row.children[story.CHILD].ended
    child.tell(events.RunCompleted())
    assert teller.row.children[story.CHILD].ended


def test_a_doubt_that_nobody_can_be_asked_about_is_a_persons() -> None:
    doubt = events.ToolCallInDoubt(call_id=story.REPORT, tool="freeze-account", attempt=1, error=Failure(type="Timeout", message=""))
    teller = told(story.requested(story.REPORT, "freeze-account"), doubt)
    assert teller.said[-1].endswith("a person must settle it")
    assert [call.call_id for call in teller.row.unsettled] == [story.REPORT]
    teller.tell(story.completed(story.REPORT, "freeze-account", {"order": "F-1"}, via="person", by="dora"))
    assert teller.said[-1] == "freeze-account had taken effect, says dora"
    assert teller.row.unsettled == []
    assert teller.row.notes == [rows.PERSON]


def test_doubt_is_settled_by_asking() -> None:
    doubt = events.ToolCallInDoubt(
        call_id=story.REPORT, tool="file-report", attempt=1, error=Failure(type="TimeoutError", message=""), reconcile_at=NOON + 3
    )
    teller = told(story.requested(story.REPORT, "file-report"), doubt)
    assert teller.row.calls[story.REPORT].state == "in_doubt"
    assert teller.board.busy
    assert "in doubt" in teller.said[-1]
    assert teller.said[-1].endswith("asks the regulator at 12:00:03.0")
    teller.tell(doubt, events.ToolCallDispatched(call_id=story.REPORT, attempt=1, mode="reconcile"))
    assert (teller.row.doubts, teller.row.attempts) == (1, 1)
    teller.tell(story.completed(story.REPORT, "file-report", story.RECEIPT, via="reconcile"))
    assert teller.said[-1] == "file-report had taken effect, says the regulator: R-00001"
    assert teller.row.report_id == "R-00001"


def test_the_end_of_a_run() -> None:
    teller = told(story.requested(story.REPORT, "file-report"), story.completed(story.REPORT, "file-report", story.RECEIPT), story.ended())
    assert (teller.row.status, teller.row.decision, teller.row.report_id, teller.row.risk) == ("completed", "reported", "R-00001", 0.75)
    assert teller.said[-2:] == ["filed R-00001", "completed: reported, report R-00001"]
    assert teller.board.all_ended
    assert teller.board.idle


def test_a_failed_run_says_why() -> None:
    teller = told(story.requested(story.BANK, "core-banking"), events.RunFailed(error=Failure(type="ToolFailed", message="no\naccount")))
    assert (teller.row.status, teller.row.error, teller.row.decision, teller.row.calls) == (
        "failed",
        "ToolFailed: no account",
        "failed",
        {},
    )


def test_pause_and_resume() -> None:
    teller = told(events.RunPaused(reason="too many steps"))
    assert teller.row.status == "paused"
    teller.tell(events.RunResumed(by="ann"))
    assert teller.row.status == "running"


def test_an_event_counts_once_and_what_is_unknown_is_passed_over() -> None:
    teller = told(story.requested(story.BANK, "core-banking"))
    before = (teller.board.said, teller.row.attempts)
    for event in teller.told:
        teller.board.apply("C-1", event)
    assert (teller.board.said, teller.row.attempts) == before
    stranger = events.Event(
        run_id=story.RUN, seq=3, type="later", agent="a", correlation_id="", recorded_at="", data=story.raw({"type": "later"})
    )
    teller.board.apply("C-1", stranger)
    assert teller.row.last_seq == 3


def test_the_story_is_bounded_but_counted() -> None:
    board = story.board()
    for number in range(1000):
        board.say("C-1", str(number))
    assert len(board.feed) < 1000
    assert board.said == 1001
