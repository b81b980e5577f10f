"""What an advance leads to, and why one is refused."""

from __future__ import annotations

import msgspec
from msgspec import Raw

from tests.unit.waypost_core.machine import RUN, Machine, chain, failed, succeeded, uncertain
from waypost_core import effects as fx
from waypost_core.messages import HostFound, PermitsRevoked, PermitState
from waypost_proto import commands as cmd
from waypost_proto import events as ev
from waypost_proto import mailbox as mb
from waypost_proto.ids import CallId
from waypost_proto.models import ModelCall
from waypost_proto.registry import ToolDefinition
from waypost_proto.values import Approval, Budget, Effect, Failure, RunStatus


def test_a_step_and_a_call_are_one_advance_and_two_events() -> None:
    run = Machine()
    step = cmd.FinishStep(seen=1, id=CallId("0:1"), name="noop", at=1.0, result=Raw(b"1"))
    run.advance(step, run.call("read", "0:2"))
    assert run.types == ["step_completed", "tool_call_requested"]
    assert run.of(fx.SendTool) == [fx.SendTool(CallId("0:2"), 3)]
    assert run.the.digest == chain("", step, run.call("read", "0:2"))
    assert run.the.status is RunStatus.WAITING


def test_the_log_says_which_model_was_asked_and_what_it_chose() -> None:
    run = Machine()
    model = ModelCall(model="small", provider="scripted", input_tokens=12, output_tokens=3, intent="I look it up first.")
    asked = CallId("m1")
    answered = cmd.FinishStep(seen=1, id=asked, name="small", at=1.0, result=Raw(b"{}"), model=model)
    child = cmd.StartChild(seen=1, id=CallId("m1.1"), agent="clerk", because=asked)
    run.advance(answered, run.call("read", "m1.0", because=asked), child)
    completed, requested, started = run.events
    assert isinstance(completed, ev.StepCompleted)
    assert completed.model == model
    assert isinstance(requested, ev.ToolCallRequested)
    assert requested.because == asked
    assert isinstance(started, ev.ChildRequested)
    assert started.because == asked
    again = cmd.FinishStep(seen=1, id=CallId("m2"), name="small", at=2.0, error=Failure(type="ModelBusy", message="no"), model=model)
    run.advance(again)
    (failure,) = run.events
    assert isinstance(failure, ev.StepFailed)
    assert failure.model == model


def test_two_workers_with_the_same_activation_do_not_mix() -> None:
    """CORRECTNESS.md row 4: the first answer on a journal counts, the second no longer fits."""
    run = Machine()
    late = run.advance_message(run.call("pay"), worker="w2")
    run.advance(run.call("read"))
    run.tell(late)
    assert run.events == []
    assert run.decision.rejected == "another journal"


def test_the_same_advance_twice_is_confirmed_and_changes_nothing() -> None:
    run = Machine()
    message = run.advance_message(run.call("read"))
    run.tell(message)
    digest = run.the.digest
    run.tell(message)
    assert run.events == []
    assert run.decision.accepted == (digest, 1)


def test_an_item_that_has_seen_the_future_is_refused() -> None:
    run = Machine()
    run.advance(cmd.CallTool(seen=9, id=CallId("0:1"), tool="read", args=Raw(b"{}")))
    assert run.events == []
    assert "seen event 9" in run.decision.rejected


def test_an_empty_advance_that_says_nothing_new_leaves_no_event() -> None:
    run = Machine().advance()
    assert run.types == ["run_advanced"]
    run.advance()
    assert run.events == []
    run.advance(running=1)
    assert run.types == ["run_advanced"]
    assert run.the.status is RunStatus.RUNNING


def test_a_tool_that_is_not_on_the_allow_list_is_denied_and_never_sent() -> None:
    run = Machine().calls("forbidden")
    assert run.types == ["tool_call_requested", "tool_call_failed"]
    assert run.of(fx.SendTool) == []
    assert run.of(fx.Activate) == [fx.Activate(3)]


def test_an_agent_that_is_not_on_the_allow_list_is_not_started() -> None:
    run = Machine().advance(cmd.StartChild(seen=1, id=CallId("0:1"), agent="stranger", input=Raw(b"1")))
    assert run.types == ["child_requested", "child_failed"]
    assert run.of(fx.SendMail) == []
    itself = Machine().advance(cmd.StartChild(seen=1, id=CallId("0:1"), agent="clerk", input=Raw(b"1")))
    assert len(itself.of(fx.SendMail)) == 1


def test_a_tool_that_nobody_hosts_is_held_until_someone_does() -> None:
    run = Machine().calls("later")
    assert run.of(fx.SendTool) == []
    assert run.the.held == 1
    run.tools["later"] = ToolDefinition(name="later", effect=Effect.UNSAFE)
    run.tell(HostFound())
    assert run.types == ["tool_call_dispatched"]
    assert run.of(fx.GrantPermit) == [fx.GrantPermit(CallId("0:1"))]
    assert run.the.held == 0


