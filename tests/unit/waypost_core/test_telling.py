"""Supervisors are told before a limit or the deadline, of what is held for too long, and again while nobody acts."""

from __future__ import annotations

import pytest

from tests.unit.waypost_core import machine
from tests.unit.waypost_core.machine import RUN, START, Machine, uncertain
from waypost_core import effects as fx
from waypost_core.messages import TimersDue
from waypost_proto import events as ev
from waypost_proto import mailbox as mb
from waypost_proto.ids import CallId
from waypost_proto.notices import Notice
from waypost_proto.registry import AgentDefinition, ToolDefinition
from waypost_proto.usage import Rung
from waypost_proto.values import Budget, Effect

LADDER = [Rung(after_seconds=60, to="team lead"), Rung(after_seconds=600, to="head of desk")]


@pytest.fixture(autouse=True)
def ladder(monkeypatch: pytest.MonkeyPatch) -> None:
    known = machine.AGENTS["clerk"]
    clerk = AgentDefinition(name="clerk", build="b1", tools=known.tools, agents=known.agents, ladder=LADDER)
    monkeypatch.setitem(machine.AGENTS, "clerk", clerk)


def told(run: Machine) -> list[Notice]:
    return [effect.notice for effect in run.effects if isinstance(effect, fx.Notify)]


def test_before_the_deadline_and_only_once() -> None:
    run = Machine(deadline="PT100S")
    assert run.timers["deadline_near"] == START + 80
    run.tell(TimersDue(("deadline_near",)))
    assert run.types == ["deadline_near"]
    assert told(run)[0].why == "deadline"
    assert fx.ClearTimer("deadline_near") in run.effects
    assert run.tell(TimersDue(("deadline_near",))).events == []


def test_a_run_that_was_told_of_its_deadline_can_be_resumed_with_other_limits() -> None:
    run = Machine(deadline="PT100S", budget=Budget(max_seconds=50))
    run.tell(TimersDue(("max_seconds",)))
    run.tell(TimersDue(("deadline_near",)))
    run.tell(mb.Resume(run_id=RUN, request_id="r", budget=Budget(max_seconds=500)))
    assert "run_resumed" in run.types
    assert "deadline" in run.the.warned


def test_before_the_age_limit_and_again_when_it_was_raised() -> None:
    run = Machine(budget=Budget(max_seconds=100))
    run.tell(TimersDue(("max_seconds_near",)))
    assert run.events == [ev.LimitWarning(limit="max_seconds", value=80, maximum=100)]
    assert told(run)[0].why == "limit"
    run.tell(TimersDue(("max_seconds",)))
    assert run.types == ["breaker_tripped", "run_paused"]
    run.tell(mb.Resume(run_id=RUN, request_id="r", extra=Budget(max_seconds=100)))
    assert run.timers["max_seconds_near"] == START + 160


def test_a_notice_says_what_is_used_and_how_to_go_on() -> None:
    run = Machine(budget=Budget(max_steps=1)).calls("read", "0:1")
    run.calls("pay", "0:2")
    notice = told(run)[0]
    assert (notice.why, notice.level) == ("paused", 0)
    assert notice.limits == Budget(max_steps=1)
    assert notice.usage is not None
    assert notice.usage.steps == 1
    assert notice.actions[0].command == f"waypost runs resume {RUN} --max-steps 4"
    assert any("--instruction" in action.command for action in notice.actions)


def test_a_pause_that_nobody_acts_on_goes_up_the_ladder() -> None:
    run = Machine().tell(mb.Pause(run_id=RUN, request_id="p", by="ann"))
    assert run.timers["escalate"] == START + 60
    run.tell(TimersDue(("escalate",)))
    assert run.events == [ev.NoticeEscalated(why="paused", level=1, to="team lead")]
    assert [(notice.level, notice.to) for notice in told(run)] == [(1, "team lead")]
    run.tell(TimersDue(("escalate",)))
    assert [(notice.level, notice.to) for notice in told(run)] == [(2, "head of desk")]
    assert run.now == START + 660
    assert "escalate" not in run.timers
    assert run.tell(TimersDue(("escalate",))).events == []


def test_a_resume_ends_the_ladder_and_the_next_pause_begins_it_anew() -> None:
    run = Machine().tell(mb.Pause(run_id=RUN, request_id="p")).tell(TimersDue(("escalate",)))
    run.tell(mb.Resume(run_id=RUN, request_id="r"))
    assert fx.ClearTimer("escalate") in run.effects
    assert run.tell(TimersDue(("escalate",))).events == []
    run.tell(mb.Pause(run_id=RUN, request_id="q")).tell(TimersDue(("escalate",)))
    assert [notice.level for notice in told(run)] == [1]


def test_a_pause_by_the_parent_is_the_parents_to_escalate() -> None:
    run = Machine().tell(mb.Pause(run_id=RUN, request_id="p", by="run:another"))
    assert "escalate" not in run.timers


def test_a_call_in_doubt_goes_up_the_ladder_until_it_is_settled() -> None:
    run = Machine().calls("pay").tell(uncertain())
    run.tell(TimersDue(("0:1#escalate",)))
    assert [(notice.why, notice.to) for notice in told(run)] == [("in_doubt", "team lead")]
    run.tell(mb.ResolveCall(run_id=RUN, request_id="s", call_id=CallId("0:1"), outcome="failed"))
    assert run.tell(TimersDue(("0:1#escalate",))).events == []


def test_a_tool_that_nobody_hosts_for_a_minute_is_told() -> None:
    run = Machine().calls("later")
    assert run.timers["0:1#held"] == START + 60
    run.tell(TimersDue(("0:1#held",)))
    assert run.events == []
    assert told(run)[0].why == "held"
    assert "hosts tool later" in told(run)[0].message
    run.tools["later"] = ToolDefinition(name="later", effect=Effect.READ)
    run.calls("later", "0:2")
    assert "0:2#held" not in run.timers


def test_an_agent_that_nobody_has_ever_hosted_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(machine.AGENTS, "clerk")
    run = Machine()
    assert run.timers["held"] == START + 60
    run.tell(TimersDue(("held",)))
    assert told(run)[0].why == "held"
    run.advance()
    assert told(run.tell(TimersDue(("held",)))) == []
