"""Model calls through real services: recorded once, limited, and with a readable outcome whatever the provider does."""

from __future__ import annotations

import msgspec
import pytest

from tests.fake_provider import FakeProvider, Reply
from tests.waiting import wait_until
from waypost.client import Client
from waypost_proto.models import ModelCall
from waypost_proto.values import Budget


async def calls(client: Client, run_id: str) -> list[ModelCall]:
    """What the log says of the run's model calls."""
    found = []
    async for event in client.events(run_id):
        if event.type in ("step_completed", "step_failed"):
            data = msgspec.json.decode(event.data)
            found.append(msgspec.convert(data["model"], ModelCall))
    return found


@pytest.mark.parametrize("model", ["openai", "anthropic", "both"])
async def test_an_answer_and_its_record(client: Client, provider: FakeProvider, model: str) -> None:
    provider.plan.extend(Reply(text=f"answer {number}", cached_tokens=3) for number in range(2))
    run = await client.start("asker", {"prompt": "?", "model": model, "times": 2})
    assert await client.result(run.run_id, timeout=20) == ["answer 0", "answer 1"]
    first, second = await calls(client, run.run_id)
    assert (first.input_tokens, first.output_tokens, first.cached_tokens, first.attempts) == (11, 7, 3, 1)
    assert first.finish == "stop"
    assert first.intent == "answer 0"
    assert first.first_token_seconds is not None
    assert first.request_digest != second.request_digest
    view = await client.get(run.run_id)
    assert view.usage is not None
    assert view.usage.tokens == 36


async def test_reserved_before_settled_after(client: Client, provider: FakeProvider) -> None:
    provider.plan.append(Reply(text="dear", input_tokens=100, output_tokens=50))
    run = await client.start("thrifty", {"prompt": "?", "model": "dear"})
    assert await client.result(run.run_id, timeout=20) == "dear"
    view = await client.get(run.run_id)
    assert view.usage is not None
    assert (view.usage.tokens, view.usage.cost_micros) == (150, 15_000)


async def test_what_does_not_fit_the_budget_is_not_asked(client: Client, provider: FakeProvider) -> None:
    heard = len(provider.heard)
    run = await client.start("thrifty", {"prompt": "?", "model": "dear"}, budget=Budget(max_cost_usd=0.01))

    async def paused() -> bool:
        return (await client.get(run.run_id)).status == "paused"

    await wait_until(paused)
    assert len(provider.heard) == heard
    await client.resume(run.run_id, budget=Budget(max_cost_usd=0.4))
    assert await client.result(run.run_id, timeout=20) == "A usual answer."


async def test_where_cost_is_limited_a_model_without_price_is_not_asked(client: Client, provider: FakeProvider) -> None:
    heard = len(provider.heard)
    run = await client.start("thrifty", {"prompt": "?", "model": "unpriced"})
    assert await client.result(run.run_id, timeout=20) == "ModelUnpriced"
    assert len(provider.heard) == heard


async def test_a_wait_that_the_provider_asks_for_is_a_timer_of_the_run(client: Client, provider: FakeProvider) -> None:
    provider.plan.extend([Reply(status=429, headers={"retry-after": "1"}, error="slow down"), Reply(text="now")])
    run = await client.start("asker", {"prompt": "?", "model": "anthropic"})
    assert await client.result(run.run_id, timeout=20) == ["now"]
    kinds = [event.type async for event in client.events(run.run_id)]
    assert kinds.index("step_failed") < kinds.index("timer_started") < kinds.index("timer_fired") < kinds.index("step_completed")
    failed, answered = await calls(client, run.run_id)
    assert failed.tried[0].retry_after == 1
    assert "429" in failed.tried[0].message
    assert answered.attempts == 1


BAD = {
    "invalid JSON": (Reply(text="one, two"), "AnswerUnusable: the model's answer does not fit"),
    "an empty answer": (Reply(text=""), "AnswerUnusable: the model answered nothing"),
    "a refusal": (Reply(refusal="I will not."), "AnswerUnusable: the model declines to answer: I will not."),
    "10 MB": (Reply(text="x" * 10_000_000, pieces=500), "the limit is 1000000"),
    "500": (Reply(status=500), "answered 500"),
    "a cut stream": (Reply(text="x" * 90, cut_after=3), "broke off"),
    "a refused request": (Reply(status=400, error="too long a prompt"), "too long a prompt"),
}


@pytest.mark.parametrize("model", ["openai", "anthropic"])
@pytest.mark.parametrize("kind", BAD)
async def test_each_bad_answer_is_recorded_and_readable(client: Client, provider: FakeProvider, model: str, kind: str) -> None:
    reply, words = BAD[kind]
    provider.plan.extend([reply] * 6)
    try:
        run = await client.start("counter", {"prompt": "?", "model": model})
        assert words in await client.result(run.run_id, timeout=30)
    finally:
        provider.plan.clear()
    assert all(call.finish or call.tried for call in await calls(client, run.run_id))


async def test_a_provider_that_hangs_is_given_up(client: Client, provider: FakeProvider) -> None:
    provider.plan.append(Reply(hang=True))
    run = await client.start("counter", {"prompt": "?", "model": "hasty"})
    assert "nothing for 0.3 s" in await client.result(run.run_id, timeout=20)
    (call,) = await calls(client, run.run_id)
    assert call.tried[0].error == "ModelTimeout"
    assert call.estimated
