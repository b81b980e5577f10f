"""What is told of a run: who asked, each call with its attempts and waits, who allowed it, why it paused and why it ended."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, get_args

import pytest
from msgspec import Raw, json, structs

from tests.unit.waypost_core.machine import RUN, Machine, failed, succeeded, uncertain
from waypost_core.chronicle import Account, Chronicle, markdown, tell
from waypost_core.chronicle.fold import HANDLERS
from waypost_core.messages import TimersDue
from waypost_core.tracing import Capture
from waypost_proto import commands as cmd
from waypost_proto import events as ev
from waypost_proto import mailbox as mb
from waypost_proto.forks import Recalled
from waypost_proto.ids import CallId, RunId
from waypost_proto.models import ModelCall, ModelTry
from waypost_proto.usage import Usage
from waypost_proto.values import Approval, Budget, Failure

NOW = datetime(2026, 11, 22, tzinfo=UTC)


def account(run: Machine, **capture: Any) -> Account:
    tale = Chronicle(RUN, Capture(**{"intent": True, "content": True, **capture}))
    for event in run.log:
        tale.feed(event)
    return tale.account()


def told(run: Machine, **capture: Any) -> str:
    return "\n".join(tell(account(run, **capture), NOW))


def commands(run: Machine) -> list[str]:
    return [command for one in account(run).pending for _, command in one.do]


def later(run: Machine, seconds: float) -> Machine:
    run.now += seconds
    return run


def ends(run: Machine, result: bytes = b'"fine"') -> Machine:
    return run.advance(cmd.CompleteRun(seen=run.the.outside, result=Raw(result)))


def test_a_run_from_what_was_asked_to_why_it_ended() -> None:
    run = Machine(started=False).start(budget=Budget(max_steps=9), starter="ann", labels={"desk": "north"})
    run.calls("read")
    later(run, 2).tell(succeeded())
    ends(run)
    text = told(run)
    assert f"Run {RUN} of agent clerk (build b1): completed after 2.0 s" in text
    for line in ("  by        ann", "  input     1", "  limits    max_steps 9", "  labels    desk=north"):
        assert line in text
    assert 'Tool read (0:1, a read) with {"x":1}' in text
    assert "completed after 2.0 s: 2" in text
    assert "the agent's code returned its result" in text
    assert 'result "fine"' in text
    assert "\n  1 tool call\n" in text
    assert account(run).pending == []


def test_retries_say_why_and_how_long_was_waited() -> None:
    run = Machine().calls("read")
    later(run, 1).tell(failed())
    later(run, 1).tell(TimersDue(("0:1#retry",)))
    open_account = account(run)
    assert [(a.number, a.outcome) for a in open_account.entries[0].attempts] == [(1, "failed"), (2, "")]
    later(run, 3).tell(succeeded(attempt=2))
    lines = told(run)
    assert "attempt 1: failed after 1.0 s: Boom: no" in lines
    assert "waited 1.0 s to try again (attempt 2 of 3)" in lines
    assert "attempt 2: answered after 3.0 s" in lines
    assert account(run).totals.attempts_failed == 1


def test_a_wait_for_a_retry_says_until_when() -> None:
    run = Machine().calls("read").tell(failed())
    (pending,) = account(run).pending
    assert (pending.what, pending.do) == ("read: attempt 2 of 3", [])
    assert pending.until == datetime.fromtimestamp(1_001, UTC)


def test_who_allowed_what_and_by_which_policy() -> None:
    run = Machine(started=False).start(starter="bob")
    run.calls("pay", approval=Approval(role="officer", expires_seconds=60, quorum=2, reason="large"))
    approval_id = run.the.calls[CallId("0:1")].approval_id or ""
    assert commands(run) == [
        f"waypost approvals approve {approval_id} --role officer",
        f"waypost approvals deny {approval_id} --role officer",
    ]
    for number, by in enumerate(("ann", "cleo")):
        later(run, 10).tell(
            mb.DecideApproval(run_id=RUN, request_id=f"d{number}", approval_id=approval_id, decision="approve", by=by, reason="ok")
        )
    text = told(run)
    assert "the agent's code asked 2 people with role officer to approve (large)" in text
    assert "granted by ann, cleo at 1970-01-01 00:17:00 UTC, after 20.0 s" in text


def test_a_policy_that_asked_is_named_and_a_denial_is_told() -> None:
    run = Machine()
    asked = ev.ApprovalRequested(
        approval_id="ap-1",
        call_id=CallId("0:1"),
        tool="pay",
        args_digest="d",
        role="officer",
        expires_at=1_060,
        rule="large",
        policy_version="v7",
    )
    tale = fed(
        run,
        ev.ToolCallRequested(call_id=CallId("0:1"), tool="pay", args=Raw(b"{}"), args_digest="d", idempotency_key="k"),
        asked,
        ev.ApprovalDenied(approval_id="ap-1", call_id=CallId("0:1"), by="ann", reason="too much"),
        ev.ToolCallFailed(call_id=CallId("0:1"), tool="pay", attempt=0, error=Failure(type="ApprovalDenied", message="too much"), by="ann"),
    )
    text = "\n".join(tell(tale.account(), NOW))
    assert "rule 'large' of policy v7 asked role officer to approve, ap-1: denied by ann" in text
    assert "“too much”" in text
    assert tale.entries[0].outcome == "denied"


def fed(run: Machine, *data: ev.Data) -> Chronicle:
    """The run's log, and then these events."""
    tale = Chronicle(RUN)
    for event in run.log:
        tale.feed(event)
    for one in data:
        run.now += 1
        tale.feed(
            ev.Event(
                run_id=RUN,
                seq=tale.seq + 1,
                type=str(type(one).__struct_config__.tag),
                agent="clerk",
                correlation_id=RUN,
                recorded_at=f"1970-01-01T00:{int(run.now // 60):02}:{int(run.now % 60):02}Z",
                data=Raw(json.encode(one)),
            )
        )
    return tale


