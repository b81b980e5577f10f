"""Allowances, reservations, windows: what a reasoning run may spend, and how much of its past it is shown."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.waypost.reasoning.fake import Fake, calls
from tests.unit.waypost.reasoning.rig import Rig
from waypost import LoopLimits, ReasoningAgent, tool
from waypost.models import AssistantMessage, ToolMessage
from waypost.reasoning import Window
from waypost.reasoning.state import Dialogue
from waypost_core.loops import loop_limits
from waypost_proto import commands as cmd
from waypost_proto import events as ev
from waypost_proto.values import Budget


@tool(effect="read")
async def look(key: str) -> str:
    return key


def thinker(*lines: Any, **options: Any) -> ReasoningAgent[Any, Any]:
    return ReasoningAgent(name="thinker", model=Fake(*lines), instructions="You think.", tools=[look], **options)


def test_without_allowance_a_model_call_asks_first() -> None:
    rig = Rig(thinker(calls(("look", {"key": "a"})), "ok"), steps_left=1)
    assert list(rig.effects) == ["m1"], "one was allowed"
    rig.think()
    assert rig.kinds == ["finish_step m1", "call_tool m1.1"], "the coordinator decides about the call"
    rig.answer("m1.1", "x")
    assert rig.kinds == ["request_step m2"]
    assert rig.effects == {}
    rig.execution.grant(1)
    assert list(rig.effects) == ["m2"]


def test_where_tokens_are_limited_a_model_call_reserves_what_it_may_take() -> None:
    rig = Rig(thinker(calls(("look", {"key": "a"})), "ok"))
    rig.think()
    rig.execution.metered(True)
    rig.answer("m1.1", "x" * 3_000)
    (request,) = rig.items
    assert isinstance(request, cmd.RequestStep)
    assert request.reserve is not None
    assert request.reserve.tokens > 1_000 + 8_192
    assert rig.effects == {}
    rig.execution.metered(True, ["m2"])
    rig.execution.grant(None)
    assert rig.effects == {}, "it does not fit yet"
    rig.execution.metered(True)
    rig.execution.grant(None)
    assert list(rig.effects) == ["m2"]


def test_a_reserved_call_that_another_worker_may_have_begun_reserves_again() -> None:
    rig = Rig(thinker("ok"), steps_left=0)
    assert rig.kinds == ["request_step m1"]
    other = object.__new__(Rig)
    other.agent, other.recorder = rig.agent, rig.recorder
    other.begin(rig.agent)
    other.execution.metered(True)
    other.execution.replay(rig.recorder.log, rig.recorder.seen)
    (again,) = other.execution.take_items()
    assert isinstance(again, cmd.RequestStep)
    assert (again.id, again.attempt) == ("m1", 2)


def test_loops_are_checked_without_being_asked_for() -> None:
    definition = thinker("x").definition("b")
    assert definition.kind == "reasoning"
    assert loop_limits(definition, Budget()) == LoopLimits()


def test_a_long_conversation_is_compacted_by_a_recorded_step() -> None:
    window = Window(max_tokens=1_000, keep_tokens=300)
    lines = [calls(("look", {"key": str(number)})) for number in range(4)]
    rig = Rig(thinker(*lines, "Keys 0 to 2 hold nothing.", calls(("look", {"key": "5"})), "done", window=window))
    for number in range(1, 5):
        rig.think()
        rig.answer(f"m{number}.1", "r" * 1_000)
    assert rig.effects["m5"].name == "compact"
    rig.think()
    (finished,) = rig.items
    assert (finished.id, finished.name) == ("m5", "compact")
    asked = rig.agent.plan.model.asked
    assert "agent calls look" in asked[4].messages[0].text
    assert asked[4].tools == ()
    rig.think()
    messages = asked[5].messages
    assert messages[0].text == "go", "the task stays"
    assert "Keys 0 to 2 hold nothing." in messages[1].text
    assert isinstance(messages[2], AssistantMessage)
    assert isinstance(messages[3], ToolMessage)
    assert len(messages) == 4
    rig.answer("m6.1", "x")
    rig.think()
    assert rig.result == "done"
    assert [data["name"] for data in rig.recorded("step_completed")].count("compact") == 1


def test_the_providers_count_decides_where_there_is_one() -> None:
    lines = [calls(("look", {"key": str(number)}), tokens=2_000) for number in range(3)]
    rig = Rig(thinker(*lines, "short", "done", window=Window(max_tokens=1_000, keep_tokens=10)))
    rig.think()
    rig.answer("m1.1", "x")
    assert rig.effects["m2"].name == "think", "one turn cannot be cut"
    rig.think()
    rig.answer("m2.1", "x")
    assert rig.effects["m3"].name == "compact"


def test_another_model_may_compact() -> None:
    cheap = Fake("in short")
    lines = [calls(("look", {"key": str(number)})) for number in range(2)]
    rig = Rig(thinker(*lines, "done", window=Window(max_tokens=100, keep_tokens=50, model=cheap)))
    for number in (1, 2):
        rig.think()
        rig.answer(f"m{number}.1", "r" * 1_000)
    rig.think()
    assert len(cheap.asked) == 1
    rig.think()
    assert rig.result == "done"


def test_an_outage_while_compacting_waits_like_any_other() -> None:
    from waypost.models import ModelBusy, ModelOptions
    from waypost_proto.values import Retry

    class Once(Fake):
        options = ModelOptions(retry=Retry(max_attempts=1))

    cheap = Once(ModelBusy("503"), "in short")
    lines = [calls(("look", {"key": str(number)})) for number in range(2)]
    rig = Rig(thinker(*lines, "done", window=Window(max_tokens=100, keep_tokens=50, model=cheap)))
    for number in (1, 2):
        rig.think()
        rig.answer(f"m{number}.1", "r" * 1_000)
    rig.think()
    assert rig.kinds == ["finish_step m3", "start_timer m3.wait"]
    rig.happens(ev.TimerFired(call_id="m3.wait"))
    assert rig.effects["m4"].name == "compact"


def test_a_cut_is_never_between_a_call_and_its_result() -> None:
    dialogue = Dialogue()
    for number in range(5):
        dialogue.add(AssistantMessage(text=f"{number}"))
        dialogue.add(ToolMessage(id="a", name="look", text="x" * 100))
        dialogue.add(ToolMessage(id="b", name="look", text="x" * 100))
    for keep in range(1, 400):
        at = dialogue.cut_at(keep)
        assert at is not None
        assert isinstance(dialogue.messages[at], AssistantMessage)


@pytest.mark.parametrize(
    "window", [{"max_tokens": 10}, {"keep_tokens": 0}, {"max_tokens": 1_000, "keep_tokens": 1_000}, {"max_result_chars": 1}]
)
def test_windows_that_cannot_work(window: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="Window"):
        Window(**window)
