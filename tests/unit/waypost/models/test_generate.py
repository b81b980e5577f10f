"""`ctx.generate` in a durable function: recorded, typed, repaired, and patient by timers of the run."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from msgspec import Struct

from tests.unit.waypost.execution.rig import Rig
from tests.unit.waypost.models.world import DOLLAR, options
from waypost import Context, Usage, agent
from waypost.execution import EffectResult, failure_of
from waypost.models import (
    AnswerUnusable,
    AssistantMessage,
    Model,
    ModelBusy,
    ModelRefused,
    ModelRequest,
    ModelResponse,
    ToolMessage,
    UserMessage,
)
from waypost.models.generating import ModelFailed
from waypost.models.output import output_of
from waypost.models.scripted import Say, ScriptedModel
from waypost_proto import commands as cmd
from waypost_proto.errors import BadInput


class Verdict(Struct):
    risk: float
    why: str = ""


class Current:
    """The model that the agents of this file ask: set by each test."""

    model: Model = ScriptedModel([])


@agent
async def writer(ctx: Context, prompt: str) -> str:
    return (await ctx.generate(Current.model, prompt)).message.text


@agent
async def judge(ctx: Context, prompt: str) -> str:
    verdict = await ctx.generate(Current.model, prompt, Verdict, instructions="Judge.", repairs=1)
    assert isinstance(verdict, Verdict)
    return f"{verdict.risk} {verdict.why}"


@agent
async def careful(ctx: Context, prompt: str) -> str:
    try:
        return await ctx.generate(Current.model, prompt, str)
    except ModelFailed as error:
        return f"{error.type}: {error}"
    except AnswerUnusable as error:
        return f"{error.why}: {error}"


async def play(rig: Rig, model: ScriptedModel) -> Any:
    """Run what is asked for until the run has ended or waits for a timer; its last item."""
    Current.model = model
    while rig.effects:
        call_id, effect = next(iter(rig.effects.items()))
        del rig.effects[call_id]
        try:
            outcome: dict[str, Any] = {"result": await effect.run()}
        except Exception as error:  # noqa: BLE001 - as a worker does
            outcome = {"error": failure_of(error)}
        rig.execution.finish_effect(
            EffectResult(call_id=call_id, at=1_000.0, model=effect.meter.model, usage=effect.meter.usage, **outcome)
        )
        rig.take()
    return rig.items[-1]


def begin(function: Any, prompt: str, model: ScriptedModel) -> Rig:
    Current.model = model
    return Rig(function, prompt)


def result_of(item: Any) -> Any:
    assert isinstance(item, cmd.CompleteRun), item
    return msgspec.json.decode(item.result)


async def test_an_answer_is_recorded_and_replayed() -> None:
    model = ScriptedModel(["Paris"], options=options(price=DOLLAR))
    rig = begin(writer, "The capital of France?", model)
    (effect,) = rig.effects.values()
    assert effect.name == "generate"
    assert effect.reserve is not None
    assert effect.reserve.tokens > 100
    assert result_of(await play(rig, model)) == "Paris"
    finished = next(item for item in rig.items if isinstance(item, cmd.FinishStep))
    assert finished.model is not None
    assert finished.model.intent == "Paris"
    again = rig.again()
    assert not again.execution.diverged
    assert again.execution.finished
    assert model.calls == 1


async def test_a_typed_answer_that_does_not_fit_is_told_and_asked_for_again() -> None:
    model = ScriptedModel(["I think 0.5", '```json\n{"risk": 0.5, "why": "hits"}\n```'], options=options())
    rig = begin(judge, "How risky?", model)
    assert result_of(await play(rig, model)) == "0.5 hits"
    first, second = model.requests
    assert first.output_schema is not None
    assert first.instructions == "Judge."
    told = second.messages[-1]
    assert isinstance(told, UserMessage)
    assert "That cannot be used" in told.text
    assert second.messages[-2] == AssistantMessage(text="I think 0.5")


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        ("", "empty: the model answered nothing"),
        (Say(text="I will not.", finish="refusal"), "refusal: the model declines to answer: I will not."),
        (Say(text="Once upon a", finish="length"), "length: the answer was cut off after"),
        (ModelRefused("401: no such key"), "ModelRefused: step 'generate by scripted' (0:1): ModelRefused: 401: no such key"),
        (KeyError("a bug"), "KeyError"),
    ],
    ids=["empty", "refusal", "length", "refused", "bug"],
)
async def test_each_bad_answer_has_a_readable_end(answer: Any, outcome: str) -> None:
    model = ScriptedModel([answer] * 9, by="call", options=options())
    rig = begin(careful, "Tell a story.", model)
    assert str(result_of(await play(rig, model))).startswith(outcome)


async def test_while_the_provider_is_busy_the_run_waits_by_timers() -> None:
    script = [ModelBusy("429: come back later", retry_after=90), ModelBusy("503"), "at last"]
    model = ScriptedModel(script, by="call", options=options(retry=options().retry.__class__(max_attempts=1), patience=3))
    rig = begin(writer, "?", model)
    first = await play(rig, model)
    assert isinstance(first, cmd.StartTimer)
    assert first.fire_at - rig.execution._engine.loop.time() == pytest.approx(90)
    model.lane = object()  # another worker, which nobody has told to wait
    rig.fire(first.id)
    second = await play(rig, model)
    assert isinstance(second, cmd.StartTimer)
    rig.fire(second.id)
    assert result_of(await play(rig, model)) == "at last"
    again = rig.again()
    assert again.execution.finished
    assert model.calls == 3


async def test_when_patience_ends_the_call_has_failed() -> None:
    model = ScriptedModel([ModelBusy("503")] * 9, by="call", options=options(retry=options().retry.__class__(max_attempts=1), patience=2))
    rig = begin(careful, "?", model)
    timer = await play(rig, model)
    rig.fire(timer.id)
    assert "ModelBusy: 503" in result_of(await play(rig, model))


async def test_what_is_asked_may_be_a_conversation_or_a_whole_request() -> None:
    history = (UserMessage(text="?"), AssistantMessage(text="!"), ToolMessage(id="a", name="t", text="1"))

    @agent
    async def both(ctx: Context) -> list[str]:
        one = await ctx.generate(Current.model, history, str, reserve=Usage(tokens=5))
        two = await ctx.generate(Current.model, ModelRequest(messages=history, instructions="old"), str, instructions="new")
        return [one, two]

    model = ScriptedModel(lambda request: request.instructions or "none", options=options())
    rig = begin(both, "", model)
    (effect,) = rig.effects.values()
    assert effect.reserve is not None
    assert effect.reserve.tokens == 5
    assert result_of(await play(rig, model)) == ["none", "new"]
    assert model.requests[0].messages == history


def test_an_empty_prompt_is_a_mistake() -> None:
    from waypost.models.generating import request_of

    for empty in ("", "  ", ()):
        with pytest.raises(BadInput, match="empty prompt"):
            request_of(empty)


def test_types_that_are_no_objects_are_wrapped() -> None:
    response = ModelResponse(message=AssistantMessage(text='{"value": ["a"]}'))
    assert output_of(list[str]).value(response) == ["a"]
    assert output_of(Verdict).value(ModelResponse(message=AssistantMessage(text='{"risk": 1}'))) == Verdict(1.0)
    with pytest.raises(AnswerUnusable, match=r"\$\.risk|missing required field"):
        output_of(Verdict).value(ModelResponse(message=AssistantMessage(text='{"why": "x"}')))
    assert b"additionalProperties" in bytes(output_of(Verdict).schema or b"")
