"""The load: a run that makes one step after another, with a read and an idempotent call in turn, for as long as it is asked to."""

from __future__ import annotations

import asyncio

from waypost import Context, agent, tool

TOOL_SECONDS = 0.1


@tool(effect="read")
async def look(number: int) -> int:
    await asyncio.sleep(TOOL_SECONDS)
    return number


@tool(effect="idempotent")
async def note(number: int) -> int:
    await asyncio.sleep(TOOL_SECONDS)
    return number


@agent(tools=[look, note])
async def pacer(ctx: Context, steps: int) -> int:
    for number in range(steps):
        await ctx.call(note if number % 2 else look, number)
    return steps
