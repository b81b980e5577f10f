"""Agents that ask a model of a provider on loopback, by both SDKs."""

from __future__ import annotations

import asyncio
import os

from msgspec import Struct

from waypost import Budget, Context, agent, tool
from waypost.models import FREE, AnswerUnusable, Fallback, ModelOptions, Price
from waypost.models.anthropic import AnthropicModel
from waypost.models.generating import ModelFailed
from waypost.models.openai import OpenAIModel
from waypost_proto.values import Retry

URL = os.environ.get("FAKE_PROVIDER_URL", "http://127.0.0.1:9")
_RETRY = Retry(max_attempts=2, initial_seconds=0.01)
_FREE = ModelOptions(price=FREE, retry=_RETRY, piece_timeout=20, max_wait=0.2, patience=3, max_answer_bytes=1_000_000)
_DEAR = ModelOptions(price=Price(input=100, output=100), retry=_RETRY, max_output_tokens=1_000)

openai = OpenAIModel("gpt-test", base_url=f"{URL}/v1", api_key="k", options=_FREE)
anthropic = AnthropicModel("claude-test", base_url=URL, api_key="k", options=_FREE)
dear = OpenAIModel("gpt-test", base_url=f"{URL}/v1", api_key="k", options=_DEAR)
unpriced = OpenAIModel("gpt-test", base_url=f"{URL}/v1", api_key="k")
hasty = OpenAIModel(
    "gpt-hasty",
    base_url=f"{URL}/v1",
    api_key="k",
    options=ModelOptions(price=FREE, piece_timeout=0.3, retry=Retry(max_attempts=1), patience=1),
)
MODELS = {"openai": openai, "anthropic": anthropic, "dear": dear, "unpriced": unpriced, "both": Fallback(anthropic, openai), "hasty": hasty}


@tool(effect="read")
async def nothing() -> None:
    """A gateway hosts something, or does not start."""


class Ask(Struct):
    prompt: str
    model: str = "openai"
    times: int = 1


@agent
async def asker(ctx: Context, ask: Ask) -> list[str]:
    """Asks so many times, one after another."""
    return [await ctx.generate(MODELS[ask.model], f"{ask.prompt} {number}", str) for number in range(ask.times)]


@agent
async def counter(ctx: Context, ask: Ask) -> str:
    """What came of it, in words, whatever it was."""
    try:
        return str(await ctx.generate(MODELS[ask.model], ask.prompt, list[int], repairs=0))
    except (ModelFailed, AnswerUnusable) as error:
        return f"{type(error).__name__}: {error}"


@agent(budget=Budget(max_cost_usd=0.5))
async def thrifty(ctx: Context, ask: Ask) -> str:
    try:
        return await ctx.generate(MODELS[ask.model], ask.prompt, str)
    except ModelFailed as error:
        return error.type


@agent
async def several(ctx: Context, ask: Ask) -> list[str]:
    return list(await asyncio.gather(*(ctx.generate(openai, f"{ask.prompt} {n}", str) for n in range(ask.times))))
