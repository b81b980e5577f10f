"""What goes wrong in an agent's life, and is caught: part of the agents of the simulation and of the storms."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from waypost import Agent, ChildFailed, Context, StepFailed, Tool, ToolFailed


async def bumps(
    ctx: Context, *, closed: Tool[..., Any], broken: Callable[[], Awaitable[Any]], failing: Agent[..., Any], patience_seconds: float
) -> list[str]:
    """A tool that refuses for good, a step that raises, a signal that never comes, a child that fails on -1: what each was told to be."""
    told: list[str] = []
    try:
        await ctx.call(closed)
    except ToolFailed as error:
        told.append(error.type)
    try:
        await broken()
    except StepFailed as error:
        told.append(error.type)
    try:
        async with asyncio.timeout(patience_seconds):
            await ctx.signal("never")
    except TimeoutError:
        told.append("timeout")
    try:
        await ctx.call(failing, -1)
    except ChildFailed as error:
        told.append(error.failure.type)
    return told
