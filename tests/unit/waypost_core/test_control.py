"""Signals, pause, resume, cancel, approvals, children, deadlines, repeats."""

from __future__ import annotations

import pytest
from msgspec import Raw

from tests.unit.waypost_core.machine import RUN, START, Machine, names, succeeded, uncertain
from waypost_core import effects as fx
from waypost_core.messages import PermitsRevoked, PermitState, TimersDue
from waypost_core.react import outstanding
from waypost_proto import commands as cmd
from waypost_proto import events as ev
from waypost_proto import mailbox as mb
from waypost_proto.ids import CallId, child_run_id
from waypost_proto.values import Approval, Budget, Parent, RunStatus

CALL = CallId("0:1")


def approved(run: Machine) -> mb.DecideApproval:
    approval_id = next(iter(run.the.calls.values())).approval_id
    assert approval_id is not None
    return mb.DecideApproval(run_id=RUN, request_id="d1", approval_id=approval_id, decision="approve", by="ann")


def wants_approval() -> Machine:
    return Machine().calls("pay", approval=Approval(role="officer", expires_seconds=60))


def test_the_same_request_again_is_a_duplicate() -> None:
    run = Machine()
    signal = mb.Signal(run_id=RUN, request_id="s1", name="go")
    run.tell(signal)
    run.tell(signal)
    assert run.events == []
    assert run.decision.reply is not None
    assert run.decision.reply.duplicate


def test_the_same_start_again_is_a_duplicate_and_another_input_a_conflict() -> None:
    run = Machine()
    assert run.start().events == []
    assert run.decision.reply is not None
    assert run.decision.reply.duplicate
    run.tell(mb.StartRun(run_id=RUN, agent="clerk", input=Raw(b"2")))
    assert run.decision.reply is not None
    assert run.decision.reply.code == "409"


def test_the_same_value_in_other_bytes_is_the_same_input() -> None:
    first = mb.StartRun(run_id=RUN, agent="clerk", input=Raw(b'{"a":1,"b":[1.5,null]}'))
    run = Machine(started=False).tell(first)
    run.tell(mb.StartRun(run_id=RUN, agent="clerk", input=Raw(b'{ "b": [1.5, null], "a": 1 }')))
    assert run.decision.reply is not None
    assert run.decision.reply.duplicate


def test_a_deadline_that_cannot_be_read_is_refused() -> None:
    run = Machine(started=False).start(deadline="soon")
    assert run.events == []
    assert run.decision.reply is not None
    assert "soon" in run.decision.reply.message


def test_granting_sends_exactly_that_call_under_a_permit() -> None:
    run = wants_approval()
    run.tell(approved(run))
    assert run.types == ["approval_granted"]
    assert run.of(fx.GrantPermit) == [fx.GrantPermit(CALL)]
    assert run.of(fx.SendTool) == [fx.SendTool(CALL, run.the.seq)]


def test_an_approval_is_used_once() -> None:
    run = wants_approval()
    decision = approved(run)
    run.tell(decision)
    again = mb.DecideApproval(run_id=RUN, request_id="d2", approval_id=decision.approval_id, decision="approve", by="bob")
    run.tell(again)
    assert run.events == []
    assert run.decision.reply is not None
    assert run.decision.reply.code == "409"


def test_an_approval_that_expired_cannot_be_granted_any_more() -> None:
    run = wants_approval()
    decision = approved(run)
    run.now = START + 61
    run.tell(decision)
    assert run.events == []
    run.tell(TimersDue(("0:1#approval",)))
    assert run.types == ["approval_expired", "tool_call_failed"]


def test_a_denial_is_raised_at_the_call() -> None:
    run = wants_approval()
    approval_id = approved(run).approval_id
    run.tell(mb.DecideApproval(run_id=RUN, request_id="d", approval_id=approval_id, decision="deny", by="ann", reason="no"))
    assert run.types == ["approval_denied", "tool_call_failed"]
    failed = run.events[1]
    assert isinstance(failed, ev.ToolCallFailed)
    assert (failed.error.type, failed.error.message) == ("ApprovalDenied", "no")


def test_cancel_withdraws_an_approval_and_ends_the_run_at_once() -> None:
    run = wants_approval()
    run.tell(mb.Cancel(run_id=RUN, request_id="c"))
    assert run.types == ["tool_call_cancelled", "run_cancelled"]
    assert [close.state for close in run.of(fx.CloseApproval)] == ["withdrawn"]