def test_an_approval_that_is_granted_before_and_after_the_tool_is_known_sends_the_call_once() -> None:
    """The tool was not known at the request, but is at the decision: nobody else would look at the call again."""
    run = Machine().calls("later", approval=Approval(role="officer", expires_seconds=60))
    approval_id = run.the.calls[CallId("0:1")].approval_id
    assert approval_id is not None
    run.tools["later"] = ToolDefinition(name="later", effect=Effect.UNSAFE)
    run.tell(HostFound())
    assert run.events == []
    run.tell(mb.DecideApproval(run_id=RUN, request_id="d", approval_id=approval_id, decision="approve", by="ann"))
    assert run.types == ["approval_granted", "tool_call_dispatched"]
    assert run.of(fx.SendTool) == [fx.SendTool(CallId("0:1"), run.the.seq)]
    assert run.the.held == 0


def test_a_host_that_came_while_the_run_was_paused_is_found_at_the_resume() -> None:
    run = Machine().calls("later").tell(mb.Pause(run_id=RUN, request_id="p"))
    run.tools["later"] = ToolDefinition(name="later", effect=Effect.READ)
    assert run.tell(HostFound()).events == []
    run.tell(mb.Resume(run_id=RUN, request_id="r"))
    assert run.types == ["run_resumed", "tool_call_dispatched"]
    assert run.of(fx.SendTool) == [fx.SendTool(CallId("0:1"), run.the.seq)]


def test_past_max_steps_the_call_is_recorded_and_not_sent_and_a_raised_limit_sends_it() -> None:
    """Limits are reserved before they are spent (P5)."""
    run = Machine(budget=Budget(max_steps=1)).calls("read", "0:1")
    run.tell(succeeded("0:1")).calls("pay", "0:2")
    assert run.types == ["tool_call_requested", "breaker_tripped", "run_paused"]
    assert run.of(fx.SendTool) == []
    assert run.of(fx.GrantPermit) == []
    assert run.the.status is RunStatus.PAUSED
    run.tell(mb.Resume(run_id=RUN, request_id="r1"))
    assert run.decision.reply is not None
    assert run.decision.reply.code == "409"
    run.tell(mb.Resume(run_id=RUN, request_id="r2", budget=Budget(max_steps=5)))
    assert run.types == ["run_resumed", "call_funded"]
    assert run.of(fx.SendTool) == [fx.SendTool(CallId("0:2"), run.the.seq)]
    assert run.of(fx.GrantPermit) == [fx.GrantPermit(CallId("0:2"))]


def test_a_call_with_an_approval_is_not_sent_before_it_is_granted() -> None:
    run = Machine().calls("pay", approval=Approval(role="officer", expires_seconds=60))
    assert run.types == ["tool_call_requested", "approval_requested"]
    assert run.of(fx.SendTool) == []
    assert run.of(fx.GrantPermit) == []
    assert run.the.status is RunStatus.WAITING_APPROVAL


def test_a_read_that_nobody_waits_for_any_more_is_cancelled_at_once_a_payment_is_not() -> None:
    run = Machine().advance(Machine().call("read", "0:1"), Machine().call("pay", "0:2"))
    run.advance(cmd.CancelCall(seen=1, target=CallId("0:1")), cmd.CancelCall(seen=1, target=CallId("0:2")))
    assert run.types == ["tool_call_cancelled", "tool_call_cancel_requested"]
    assert run.of(fx.RevokeCall) == [fx.RevokeCall(CallId("0:2"))]
    run.tell(PermitsRevoked((PermitState(CallId("0:2"), 1, "revoked"),)))
    assert run.types == ["tool_call_cancelled"]
    assert run.the.calls == {}


def test_cancelling_what_is_already_settled_leaves_no_event() -> None:
    run = Machine().calls("read")
    run.tell(succeeded())
    run.advance(cmd.CancelCall(seen=1, target=CallId("0:1")))
    assert run.types == ["run_advanced"]


def test_the_run_does_not_end_while_a_payment_is_unsettled() -> None:
    """CORRECTNESS.md row 7: no terminal event while a started call that may have an effect is open."""
    run = Machine().calls("pay")
    run.advance(cmd.CompleteRun(seen=1, result=Raw(b"9")))
    assert run.types == ["run_ending"]
    run.tell(PermitsRevoked((PermitState(CallId("0:1"), 1, "started"),)))
    assert run.events == []
    run.tell(uncertain())
    assert run.types == ["tool_call_in_doubt"]
    run.tell(mb.ResolveCall(run_id=RUN, request_id="r", call_id=CallId("0:1"), outcome="completed", result=Raw(b"1"), by="ann"))
    assert run.types == ["tool_call_completed", "run_completed"]
    assert bytes(run.the.result) == b"9"


def test_what_the_code_asked_for_and_did_not_await_is_never_sent_when_it_ends() -> None:
    run = Machine()
    child = cmd.StartChild(seen=1, id=CallId("0:2"), agent="helper", input=Raw(b"1"))
    run.advance(run.call("pay"), child, cmd.CompleteRun(seen=1, result=Raw(b"9")))
    assert run.types == ["tool_call_requested", "child_requested", "tool_call_cancelled", "child_failed", "run_completed"]
    assert not run.of(fx.SendTool)
    assert not run.of(fx.SendMail)


