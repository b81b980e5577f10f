"""Approvals as capabilities: quorum, edits, separation of duties, escalation, questions (P6; CORRECTNESS.md rows 7 and 21)."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import Raw

from tests.unit.waypost_core.machine import RUN, Machine, succeeded
from waypost_core import effects as fx
from waypost_core.messages import TimersDue
from waypost_proto import commands as cmd
from waypost_proto import events as ev
from waypost_proto import mailbox as mb
from waypost_proto.ids import CallId, digest_of
from waypost_proto.values import Approval, RunStatus

CALL = CallId("0:1")
numbers = iter(range(10_000))


def waits(*, starter: str = "", quorum: int = 1, **more: Any) -> Machine:
    run = Machine(started=False).start(starter=starter)
    return run.calls("pay", approval=Approval(role="officer", expires_seconds=60, quorum=quorum, **more))


def open_id(run: Machine) -> str:
    return run.the.calls[CALL].approval_id or ""


def decision(run: Machine, by: str, decision: str = "approve", approval_id: str = "", **more: Any) -> mb.DecideApproval:
    return mb.DecideApproval(
        run_id=RUN, request_id=f"d{next(numbers)}", approval_id=approval_id or open_id(run), decision=decision, by=by, **more
    )  # type: ignore[arg-type]


def code(run: Machine) -> str:
    assert run.decision.reply is not None
    return run.decision.reply.code if not run.decision.reply.ok else "200"


def test_a_quorum_of_two_needs_two_people() -> None:
    run = waits(quorum=2)
    run.tell(decision(run, "ann"))
    assert run.types == ["approval_given"]
    assert run.of(fx.SendTool) == []
    assert run.the.status is RunStatus.WAITING_APPROVAL
    run.tell(decision(run, "bob"))
    granted = run.events[0]
    assert isinstance(granted, ev.ApprovalGranted)
    assert granted.given_by == ["ann", "bob"]
    assert len(run.of(fx.SendTool)) == len(run.of(fx.GrantPermit)) == 1
    assert run.refold() == run.the


def test_nobody_counts_twice() -> None:
    run = waits(quorum=2)
    run.tell(decision(run, "ann"))
    run.tell(decision(run, "ann"))
    assert run.events == []
    assert code(run) == "409"


def test_one_denial_is_enough() -> None:
    run = waits(quorum=3)
    run.tell(decision(run, "ann"))
    run.tell(decision(run, "bob", "deny", reason="no"))
    assert run.types == ["approval_denied", "tool_call_failed"]


def test_who_started_the_run_may_not_approve_but_may_deny() -> None:
    run = waits(starter="ann")
    run.tell(decision(run, "ann", roles=["officer"], authenticated=True))
    assert (run.events, code(run)) == ([], "403")
    run.tell(decision(run, "ann", "deny", roles=["officer"], authenticated=True))
    assert run.types[0] == "approval_denied"


def test_an_authenticated_approver_of_a_run_that_nobody_is_known_to_have_started_is_refused() -> None:
    run = waits()
    run.tell(decision(run, "bob", roles=["officer"], authenticated=True))
    assert (run.events, code(run)) == ([], "403")


def test_an_authenticated_caller_without_the_role_is_refused() -> None:
    run = waits(starter="ann")
    run.tell(decision(run, "bob", roles=["admin", "operator"], authenticated=True))
    assert (run.events, code(run)) == ([], "403")
    run.tell(decision(run, "bob", roles=["officer"], authenticated=True))
    assert run.types == ["approval_granted"]


def test_a_policy_may_give_up_separation() -> None:
    run = Machine(started=False).start(starter="ann").calls("pay")
    wanted = {"args_digest": digest_of(b'{"x":1}'), "rule": "r", "policy_version": "v1", "role": "officer", "separate": False}
    run.tell(mb.ToolNeedsApproval(run_id=RUN, call_id=CALL, attempt=1, tool="pay", **wanted))  # type: ignore[arg-type]
    run.tell(decision(run, "ann", roles=["officer"], authenticated=True))
    assert run.types == ["approval_granted"]


def test_a_child_run_has_its_ancestors_starter() -> None:
    run = Machine(started=False).start(starter="ann")
    run.advance(cmd.StartChild(seen=run.the.outside, id=CALL, agent="helper", input=Raw(b"1")))
    (mail,) = run.of(fx.SendMail)
    assert isinstance(mail, fx.SendMail)
    assert isinstance(mail.mail, mb.StartRun)
    assert mail.mail.starter == "ann"


def test_edited_arguments_are_another_approval_and_the_call_runs_with_them() -> None:
    run = waits()
    first = open_id(run)
    run.tell(decision(run, "ann", args=Raw(b'{"x":2}'), reason="less"))
    assert run.types == ["approval_edited", "approval_requested", "approval_granted"]
    call = run.the.calls[CALL]
    assert call.args_digest == digest_of(b'{"x":2}')
    assert call.approval_id != first
    closed = {row.approval_id: row.state for row in run.of(fx.CloseApproval) if isinstance(row, fx.CloseApproval)}
    assert closed == {first: "withdrawn", call.approval_id: "granted"}
    assert run.of(fx.Notify) == []
    assert run.refold() == run.the
    run.tell(succeeded())
    done = run.events[0]
    assert isinstance(done, ev.ToolCallCompleted)
    assert done.edit is not None
    assert (done.edit.by, bytes(done.edit.args)) == ("ann", b'{"x":2}')  # type: ignore[arg-type]


def test_an_edit_begins_the_quorum_anew() -> None:
    run = waits(quorum=2)
    run.tell(decision(run, "ann"))
    run.tell(decision(run, "bob", args=Raw(b'{"x":2}')))
    assert run.types == ["approval_edited", "approval_requested", "approval_given"]
    assert run.the.status is RunStatus.WAITING_APPROVAL
    run.tell(decision(run, "bob"))
    assert code(run) == "409"
    run.tell(decision(run, "ann"))
    assert run.types == ["approval_granted"]


def test_the_same_arguments_again_are_no_edit() -> None:
    run = waits()
    run.tell(decision(run, "ann", args=Raw(b'{"x":1}')))
    assert run.types == ["approval_granted"]
    assert run.the.calls[CALL].edit is None


def test_the_approval_that_was_edited_is_of_no_use_any_more() -> None:
    run = waits(quorum=2)
    first = open_id(run)
    run.tell(decision(run, "ann", args=Raw(b'{"x":2}')))
    run.tell(decision(run, "bob", approval_id=first))
    assert (run.events, code(run)) == ([], "409")


def test_nobody_in_time_and_the_next_role_is_asked() -> None:
    run = waits(escalate_to="director", escalate_seconds=30.0)
    first = open_id(run)
    run.tell(TimersDue(("0:1#approval",)))
    assert run.types == ["approval_escalated", "approval_requested"]
    assert open_id(run) != first
    assert run.timers["0:1#approval"] == run.now + 30
    run.tell(decision(run, "ann", approval_id=first))
    assert code(run) == "409"
    run.tell(decision(run, "dora", roles=["officer"], authenticated=True))
    assert code(run) == "403"
    run.tell(TimersDue(("0:1#approval",)))
    assert run.types == ["approval_expired", "tool_call_failed"]


def test_the_timer_of_a_replaced_approval_means_nothing() -> None:
    run = waits(escalate_to="director")
    run.tell(TimersDue(("0:1#approval",)))
    run.timers.clear()
    assert run.tell(TimersDue(("0:1#approval",))).events == []


@pytest.mark.parametrize("first", ["cancel", "approve"])
def test_an_approval_and_a_cancel_race_and_the_first_committed_wins(first: str) -> None:
    run = waits()
    approval = decision(run, "ann")
    cancel = mb.Cancel(run_id=RUN, request_id="c1")
    if first == "cancel":
        run.tell(cancel)
        run.tell(approval)
        assert (run.events, code(run)) == ([], "409")
    else:
        run.tell(approval)
        run.tell(cancel)
        assert run.of(fx.RevokeRun) == [fx.RevokeRun()]


def test_an_approval_while_paused_sends_nothing_until_the_resume() -> None:
    run = waits()
    run.tell(mb.Pause(run_id=RUN, request_id="p1"))
    run.tell(decision(run, "ann"))
    assert run.types == ["approval_granted"]
    assert run.of(fx.SendTool) == run.of(fx.GrantPermit) == []
    run.tell(mb.Resume(run_id=RUN, request_id="r1"))
    assert len(run.of(fx.GrantPermit)) == 1


# -- questions


def asks() -> Machine:
    run = Machine(started=False).start(starter="ann")
    question = cmd.AskQuestion(
        seen=run.the.outside, id=CALL, role="officer", question="how much?", expires_seconds=60, answer_schema=Raw(b'{"type":"integer"}')
    )
    return run.advance(question)


def test_a_question_waits_for_an_answer() -> None:
    run = asks()
    assert run.types == ["question_asked"]
    assert run.the.status is RunStatus.WAITING_APPROVAL
    (opened,) = run.of(fx.OpenApproval)
    assert isinstance(opened, fx.OpenApproval)
    assert opened.asked is not None
    run.tell(decision(run, "ann", "answer", answer=Raw(b"7")))  # who started the run may answer
    assert run.types == ["question_answered"]
    assert len(run.of(fx.Activate)) == 1
    assert run.the.calls == {}
    assert run.refold() == run.the


def test_a_question_is_declined_or_expires() -> None:
    run = asks()
    run.tell(decision(run, "bob", "deny", reason="ask legal"))
    (event,) = run.events
    assert isinstance(event, ev.QuestionUnanswered)
    assert event.error.type == "QuestionDeclined"
    run = asks().tell(TimersDue(("0:1#approval",)))
    (event,) = run.events
    assert isinstance(event, ev.QuestionUnanswered)
    assert event.error.type == "QuestionExpired"


def test_a_question_is_not_approved_and_an_approval_not_answered() -> None:
    run = asks()
    run.tell(decision(run, "bob"))
    assert code(run) == "400"
    run = waits()
    run.tell(decision(run, "bob", "answer", answer=Raw(b"7")))
    assert code(run) == "400"


def test_a_question_is_withdrawn_with_its_wait_or_its_run() -> None:
    run = asks()
    run.advance(cmd.CancelCall(seen=run.the.outside, target=CALL))
    assert run.types == ["question_withdrawn"]
    assert [row.state for row in run.of(fx.CloseApproval) if isinstance(row, fx.CloseApproval)] == ["withdrawn"]
    run = asks().tell(mb.Cancel(run_id=RUN, request_id="c1"))
    assert run.types == ["question_withdrawn", "run_cancelled"]