def test_cancel_revokes_what_was_not_started_and_awaits_what_was() -> None:
    """CORRECTNESS.md row 7."""
    run = Machine()
    run.advance(run.call("pay", "0:1"), run.call("safe", "0:2"), run.call("read", "0:3"))
    run.tell(mb.Cancel(run_id=RUN, request_id="c"))
    assert run.types == ["run_ending"]
    assert run.of(fx.RevokeRun) == [fx.RevokeRun()]
    run.tell(PermitsRevoked((PermitState(CallId("0:1"), 1, "revoked"), PermitState(CallId("0:2"), 1, "started"))))
    assert run.types == ["tool_call_cancelled"]
    assert not run.the.terminal
    run.tell(succeeded("0:2"))
    assert run.types == ["tool_call_completed", "run_cancelled"]


def test_cancel_of_a_paused_run_asks_again_for_what_was_started() -> None:
    """Its message may have been lost with a stream during the pause, when nothing is derived; the run waits for its answer."""
    run = Machine()
    run.advance(run.call("pay", "0:1"), run.call("read", "0:2"))
    run.tell(mb.Pause(run_id=RUN, request_id="p"))
    run.tell(mb.Cancel(run_id=RUN, request_id="c"))
    assert [(send.call_id, send.mode) for send in run.of(fx.SendTool)] == [("0:1", "execute")]
    assert run.of(fx.GrantPermit) == [], "under the permit that it had, or none"


def test_while_ending_nothing_new_is_attempted() -> None:
    run = Machine().calls("asks").tell(uncertain())
    run.tell(mb.Cancel(run_id=RUN, request_id="c"))
    run.tell(TimersDue(("0:1#retry",)))
    assert run.types == ["tool_call_dispatched"]  # asking what happened is no attempt
    run.tell(mb.ToolNotDone(run_id=RUN, call_id=CALL, attempt=1))
    assert run.types == ["tool_call_cancelled", "run_cancelled"]


def test_pause_holds_dispatches_back_and_resume_sends_them() -> None:
    run = Machine().calls("pay")
    run.tell(mb.Pause(run_id=RUN, request_id="p", reason="audit"))
    assert names(run.effects)[:2] == ["RevokeRun", "StopWork"]
    run.tell(mb.Signal(run_id=RUN, request_id="s", name="x"))
    assert run.types == ["signal_received"]
    assert run.of(fx.Activate) == []
    run.tell(mb.Resume(run_id=RUN, request_id="r"))
    assert run.of(fx.GrantPermit) == [fx.GrantPermit(CALL)]
    assert run.of(fx.SendTool) == [fx.SendTool(CALL, run.the.seq)]
    assert len(run.of(fx.Activate)) == 1


def test_a_retry_that_falls_due_while_paused_waits_for_the_resume() -> None:
    from tests.unit.waypost_core.machine import failed

    run = Machine().calls("read").tell(failed())
    run.tell(mb.Pause(run_id=RUN, request_id="p"))
    assert run.tell(TimersDue(("0:1#retry",))).events == []
    run.tell(mb.Resume(run_id=RUN, request_id="r"))
    assert run.of(fx.SetTimer) == [fx.SetTimer("0:1#retry", START + 1.0)]


def test_a_run_that_is_ending_is_neither_paused_nor_resumed() -> None:
    """A resume would permit again what the ending has revoked."""
    run = Machine().calls("pay").tell(mb.Pause(run_id=RUN, request_id="p"))
    run.tell(mb.Cancel(run_id=RUN, request_id="c"))
    assert run.types == ["run_ending"]
    for late in (mb.Resume(run_id=RUN, request_id="r"), mb.Pause(run_id=RUN, request_id="q")):
        run.tell(late)
        assert run.events == []
        assert run.of(fx.GrantPermit) == []
        assert run.decision.reply is not None
        assert run.decision.reply.code == "409"


