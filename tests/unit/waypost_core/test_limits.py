"""Who may set limits, and what a resume makes of them."""

from __future__ import annotations

import pytest

from tests.unit.waypost_core.machine import RUN, Machine, succeeded
from waypost_core.limits import raised, too_low
from waypost_core.starting import allowed
from waypost_proto import events as ev
from waypost_proto import mailbox as mb
from waypost_proto.errors import BadInput
from waypost_proto.registry import AgentDefinition
from waypost_proto.usage import micros_of, usd_of
from waypost_proto.values import Budget, RunStatus

OWN = Budget(max_steps=50, max_cost_usd=2.0)


def test_a_task_makes_limits_tighter_and_never_lifts_them() -> None:
    agent = AgentDefinition(name="a", build="b", budget=OWN)
    asked = Budget(max_steps=80, max_cost_usd=0.5, max_tokens=9)
    assert allowed(agent, asked) == Budget(max_steps=50, max_cost_usd=0.5, max_tokens=9)
    assert allowed(agent, None) == OWN
    assert allowed(None, asked) == asked


def test_an_agent_may_leave_its_limits_to_the_task() -> None:
    agent = AgentDefinition(name="a", build="b", budget=OWN, open_budget=True)
    assert allowed(agent, Budget(max_steps=80)) == Budget(max_steps=80, max_cost_usd=2.0)


def test_an_amount_is_added_to_what_is_set_exactly() -> None:
    assert raised(OWN, None, Budget(max_steps=5, max_cost_usd=0.1)) == Budget(max_steps=55, max_cost_usd=2.1)
    assert raised(Budget(max_cost_usd=0.1), Budget(max_steps=3), Budget(max_cost_usd=0.2)) == Budget(max_steps=3, max_cost_usd=0.3)
    assert raised(OWN, None, None) is None


def test_what_cannot_be_added_is_refused() -> None:
    with pytest.raises(BadInput, match="max_tokens is not limited"):
        raised(OWN, None, Budget(max_tokens=5))
    with pytest.raises(BadInput, match="max_steps is given both"):
        raised(OWN, Budget(max_steps=60), Budget(max_steps=5))


def test_a_resume_that_would_stop_at_once_says_how_much_is_needed() -> None:
    run = Machine(budget=Budget(max_steps=1)).calls("read", "0:1")
    run.advance(run.call("read", "0:2"), run.call("pay", "0:3"))
    assert run.the.status is RunStatus.PAUSED
    assert too_low(run.the, Budget(max_steps=2), run.now).endswith("resume with --max-steps 3 or more")
    run.tell(mb.Resume(run_id=RUN, request_id="r", extra=Budget(max_steps=1)))
    assert run.decision.reply is not None
    assert (run.decision.reply.code, run.decision.reply.message[:4]) == ("409", "3 of")
    run.tell(mb.Resume(run_id=RUN, request_id="s", extra=Budget(max_steps=2)))
    assert run.types == ["run_resumed", "call_funded", "call_funded"]
    assert run.the.budget.max_steps == 3


def test_a_run_that_is_too_old_is_not_resumed_with_the_same_age() -> None:
    run = Machine(budget=Budget(max_seconds=10)).tell(mb.Pause(run_id=RUN, request_id="p"))
    run.now += 11
    run.tell(mb.Resume(run_id=RUN, request_id="r"))
    assert run.decision.reply is not None
    assert run.decision.reply.code == "409"
    run.tell(mb.Resume(run_id=RUN, request_id="s", extra=Budget(max_seconds=10)))
    assert run.types == ["run_resumed"]


def test_an_instruction_is_something_that_the_code_is_given() -> None:
    run = Machine().tell(mb.Pause(run_id=RUN, request_id="p"))
    run.tell(mb.Resume(run_id=RUN, request_id="r", instruction="use the archive", by="ann"))
    assert run.events == [ev.RunResumed(by="ann"), ev.InstructionAdded(text="use the archive", by="ann")]
    assert run.the.outside == run.the.seq
    assert run.the.wants_worker
    run.tell(mb.Resume(run_id=RUN, request_id="s", instruction="x" * 8_001))
    assert run.events == []
    run.tell(mb.Pause(run_id=RUN, request_id="q")).tell(mb.Resume(run_id=RUN, request_id="t", instruction="x" * 8_001))
    assert run.decision.reply is not None
    assert run.decision.reply.code == "400"


def test_a_warning_comes_once_and_again_after_the_limit_was_raised() -> None:
    run = Machine(budget=Budget(max_steps=10))
    warned = []
    for number in range(1, 11):
        run.calls("read", f"0:{number}")
        warned += [data for data in run.events if isinstance(data, ev.LimitWarning)]
        run.tell(succeeded(f"0:{number}"))
    assert warned == [ev.LimitWarning(limit="max_steps", value=8, maximum=10)]
    run.calls("read", "0:11")
    run.tell(mb.Resume(run_id=RUN, request_id="r", budget=Budget(max_steps=13)))
    assert "limit_warning" in run.types


def test_dollars_become_micro_dollars_by_their_text() -> None:
    assert micros_of(0.1) * 3 == micros_of("0.3") == 300_000
    assert micros_of("0.0000001") == 1, "rounded up: what is reserved is never less than what was said"
    assert usd_of(1_500_000) == 1.5
    for wrong in (-1, float("nan"), float("inf"), 1e12):
        with pytest.raises(ValueError, match="US dollars"):
            micros_of(wrong)
