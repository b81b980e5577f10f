"""The real SDKs against a provider on loopback: what is sent, what is made of the answers, and each way in which it goes wrong."""

from __future__ import annotations

import asyncio
import pickle
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.fake_provider import FakeProvider, Reply, Tool
from tests.unit.waypost.models.world import Watcher, asked, call_of, options, step
from tests.waiting import wait_until
from waypost.models import (
    AssistantMessage,
    ModelBusy,
    ModelCut,
    ModelRefused,
    ModelRequest,
    ModelResponse,
    TextDelta,
    TokenCounts,
    ToolMessage,
    ToolSpec,
    ToolUse,
    UserMessage,
    output_of,
    providing,
)
from waypost.models.anthropic import AnthropicModel
from waypost.models.calls import ask, response_of
from waypost.models.openai import OpenAIModel, is_strict
from waypost.models.providing import ProviderModel, retry_after_of
from waypost_proto.errors import Misconfigured

KEY = "sk-a-key-that-nobody-must-see"
ONCE = options(retry=options().retry.__class__(max_attempts=1))
LOOK_UP = ToolSpec(
    name="look-up", description="Looks up.", parameters=msgspec.Raw(b'{"type":"object","properties":{"q":{"type":"string"}}}')
)


@pytest.fixture(params=["openai", "anthropic"])
def provider(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=[True, False], ids=["streamed", "whole"])
def streamed(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def model_of(provider: str, fake: FakeProvider, **changes: Any) -> ProviderModel:
    made = {"api_key": KEY, "options": ONCE, **changes}
    if provider == "openai":
        return OpenAIModel("gpt-test", base_url=fake.openai, **made)
    return AnthropicModel("claude-test", base_url=fake.url, **made)


async def generate(model: ProviderModel, request: ModelRequest, streamed: bool) -> tuple[ModelResponse, str]:
    heard: list[str] = []

    def take(delta: Any) -> None:
        heard.append(delta.text if isinstance(delta, TextDelta) else delta.name + delta.arguments)

    response = await model.generate(request, take if streamed else None)
    await model.aclose()
    return response, "".join(heard)


async def test_a_text(provider: str, streamed: bool) -> None:
    async with FakeProvider(Reply(text="Paris, of course.", cached_tokens=4)) as fake:
        response, heard = await generate(model_of(provider, fake), asked(instructions="Be brief.", temperature=0.5, stop=("X",)), streamed)
        sent = fake.heard[0]
    assert response.message == AssistantMessage(text="Paris, of course.")
    assert response.finish == "stop"
    assert response.usage == TokenCounts(input_tokens=11, output_tokens=7, cached_tokens=4)
    assert response.answered_by in ("gpt-test-2026-01-01", "claude-test")
    assert response.response_id
    assert heard == ("Paris, of course." if streamed else "")
    assert sent.body["temperature"] == 0.5
    assert KEY in (sent.headers.get("authorization", "") + sent.headers.get("x-api-key", ""))
    if provider == "openai":
        assert sent.body["messages"][0] == {"role": "system", "content": "Be brief."}
        assert sent.body["max_tokens"] == 100
    else:
        assert sent.body["system"] == "Be brief."
        assert sent.body["max_tokens"] == 100
        assert sent.body["messages"] == [{"role": "user", "content": [{"type": "text", "text": "What is the capital of France?"}]}]


async def test_tools_there_and_back(provider: str, streamed: bool) -> None:
    replies = Reply(text="Let me see.", tools=(Tool("look-up", '{"q": "Paris"}', "a"), Tool("look-up", '{"q": "Rome"}', "b")))
    async with FakeProvider(replies, Reply(text="Done.")) as fake:
        model = model_of(provider, fake)
        first = asked(tools=(LOOK_UP,), tool_choice="required")
        response, heard = await generate(model, first, streamed)
        uses = response.message.tool_uses
        results = (
            ToolMessage(id="a", name="look-up", text='"here"'),
            ToolMessage(id="b", name="look-up", text="no such city", failed=True),
        )
        again = ModelRequest(messages=(*first.messages, response.message, *results, UserMessage(text="Go on.")), tools=(LOOK_UP,))
        await generate(model, again, streamed)
        sent, back = fake.heard
    assert response.finish == "tool_calls"
    assert [(use.id, use.name, msgspec.json.decode(use.arguments)) for use in uses] == [
        ("a", "look-up", {"q": "Paris"}),
        ("b", "look-up", {"q": "Rome"}),
    ]
    if streamed:
        assert heard == 'Let me see.look-up{"q": "Paris"}look-up{"q": "Rome"}'
    messages = back.body["messages"]
    if provider == "openai":
        assert sent.body["tool_choice"] == "required"
        assert sent.body["tools"][0]["function"]["name"] == "look-up"
        assert [m["role"] for m in messages] == ["user", "assistant", "tool", "tool", "user"]
        assert messages[3]["content"] == "error: no such city"
    else:
        assert sent.body["tool_choice"] == {"type": "any"}
        assert [m["role"] for m in messages] == ["user", "assistant", "user"]
        assert [block["type"] for block in messages[2]["content"]] == ["tool_result", "tool_result", "text"]
        assert messages[2]["content"][1]["is_error"] is True


async def test_reasoning_goes_back_to_the_same_model_only(provider: str, streamed: bool) -> None:
    thought = Reply(thinking="Hm, France …", text="Paris", tools=(Tool("look-up", "{}"),), reasoning_tokens=5)
    async with FakeProvider(thought) as fake:
        model = model_of(provider, fake)
        response, heard = await generate(model, asked(tools=(LOOK_UP,)), streamed)
        assert response.message.opaque is not None
        assert "Hm" not in heard + response.message.text
        history = (UserMessage(text="?"), response.message, ToolMessage(id="use-1", name="look-up", text="1"))
        await generate(model, ModelRequest(messages=history, tools=(LOOK_UP,)), streamed)
        assert "Hm, France" in msgspec.json.encode(fake.heard[1].body).decode()
        other = model_of(provider, fake)
        other.name = "another"
        await generate(other, ModelRequest(messages=history, tools=(LOOK_UP,)), streamed)
        assert "Hm, France" not in msgspec.json.encode(fake.heard[2].body).decode()
    if provider == "openai":
        assert response.usage.reasoning_tokens == 5


async def test_structured_output(provider: str, streamed: bool) -> None:
    output = output_of(list[int])
    async with FakeProvider(Reply(text='{"value": [1, 2]}')) as fake:
        response, _ = await generate(model_of(provider, fake), output.ask_for(asked()), streamed)
        sent = fake.heard[0].body
    assert output.value(response) == [1, 2]
    if provider == "openai":
        assert sent["response_format"]["json_schema"]["strict"] is True
        assert sent["response_format"]["json_schema"]["schema"]["required"] == ["value"]
    else:
        assert sent["output_config"]["format"]["schema"]["additionalProperties"] is False


async def test_refusals_and_length(provider: str, streamed: bool) -> None:
    cut = "length" if provider == "openai" else "max_tokens"
    async with FakeProvider(Reply(refusal="I will not."), Reply(text="Once upon a", finish=cut)) as fake:
        model = model_of(provider, fake)
        refused, _ = await generate(model, asked(), streamed)
        short, _ = await generate(model, asked(), streamed)
    assert (refused.finish, refused.message.text) == ("refusal", "I will not.")
    assert (short.finish, short.message.text) == ("length", "Once upon a")


async def test_an_empty_answer_is_an_answer(provider: str, streamed: bool) -> None:
    async with FakeProvider(Reply(text="")) as fake:
        response, _ = await generate(model_of(provider, fake), asked(), streamed)
    assert response.message == AssistantMessage()
    assert response.finish == "stop"


@pytest.mark.parametrize(
    ("reply", "error", "words"),
    [
        (Reply(status=429, headers={"retry-after": "7"}, error="slow down"), ModelBusy, "429: slow down|429 .*slow down"),
        (Reply(status=500), ModelBusy, "answered 500"),
        (Reply(status=529, code="overloaded_error", error="overloaded"), ModelBusy, "529"),
        (Reply(status=503, raw=b"<html>gateway</html>"), ModelBusy, "503"),
        (Reply(status=429, code="insufficient_quota", error="pay first"), ModelRefused, "pay first"),
        (Reply(status=400, error="too long a prompt"), ModelRefused, "too long a prompt"),
        (Reply(status=401, error=f"the key {KEY} is wrong"), ModelRefused, r"the key \*\*\* is wrong"),
        (Reply(status=404, error="no such model"), ModelRefused, "no such model"),
    ],
    ids=lambda value: str(value.status) if isinstance(value, Reply) else None,
)
async def test_errors(provider: str, streamed: bool, reply: Reply, error: type[Exception], words: str) -> None:
    async with FakeProvider(reply) as fake:
        with pytest.raises(error, match=words) as raised:
            await generate(model_of(provider, fake), asked(), streamed)
        assert len(fake.heard) == 1, "the SDK's own retries are off"
    assert KEY not in str(raised.value)
    if reply.headers:
        assert isinstance(raised.value, ModelBusy)
        assert raised.value.retry_after == 7


@pytest.mark.parametrize("reply", [Reply(text="x" * 90, cut_after=3), Reply(text="half", end_early=True)], ids=["cut", "ended"])
async def test_a_stream_that_ends_half_way(provider: str, reply: Reply) -> None:
    async with FakeProvider(reply) as fake:
        with pytest.raises(ModelCut, match=r"broke off|before the answer was whole") as raised:
            await generate(model_of(provider, fake), asked(), streamed=True)
    assert raised.value.billed


async def test_an_error_in_the_middle_of_a_stream(provider: str) -> None:
    async with FakeProvider(Reply(text="x" * 90, error_after=3, code="overloaded_error", error="too much to do")) as fake:
        with pytest.raises(ModelCut, match="too much to do"):
            await generate(model_of(provider, fake), asked(), streamed=True)


async def test_a_body_that_is_no_answer(provider: str) -> None:
    for raw in (b"{this is no json", b"{}", b'"words"'):
        async with FakeProvider(Reply(raw=raw)) as fake:
            with pytest.raises((ModelCut, ModelRefused)):
                await generate(model_of(provider, fake), asked(), streamed=False)


async def test_nobody_there(provider: str) -> None:
    async with FakeProvider() as fake:
        model = model_of(provider, fake)
    with pytest.raises(ModelBusy, match="no connection"):
        await generate(model, asked(), streamed=True)


async def test_a_cancelled_request_closes_its_connection(provider: str) -> None:
    async with FakeProvider(Reply(text="x" * 1_000, pieces=1_000, piece_delay=0.005)) as fake:
        model = model_of(provider, fake)
        effect = step(model, asked(), watcher := Watcher())
        task = asyncio.create_task(effect.run())
        await wait_until(lambda: bool(watcher.text))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await wait_until(lambda: fake.gone == 1)
    assert call_of(effect).estimated


async def test_ten_megabytes_are_not_taken(provider: str) -> None:
    async with FakeProvider(Reply(text="x" * 10_000_000, pieces=2_000)) as fake:
        model = model_of(provider, fake, options=options(max_answer_bytes=100_000, retry=ONCE.retry))
        with pytest.raises(ModelRefused, match="the limit is 100000"):
            await ask(model, asked())
        await wait_until(lambda: fake.gone == 1)
        await model.aclose()


async def test_the_whole_way_of_a_busy_provider(provider: str) -> None:
    plan = [Reply(status=429, headers={"retry-after-ms": "5"}), Reply(text="x" * 30, cut_after=3), Reply(text="at last")]
    async with FakeProvider(*plan) as fake:
        model = model_of(provider, fake, options=options())
        effect = step(model, asked(), watcher := Watcher())
        assert response_of(await effect.run()).message.text == "at last"
        await model.aclose()
    assert watcher.text == "at last"
    assert [t.error for t in call_of(effect).tried] == ["ModelBusy", "ModelCut"]
    assert call_of(effect).attempts == 3


async def test_what_a_tool_use_should_not_hold_can_still_be_sent_back(provider: str) -> None:
    history = (
        UserMessage(text="?"),
        AssistantMessage(
            tool_uses=(ToolUse(id="a", name="look-up", arguments="{no json"), ToolUse(id="b", name="look-up", arguments="[1]"))
        ),
        ToolMessage(id="a", name="look-up", text="not JSON", failed=True),
        ToolMessage(id="b", name="look-up", text="not an object", failed=True),
    )
    async with FakeProvider() as fake:
        await generate(model_of(provider, fake), ModelRequest(messages=history, tools=(LOOK_UP,)), streamed=True)
        assert "no json" in msgspec.json.encode(fake.heard[0].body).decode()


def test_a_model_can_be_carried_and_shows_no_key(provider: str) -> None:
    made = OpenAIModel("m", api_key=KEY) if provider == "openai" else AnthropicModel("m", api_key=KEY)
    assert KEY not in repr(made)
    again = pickle.loads(pickle.dumps(made))
    assert (again.name, again.lane) == (made.name, made.lane)


def test_without_its_sdk_a_model_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(providing.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(Misconfigured, match=r"pip install 'waypost\[openai\]'"):
        OpenAIModel("gpt-test")
    with pytest.raises(Misconfigured, match=r"pip install 'waypost\[anthropic\]'"):
        AnthropicModel("claude-test")


async def test_a_missing_key_is_told(provider: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ModelRefused, match=r"(?i)api_key"):
        await (OpenAIModel("m") if provider == "openai" else AnthropicModel("m")).generate(asked())


def test_when_to_come_again() -> None:
    assert retry_after_of({"retry-after": "3"}) == 3
    assert retry_after_of({"retry-after-ms": "250", "retry-after": "3"}) == 0.25
    assert retry_after_of({"retry-after": "Thu, 01 Jan 1970 00:00:00 GMT"}) == 0
    for nothing in ({}, {"retry-after": "soon"}, {"retry-after": "-1"}, {"retry-after": "inf"}):
        assert retry_after_of(nothing) is None


def test_what_openai_can_hold_a_model_to() -> None:
    closed = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": False}
    assert is_strict(closed)
    assert not is_strict(closed | {"required": []})
    assert not is_strict({"type": "object", "properties": {"x": {"type": "object"}}, "required": ["x"], "additionalProperties": False})


async def test_two_first_calls_share_one_import_that_is_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a thread imports the SDK, `sys.modules` has a module of which half is missing."""
    (tmp_path / "slow_sdk.py").write_text("import time\ntime.sleep(0.2)\nREADY = True\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(OpenAIModel, "sdk", "slow_sdk")
    first, second = OpenAIModel("a"), OpenAIModel("b")
    importing = asyncio.ensure_future(first._imported())
    await wait_until(lambda: "slow_sdk" in sys.modules)
    assert (await second._imported()).READY
    assert await importing is await second._imported() is sys.modules["slow_sdk"]
    monkeypatch.delitem(sys.modules, "slow_sdk")
