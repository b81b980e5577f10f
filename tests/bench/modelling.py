"""What `tests.bench.models` measures: one model call after another, each a recorded step of a durable function."""

from __future__ import annotations

import os

from waypost import Context, agent, tool
from waypost.models import FREE, ModelOptions
from waypost.models.openai import OpenAIModel

PROMPT = "What is the capital of France? " * 20
MODEL = OpenAIModel(
    "bench", base_url=f"{os.environ.get('FAKE_PROVIDER_URL', 'http://127.0.0.1:9')}/v1", api_key="k", options=ModelOptions(price=FREE)
)


@tool(effect="read")
async def nothing() -> None:
    """A gateway hosts something, or does not start."""


@agent
async def talker(ctx: Context, calls: int) -> int:
    for _ in range(calls):
        await ctx.generate(MODEL, PROMPT, str)
    return calls