def test_a_call_in_doubt_says_what_to_find_out_and_how_to_settle_it() -> None:
    run = Machine().calls("pay")
    later(run, 4).tell(uncertain())
    text = told(run)
    assert "attempt 1 is in doubt after 4.0 s: Timeout: ?" in text
    assert "somebody to settle pay, which is in doubt" in text
    assert f"by the key {RUN}/0:1" in text
    assert commands(run) == [
        f"waypost runs resolve {RUN} 0:1 completed --result JSON",
        f"waypost runs resolve {RUN} 0:1 not_done",
        f"waypost runs resolve {RUN} 0:1 failed",
    ]
    run.tell(mb.ResolveCall(run_id=RUN, request_id="r", call_id=CallId("0:1"), outcome="completed", result=Raw(b'"paid"'), by="ann"))
    assert 'completed: it had taken effect, says ann after 4.0 s: "paid"' in told(run)


def test_a_reconcile_hook_is_told_apart_from_an_attempt() -> None:
    run = Machine().calls("asks").tell(uncertain())
    (pending,) = account(run).pending
    assert pending.what == "the reconcile hook of asks, in doubt"
    run.tell(TimersDue(("0:1#retry",)))
    assert "asked its reconcile hook whether it took effect, under way" in told(run)
    later(run, 1).tell(mb.ToolNotDone(run_id=RUN, call_id=CallId("0:1"), attempt=1))
    assert "asked its reconcile hook whether it took effect: not done after 1.0 s" in told(run)


def test_a_pause_at_a_limit_says_which_and_who_went_on_with_what() -> None:
    run = Machine(budget=Budget(max_steps=1)).calls("read", "0:1")
    run.tell(succeeded()).calls("read", "0:2")
    text = told(run)
    assert "Paused: max_steps 1 reached" in text
    assert f"waypost runs resume {RUN} --max-steps +20" in commands(run)
    later(run, 60).tell(mb.Resume(run_id=RUN, request_id="r1", budget=Budget(max_steps=5), by="ann"))
    text = told(run)
    assert "resumed by ann after 60.0 s" in text
    assert "new limits: max_steps 5" in text
    assert account(run).budget.max_steps == 5


def test_a_pause_by_a_person_and_an_instruction() -> None:
    run = Machine().calls("read")
    run.tell(mb.Pause(run_id=RUN, request_id="p", reason="let me look", by="bob"))
    assert "Paused by bob: let me look" in told(run)
    assert commands(run)[0] == f"waypost runs resume {RUN}"
    run.tell(mb.Resume(run_id=RUN, request_id="r", by="bob", instruction="ask somebody else"))
    assert "The agent was told: ask somebody else (by bob)" in told(run)


def test_a_divergence_says_where_log_and_code_part() -> None:
    run = Machine().calls("read")
    run.tell(succeeded())
    run.advance(cmd.ReportDivergence(seen=run.the.outside, found="a call of pay", expected="a call of read"))
    text = told(run)
    assert (
        "the agent's code no longer does what the log says it did: replay asked for a call of pay, the journal has a call of read" in text
    )
    assert "deploy the build that began the run" in text
    run.tell(mb.Cancel(run_id=RUN, request_id="c", reason="given up", by="ann"))
    assert "cancelled at 1970-01-01 00:16:40 UTC: it was cancelled by ann: given up" in told(run)


def test_a_deadline_that_passed_says_what_was_waited_for() -> None:
    run = Machine(deadline="PT10S").calls("read")
    run.tell(TimersDue(("deadline",)))
    text = told(run)
    assert "failed at" in text
    assert "its deadline passed" in text
    assert "error DeadlineExceeded: the deadline 1970-01-01T00:16:50" in text


def test_an_ending_that_waits_says_for_what() -> None:
    run = Machine().calls("pay")
    run.tell(mb.Cancel(run_id=RUN, request_id="c", by="ann"))
    found = account(run)
    assert found.status == "ending"
    assert "It is to end as cancelled; what has started and cannot be dropped is still awaited (by ann)" in told(run)
    assert found.pending[0].what == "pay, attempt 1"


