"""What a model or its provider may do wrong: each has a recorded outcome that people and the model can read, and an end."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from msgspec import Struct

from tests.unit.waypost.reasoning.fake import Fake, calls, says
from tests.unit.waypost.reasoning.rig import Rig
from waypost import ReasoningAgent, Retry, tool
from waypost.models import ModelBusy, ModelOptions, ModelRefused
from waypost.reasoning import Window
from waypost_proto import commands as cmd
from waypost_proto import events as ev


class Verdict(Struct):
    risk: float


@tool(effect="read")
async def look(key: str, depth: int = 3) -> str:
    return key


class Once(Fake):
    """One request a step, so that the run does the waiting."""

    options = ModelOptions(retry=Retry(max_attempts=1))


def thinker(*lines: Any, **options: Any) -> ReasoningAgent[Any, Any]:
    options.setdefault("tools", [look])
    return ReasoningAgent(name="thinker", model=Once(*lines), instructions="You think.", **options)


@pytest.mark.parametrize(
    ("use", "kind", "message"),
    [
        (("nope", {}), "UnknownTool", "there is look"),
        (("", {}), "UnknownTool", "there is look"),
        (("look", '{"key": '), "ArgumentsInvalid", "no JSON object"),
        (("look", "[1]"), "ArgumentsInvalid", "no JSON object"),
        (("look", {"key": 7}), "ArgumentsInvalid", "$.key"),
        (("look", {}), "ArgumentsInvalid", "key"),
        (("look", {"key": "a", "more": 1}), "ArgumentsInvalid", "more"),
        (("look", {"key": "x" * 200_000}), "ArgumentsInvalid", "the limit is 100000"),
        (("look", "[" * 5_000), "ArgumentsInvalid", "no JSON object"),
    ],
)
def test_a_call_that_cannot_be_made_is_recorded_and_told(use: Any, kind: str, message: str) -> None:
    rig = Rig(thinker(calls(use), "I see"))
    rig.think()
    refused = rig.items[1]
    assert isinstance(refused, cmd.FinishStep)
    assert refused.error is not None
    assert (refused.id, refused.error.type) == ("m1.1", kind)
    assert message in refused.error.message
    rig.think()
    told = rig.agent.plan.model.asked[1].messages
    assert told[-1].failed
    assert message in told[-1].text
    assert isinstance(msgspec.json.decode(told[-2].tool_uses[0].arguments), dict), "no provider chokes on what was written"
    assert len(told[-2].tool_uses[0].arguments) < 10_000
    assert rig.result == "I see"


def test_more_calls_than_one_answer_may_make() -> None:
    rig = Rig(thinker(calls(*[("look", {"key": str(number)}) for number in range(70)])))
    rig.think()
    assert sum(isinstance(item, cmd.CallTool) for item in rig.items) == 64
    assert rig.items[-1].error.type == "TooManyCalls"


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (says("high, I would say"), "AnswerInvalid"),
        (says('{"risk": "high"}'), "AnswerInvalid"),
        (says("[" * 5_000), "AnswerInvalid"),
        (says("  \n"), "AnswerEmpty"),
        (says('{"risk": 0.', finish="length"), "AnswerCut"),
    ],
)
def test_an_answer_that_does_not_fit_is_repaired_or_ends_the_run(answer: Any, kind: str) -> None:
    rig = Rig(thinker(answer, '{"risk": 0.5}', output=Verdict))
    rig.think()
    assert rig.kinds == ["finish_step m1", "finish_step m1.check"]
    assert rig.items[1].error.type == kind
    rig.think()
    assert rig.agent.plan.model.asked[1].messages[-1].text == rig.message_of("m1.check")
    assert rig.result == {"risk": 0.5}

    rig = Rig(thinker(answer, output=Verdict, repairs=1))
    rig.think()
    rig.think()
    assert rig.failure.type == kind
    assert "after 2 tries" in rig.failure.message


def test_an_empty_answer_where_text_is_wanted() -> None:
    rig = Rig(thinker("", "here"))
    rig.think()
    rig.think()
    assert [message.text for message in rig.agent.plan.model.asked[1].messages][1:] == [rig.message_of("m1.check")]
    assert rig.result == "here"


def test_repairs_are_counted_in_a_row() -> None:
    bad, good = says("?"), calls(("look", {"key": "a"}))
    rig = Rig(thinker(bad, good, bad, '{"risk": 1}', output=Verdict, repairs=1))
    rig.think()
    rig.think()
    rig.answer("m2.1", "x")
    rig.think()
    rig.think()
    assert rig.result == {"risk": 1.0}


def test_a_refusal_ends_the_run_with_the_models_words() -> None:
    rig = Rig(thinker(says("I will not do that.", finish="refusal"), output=Verdict))
    rig.think()
    assert (rig.failure.type, rig.failure.message) == ("ModelRefused", "I will not do that.")


def test_ten_megabytes_are_no_context() -> None:
    rig = Rig(thinker(calls(("look", {"key": "a"}), text="x" * 3_000_000), "ok"))
    rig.think()
    rig.answer("m1.1", "y" * 10_000_000)
    rig.think()
    sent = rig.agent.plan.model.asked[1].messages
    assert sum(len(message.text) for message in sent) < 50_000
    assert "10000000 characters" in sent[-1].text
    assert "m1.1" in sent[-1].text


def test_an_answer_larger_than_its_limit() -> None:
    rig = Rig(thinker("x" * 5_000_000))
    rig.think()
    assert rig.failure.type == "ModelFailed"
    assert "AnswerTooLarge" in rig.failure.message


def test_an_input_larger_than_the_window_is_shown_in_part() -> None:
    rig = Rig(thinker("ok", window=Window(max_tokens=1_000)), "z" * 1_000_000)
    rig.think()
    assert len(rig.agent.plan.model.asked[0].messages[0].text) < 3_000


# -- providers


def test_an_outage_is_a_timer_and_not_a_failure() -> None:
    rig = Rig(thinker(ModelBusy("429", retry_after=30.0), ModelBusy("503"), "up again"))
    rig.think()
    assert rig.kinds == ["finish_step m1", "start_timer m1.wait"]
    assert rig.items[0].error.type == "ModelBusy"
    assert rig.items[1].fire_at == rig.recorder.clock + 30.0
    assert rig.effects == {}, "it holds nothing while it waits"
    rig.happens(ev.TimerFired(call_id="m1.wait"))
    rig.think()
    assert rig.kinds == ["finish_step m2", "start_timer m2.wait"]
    assert 3.0 < rig.items[1].fire_at - rig.recorder.clock <= 4.0
    rig.happens(ev.TimerFired(call_id="m2.wait"))
    rig.think()
    assert rig.result == "up again"


def test_an_instruction_during_an_outage_does_not_end_the_wait() -> None:
    rig = Rig(thinker(ModelBusy("503"), "up again"))
    rig.think()
    rig.instruct("hurry")
    assert rig.effects == {}
    rig.happens(ev.TimerFired(call_id="m1.wait"))
    rig.think()
    assert rig.agent.plan.model.asked[1].messages[-1].text == "Instruction: hurry"


def test_an_outage_ends_at_some_time() -> None:
    rig = Rig(thinker(ModelBusy("503"), outage=Retry(max_attempts=2, initial_seconds=1.0)))
    rig.think()
    rig.happens(ev.TimerFired(call_id="m1.wait"))
    rig.think()
    assert rig.failure.type == "ModelFailed"
    assert "2 times in a row" in rig.failure.message


@pytest.mark.parametrize("error", [ModelRefused("401: no such key"), KeyError("usage")])
def test_what_trying_again_cannot_mend_ends_the_run(error: Exception) -> None:
    rig = Rig(thinker(error))
    rig.think()
    assert rig.failure.type == "ModelFailed"
    assert type(error).__name__ in rig.failure.message


def test_a_bug_in_a_tools_own_check_fails_the_run_readably() -> None:
    rig = Rig(thinker(calls(("look", {"key": "a"}))))
    rig.agent.toolbox.offers["look"].command = lambda *_: 1 / 0  # type: ignore[method-assign,assignment]
    rig.think()
    assert rig.failure.type == "ZeroDivisionError"
