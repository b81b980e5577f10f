"""The agents and tools of `scale`: they walk, wait, sleep and hang in a call, as the part that measures wants it."""

from __future__ import annotations

import asyncio
from pathlib import Path

from waypost import Context, agent, tool

GO = "go"
"""The signal that everybody who waits is waiting for."""
GATE_POLL_SECONDS = 0.2
CALL_SECONDS = 3_600.0


@tool(effect="read", concurrency=1_000)
async def look(number: int) -> int:
    return number


@tool(effect="idempotent", concurrency=1_000)
async def note(number: int) -> int:
    return number


@tool(effect="read", concurrency=100_000, timeout=CALL_SECONDS)
async def gated(gate: str) -> bool:
    """Hangs until the file `gate` exists."""
    while not Path(gate).exists():  # whoever makes the file is another process
        await asyncio.sleep(GATE_POLL_SECONDS)
    return True


async def no_op() -> int:
    return 1


@agent(tools=[look])
async def walker(ctx: Context, stages: list[int]) -> int:
    """So many steps with a tool, then a wait for the signal; and so on for each stage."""
    number = 0
    for steps in stages:
        for _ in range(steps):
            number += 1
            await ctx.step(no_op)
            await ctx.call(look, number)
        await ctx.signal(GO, int)
    return number


@agent(tools=[look, note])
async def clerk(ctx: Context, steps: int) -> int:
    """So many steps with a tool, the last of them one with an effect, and thus with a permit."""
    for number in range(1, steps + 1):
        await ctx.step(no_op)
        await ctx.call(look if number < steps else note, number)
    return steps


@agent(tools=[])
async def sitter(ctx: Context, number: int) -> int:
    """Waits for the signal."""
    return number + await ctx.signal(GO, int)


@agent(tools=[])
async def sleeper(ctx: Context, seconds: float) -> float:
    """Waits for a timer."""
    await asyncio.sleep(seconds)
    return seconds


@agent(tools=[gated])
async def caller(ctx: Context, gate: str) -> bool:
    """Waits in a tool call."""
    return await ctx.call(gated, gate)