def test_a_child_that_is_asked_for_while_paused_starts_at_the_resume_or_never() -> None:
    child = cmd.StartChild(seen=1, id=CallId("0:2"), agent="helper", input=Raw(b"1"))
    run = Machine().tell(mb.Pause(run_id=RUN, request_id="p")).advance(child)
    assert run.of(fx.SendMail) == []
    run.tell(mb.Resume(run_id=RUN, request_id="r"))
    assert [type(mail.mail) for mail in run.of(fx.SendMail)] == [mb.StartRun, mb.Resume]
    other = Machine().tell(mb.Pause(run_id=RUN, request_id="p")).advance(child)
    other.tell(mb.Cancel(run_id=RUN, request_id="c"))
    assert other.types == ["run_cancelled"]


def test_a_completed_run_ignores_everything() -> None:
    run = Machine().calls("read").tell(succeeded())
    run.advance(cmd.CompleteRun(seen=run.the.outside, result=Raw(b"1")))
    assert run.the.status is RunStatus.COMPLETED
    for message in (succeeded(), failed(), run.advance_message(run.call("read", "0:9"))):
        assert run.tell(message).events == []


def test_a_divergence_pauses_with_a_readable_difference() -> None:
    run = Machine().advance(cmd.ReportDivergence(seen=1, expected="call_tool read (0:1)", found="call_tool pay (0:1)"))
    assert "breaker_tripped" in run.types
    assert run.the.status is RunStatus.PAUSED
    assert "call_tool pay" in run.the.pause_reason


def test_code_that_does_not_fit_does_not_make_the_run_its_own() -> None:
    """A resume goes to the build that the journal is from, if that is there again."""
    run = Machine().calls("read").tell(succeeded())
    build, worker = run.the.build, run.the.worker
    message = run.advance_message(cmd.ReportDivergence(seen=run.the.outside, expected="a", found="b"))
    run.tell(msgspec.structs.replace(message, build="another", worker="w9"))
    assert run.the.status is RunStatus.PAUSED
    assert (run.the.build, run.the.worker) == (build, worker)


def test_signals_and_waits_pair_off_whichever_comes_first() -> None:
    run = Machine()
    run.tell(mb.Signal(run_id=RUN, request_id="s1", name="go"))
    run.advance(cmd.AwaitSignal(seen=1, id=CallId("0:1"), name="go"))
    assert run.the.calls == {}
    run.advance(cmd.AwaitSignal(seen=2, id=CallId("0:2"), name="go"))
    assert list(run.the.calls) == ["0:2"]
    run.tell(mb.Signal(run_id=RUN, request_id="s2", name="go"))
    assert run.the.calls == {}
    assert run.the.signals == {}


def test_an_end_in_the_advance_that_trips_the_breaker_is_recorded() -> None:
    run = Machine(budget=Budget(max_steps=1)).calls("read")
    run.tell(succeeded())
    seen = run.the.outside
    run.advance(run.call("read", "0:2"), cmd.CancelCall(seen=seen, target=CallId("0:2")), cmd.CompleteRun(seen=seen, result=Raw(b"1")))
    assert run.types == ["tool_call_requested", "tool_call_cancelled", "run_completed"]
    assert run.the.status is RunStatus.COMPLETED


def test_a_child_that_is_given_up_while_paused_is_not_started_by_the_resume() -> None:
    for also_asked_for_while_paused in (False, True):
        run = Machine().tell(mb.Pause(run_id=RUN, request_id="p"))
        child = cmd.StartChild(seen=1, id=CallId("0:1"), agent="helper", input=Raw(b"1"))
        cancel = cmd.CancelCall(seen=1, target=CallId("0:1"))
        if also_asked_for_while_paused:
            run.advance(child, cancel)
        else:
            run.advance(child).advance(cancel)
        assert run.types[-1] == "child_failed"
        assert run.of(fx.SendMail) == []
        run.tell(mb.Resume(run_id=RUN, request_id="r"))
        assert run.of(fx.SendMail) == []


def test_an_empty_advance_that_comes_late_says_nothing_about_now() -> None:
    """A worker that was paused answers an old activation; another one runs a local step, which must not be forgotten."""
    run = Machine()
    late = run.advance_message(running=0, worker="w1")
    run.tell(mb.Signal(run_id=RUN, request_id="s", name="n")).advance(running=1, worker="w2")
    run.tell(late)
    assert run.events == []
    assert (run.the.worker, run.the.running, run.the.wants_worker) == ("w2", 1, True)


def test_a_divergence_does_not_forget_the_step_that_was_in_flight() -> None:
    """Nothing else would wake the run once code that fits is deployed."""
    run = Machine().advance(running=1, worker="w1")
    run.advance(cmd.ReportDivergence(seen=1, expected="a", found="b"), worker="w2")
    run.tell(mb.Resume(run_id=RUN, request_id="r"))
    assert run.of(fx.Activate)