def test_intents_tokens_costs_and_what_the_model_chose() -> None:
    run = Machine()
    model = ModelCall(
        model="small",
        input_tokens=12,
        output_tokens=3,
        intent="I look it up first.",
        tried=[ModelTry(model="big", error="Busy", message="later")],
    )
    asked = CallId("m1")
    usage = Usage(steps=1, tokens=15, cost_micros=2_000)
    answered = cmd.FinishStep(seen=1, id=asked, name="small", at=1_000.0, duration_seconds=0.5, result=Raw(b"{}"), model=model, usage=usage)
    run.advance(answered, run.call("read", "m1.0", because=asked))
    text = told(run)
    assert "Model small (m1) said: “I look it up first.”" in text
    assert "tried first: big: Busy: later" in text
    assert "12 + 3 tokens, 0.002 USD" in text
    assert "Tool read (m1.0, a read, chosen by m1)" in text
    assert "0.002 USD in all" in text


def test_children_signals_timers_and_questions_are_awaited_each_with_what_to_do() -> None:
    run = Machine()
    seen = run.the.outside
    child = cmd.StartChild(seen=seen, id=CallId("0:1"), agent="helper")
    signal = cmd.AwaitSignal(seen=seen, id=CallId("0:2"), name="papers")
    timer = cmd.StartTimer(seen=seen, id=CallId("0:3"), fire_at=1_060)
    question = cmd.AskQuestion(seen=seen, id=CallId("0:4"), role="officer", question="May I?", expires_seconds=60)
    run.advance(child, signal, timer, question)
    waits = {one.call_id: one for one in account(run).pending}
    assert waits["0:1"].what.endswith("of agent helper")
    assert waits["0:2"].do == [("hand it in", f"waypost runs signal {RUN} papers --payload JSON")]
    assert waits["0:3"].until == datetime.fromtimestamp(1_060, UTC)
    assert waits["0:4"].do[0][1].startswith("waypost approvals answer ")
    later(run, 5).tell(mb.Signal(run_id=RUN, request_id="s", name="papers", payload=Raw(b'"here"'), by="bob"))
    assert "Waited for signal 'papers' (0:2)" in told(run)
    assert 'received by bob after 5.0 s: "here"' in told(run)


def test_nothing_is_shown_that_the_policy_does_not_show() -> None:
    run = Machine().calls("read")
    run.tell(succeeded())
    ends(run, b'"the secret"')
    hidden = told(run, intent=False, content=False)
    assert "secret" not in hidden
    assert '{"x":1}' not in hidden
    masked = told(run, redact=lambda _name, text: text.replace("secret", "***"))
    assert 'result "the ***"' in masked


def test_markdown_keeps_what_agents_wrote_as_text() -> None:
    run = Machine()
    ends(run, b'"<img src=x onerror=alert(1)> *bold* [a](b)"')
    text = markdown(account(run), NOW)
    assert text.startswith(f"# Run {RUN}")
    assert "<img" not in text
    assert "&lt;img" in text
    assert r"\[a\](b)" in text
    assert r"\*bold\*" in text


def test_events_of_a_newer_version_are_told_as_such_and_gaps_are_refused() -> None:
    run = Machine()
    tale = Chronicle(RUN)
    with pytest.raises(ValueError, match="nothing can be told"):
        tale.account()
    tale.feed(run.log[0])
    newer = structs.replace(run.log[0], seq=2, type="run_dreamt", data=Raw(b'{"type":"run_dreamt"}'))
    entry = tale.feed(newer)
    assert entry is not None
    assert "run_dreamt" in entry.text
    with pytest.raises(ValueError, match="does not follow"):
        tale.feed(newer)
    tale.feed(structs.replace(newer, seq=3, type="run_failed", data=Raw(b'{"type":"run_failed","error":7}')))
    assert tale.account().status == "failed", "what cannot be read has ended all the same"


SILENT = {ev.RunStarted, ev.RunAdvanced, ev.WritesSaved, ev.LeaseReturned, ev.LeaseWanted, ev.LeaseRecalled, ev.LeaseTakenBack}
"""What begins the account itself, or only keeps books."""


def test_every_event_is_told_or_known_to_say_nothing() -> None:
    assert set(get_args(ev.AnyData)) - set(HANDLERS) == SILENT


def test_a_fork_says_where_it_comes_from_and_what_it_did_not_do_again() -> None:
    run = Machine().calls("read")
    run.tell(mb.Pause(run_id=RUN, request_id="p"))
    source = RunId("0192f0c1-7a3e-7c21-8f00-3b1d6a9c4e56")
    step = ev.StepRecalled(call_id=CallId("0:2"), name="prepare", result=Raw(b'"A"'), recalled=Recalled(seq=7, at=1.0))
    tale = fed(run, ev.RunForked(source=source, seq=3, tools="recorded", identity=RUN, by="ann", budget=Budget(max_steps=5)), step)
    found = tale.account()
    text = "\n".join(tell(found, NOW))
    assert f"Forked from run {source} at event 3: what precedes is a copy; tools answer what the source's did from here on (by ann)" in text
    assert "repeated from the source's log (its event 7): nothing was done or paid for again" in text
    assert (found.status, found.budget.max_steps, found.totals.tool_calls) == ("open", 5, 0)