def test_a_call_in_doubt_of_a_paused_run_is_settled_when_the_run_is_cancelled() -> None:
    """While paused its hook is not asked; once the run is ending it must be, or the run never ends."""
    run = Machine().calls("asks").tell(mb.Pause(run_id=RUN, request_id="p")).tell(uncertain())
    due = run.the.calls[CALL].due_at
    assert due is not None
    assert run.tell(TimersDue(("0:1#retry",))).events == []
    run.tell(mb.Cancel(run_id=RUN, request_id="c"))
    assert run.types == ["run_ending"]
    assert fx.SetTimer("0:1#retry", due) in run.effects
    run.tell(TimersDue(("0:1#retry",)))
    assert run.of(fx.SendTool) == [fx.SendTool(CALL, run.the.seq, "reconcile")]


def test_the_deadline_ends_the_run_and_says_what_it_waited_for() -> None:
    run = Machine(deadline="PT10S").calls("read")
    run.now = START + 10
    run.tell(TimersDue(("deadline",)))
    assert run.types == ["run_failed"]
    assert run.the.error is not None
    assert run.the.error.type == "DeadlineExceeded"
    assert "read" in run.the.error.message


def test_max_seconds_trips_the_breaker_and_a_raised_limit_sets_it_anew() -> None:
    run = Machine(budget=Budget(max_seconds=10)).calls("read")
    run.now = START + 10
    run.tell(TimersDue(("max_seconds",)))
    assert run.types == ["breaker_tripped", "run_paused"]
    run.tell(mb.Resume(run_id=RUN, request_id="r", budget=Budget(max_seconds=100)))
    assert fx.SetTimer("max_seconds", START + 100) in run.effects


def test_a_child_is_started_by_mail_and_its_end_is_an_event() -> None:
    run = Machine()
    run.advance(cmd.StartChild(seen=1, id=CALL, agent="helper", input=Raw(b"5")))
    child = child_run_id(RUN, CALL)
    mail = run.of(fx.SendMail)[0]
    assert isinstance(mail, fx.SendMail)
    assert isinstance(mail.mail, mb.StartRun)
    assert mail.mail.run_id == child
    assert mail.mail.parent == Parent(run_id=RUN, agent="clerk", call_id=CALL)
    ended = mb.ChildEnded(run_id=RUN, call_id=CALL, child=child, status=RunStatus.COMPLETED, result=Raw(b"6"))
    run.tell(ended)
    assert run.types == ["child_completed"]
    assert run.tell(ended).events == []


def test_a_finished_child_that_is_started_again_sends_its_outcome_again() -> None:
    """CORRECTNESS.md row 2."""
    run = Machine(started=False)
    parent = Parent(run_id=RUN, agent="boss", call_id=CALL)
    run.start(parent=parent)
    run.advance(cmd.CompleteRun(seen=1, result=Raw(b"1")))
    first = run.of(fx.SendMail)
    run.start(parent=parent)
    again = run.of(fx.SendMail)
    assert [m.mail for m in again] == [m.mail for m in first]


def test_cancelling_a_parent_cancels_its_children_and_waits_for_them() -> None:
    run = Machine().advance(cmd.StartChild(seen=1, id=CALL, agent="helper", input=Raw(b"5")))
    run.tell(mb.Cancel(run_id=RUN, request_id="c"))
    assert run.types == ["run_ending"]
    assert [type(mail.mail) for mail in run.of(fx.SendMail)] == [mb.Cancel]
    child = child_run_id(RUN, CALL)
    run.tell(mb.ChildEnded(run_id=RUN, call_id=CALL, child=child, status=RunStatus.CANCELLED))
    assert run.types == ["child_failed", "run_cancelled"]


def test_outstanding_names_what_the_state_waits_for_and_nothing_else() -> None:
    run = Machine()
    run.advance(run.call("pay", "0:1"), cmd.StartTimer(seen=1, id=CallId("0:2"), fire_at=START + 9))
    assert outstanding(run.the) == [fx.SendTool(CALL, 2)]
    assert outstanding(run.the, above=2) == []
    run.tell(succeeded())
    assert outstanding(run.the) == [fx.Activate(run.the.outside)]


@pytest.mark.parametrize("late", [mb.Pause(run_id=RUN, request_id="x"), mb.Signal(run_id=RUN, request_id="x", name="n")])
def test_a_run_that_has_ended_refuses_commands(late: mb.AnyControl) -> None:
    run = Machine().advance(cmd.CompleteRun(seen=1))
    run.tell(late)
    assert run.decision.reply is not None
    assert run.decision.reply.code == "409"
