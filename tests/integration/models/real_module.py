"""An agent that asks the real small model."""

from __future__ import annotations

import os

from msgspec import Struct

from waypost import Context, agent, tool
from waypost.models import FREE, ModelOptions
from waypost.models.openai import OpenAIModel

smol = OpenAIModel(
    "smollm2",
    base_url=f"{os.environ.get('FAKE_PROVIDER_URL', 'http://127.0.0.1:9')}/v1",
    options=ModelOptions(price=FREE, max_output_tokens=400, timeout=120),
)


@tool(effect="read")
async def nothing() -> None:
    """A gateway hosts something, or does not start."""


class City(Struct):
    name: str
    inhabitants: int


@agent
async def traveller(ctx: Context, country: str) -> City:
    """Whatever it says, it says it in this form."""
    thought = await ctx.generate(smol, f"Name a city in {country}.", str)
    return await ctx.generate(smol, f"Answer in JSON. City: {thought[:60]}", City)
