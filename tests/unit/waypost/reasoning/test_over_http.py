"""A whole reasoning run over HTTP against a provider that goes wrong, in the words of OpenAI and of Anthropic."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec import Struct

from tests.fake_provider import FakeProvider, Reply, Tool
from tests.unit.waypost.reasoning.rig import Rig
from waypost import ReasoningAgent, Retry, tool
from waypost.models import FREE, ModelOptions
from waypost.models.anthropic import AnthropicModel
from waypost.models.openai import OpenAIModel
from waypost_proto import events as ev

ONCE = ModelOptions(retry=Retry(max_attempts=1), price=FREE, max_answer_bytes=100_000, piece_timeout=5.0)


class Verdict(Struct):
    risk: float


@tool(effect="read")
async def look(key: str) -> str:
    """Looks something up."""
    return key


def thinker(provider: str, fake: FakeProvider) -> ReasoningAgent[Any, Any]:
    model: Any
    if provider == "openai":
        model = OpenAIModel("gpt-test", base_url=fake.openai, api_key="k", options=ONCE)
    else:
        model = AnthropicModel("claude-test", base_url=fake.url, api_key="k", options=ONCE)
    return ReasoningAgent(name="thinker", model=model, instructions="You think.", tools=[look], output=Verdict)


@pytest.fixture(params=["openai", "anthropic"])
def provider(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def test_a_run_through_all_kinds_of_trouble(provider: str) -> None:
    uses = (Tool("look", '{"key": "a"}', "u1"), Tool("look", '{"key": 1}', "u2"), Tool("nope", "{}", "u3"))
    plan = [
        Reply(status=429, headers={"retry-after": "0.2"}),
        Reply(status=500),
        Reply(text="half of an ans", cut_after=2),
        Reply(text="I look.", tools=uses),
        Reply(text="I would say high."),
        Reply(text='{"risk": 0.5}'),
    ]
    async with FakeProvider(*plan) as fake:
        rig = Rig(thinker(provider, fake))
        for number in (1, 2, 3):
            await rig.think_here()
            assert rig.kinds == [f"finish_step m{number}", f"start_timer m{number}.wait"]
            # a connection that breaks may do so before anything of the answer was read
            assert rig.items[0].error.type in (("ModelBusy", "ModelCut") if number == 3 else ("ModelBusy",))
            rig.happens(ev.TimerFired(call_id=f"m{number}.wait"))
        await rig.think_here()
        assert rig.kinds == ["finish_step m4", "call_tool m4.1", "finish_step m4.2", "finish_step m4.3"]
        rig.answer("m4.1", "A")
        await rig.think_here()
        assert rig.kinds == ["finish_step m5", "finish_step m5.check"]
        await rig.think_here()
        assert rig.result == {"risk": 0.5}
        sent = fake.heard[-1].body["messages"]
    results = results_of(provider, sent)
    assert list(results) == ["u1", "u2", "u3"], "each call has its result, in order"
    assert results["u1"] == "A"
    assert "$.key" in results["u2"]
    assert "UnknownTool" in results["u3"]
    again = rig.again()
    assert again.items == []
    assert again.effects == {}


def results_of(provider: str, sent: list[dict[str, Any]]) -> dict[str, str]:
    """What the provider was told of each call. Raises if a call has no result right behind it."""
    if provider == "openai":
        at = next(index for index, message in enumerate(sent) if message.get("tool_calls"))
        ids = [call["id"] for call in sent[at]["tool_calls"]]
        behind = sent[at + 1 : at + 1 + len(ids)]
        assert all(message["role"] == "tool" for message in behind)
        assert all(isinstance(json.loads(call["function"]["arguments"]), dict) for call in sent[at]["tool_calls"])
        return {message["tool_call_id"]: message["content"] for message in behind}
    at = next(index for index, message in enumerate(sent) if "tool_use" in json.dumps(message["content"]))
    ids = [part["id"] for part in sent[at]["content"] if part["type"] == "tool_use"]
    behind = [part for part in sent[at + 1]["content"] if part["type"] == "tool_result"]
    assert [part["tool_use_id"] for part in behind] == ids
    return {
        part["tool_use_id"]: json.dumps(part["content"]) if not isinstance(part["content"], str) else part["content"] for part in behind
    }


@pytest.mark.parametrize(
    ("reply", "kind", "text"),
    [
        (Reply(text="x" * 200_000), "ModelFailed", "AnswerTooLarge"),
        (Reply(status=401, error="no such key"), "ModelFailed", "ModelRefused"),
        (Reply(refusal="I will not.", finish="refusal"), "ModelRefused", "I will not."),
    ],
)
async def test_what_ends_a_run_says_why(provider: str, reply: Reply, kind: str, text: str) -> None:
    if provider == "anthropic" and reply.refusal:
        reply = Reply(text=reply.refusal, finish="refusal")
    async with FakeProvider(reply) as fake:
        rig = Rig(thinker(provider, fake))
        await rig.think_here()
    assert rig.failure.type == kind
    assert text in rig.failure.message
