"""What the written programs import: tools that do as their arguments say, a function for local steps, and words for errors.

How long something takes and how often it fails stands in the program itself, so a printed program is the whole story.
"""

from __future__ import annotations

import asyncio

from waypost import Agent, ChildFailed, Context, Retry, StepFailed, Tool, ToolContext, ToolDenied, ToolFailed, agent, tool

TRIES = 3
"""A call that fails this often has failed for good."""
QUICK = Retry(max_attempts=TRIES, initial_seconds=0.05, factor=2.0, max_seconds=1.0, jitter=0.0)


class Oops(Exception):
    """What programs raise."""


async def _behave(ctx: ToolContext, key: int, takes: float, fails: int) -> str:
    await asyncio.sleep(takes)
    if ctx.attempt <= fails:
        raise RuntimeError(f"attempt {ctx.attempt} at {key}")
    return told_by(ctx.tool, key)


@tool(effect="read", retry=QUICK)
async def look(ctx: ToolContext, key: int, takes: float = 0, fails: int = 0) -> str:
    return await _behave(ctx, key, takes, fails)


@tool(effect="idempotent", retry=QUICK)
async def keep(ctx: ToolContext, key: int, takes: float = 0, fails: int = 0) -> str:
    return await _behave(ctx, key, takes, fails)


def told_by(tool_name: str, key: int) -> str:
    """What a tool answers."""
    return f"{tool_name} {key}"


async def work(key: int, takes: float, fails: int) -> str:
    """A local step."""
    await asyncio.sleep(takes)
    if fails:
        raise RuntimeError(f"step {key}")
    return worked(key)


def worked(key: int) -> str:
    """What a step answers."""
    return f"worked {key}"


def name_of(error: BaseException) -> str:
    """An error as all Pythons say it: messages of the standard library differ."""
    if isinstance(error, BaseExceptionGroup):
        return f"{type(error).__name__}({', '.join(map(name_of, error.exceptions))})"
    if isinstance(error, ToolFailed | ToolDenied | StepFailed):
        return f"{type(error).__name__}({error.type})"
    if isinstance(error, ChildFailed):
        return f"ChildFailed({error.status}, {error.failure and error.failure.type})"
    return f"{type(error).__name__}({error})" if isinstance(error, Oops) else type(error).__name__


TOOLS: tuple[Tool[..., str], ...] = (look, keep)

__all__ = ["TOOLS", "TRIES", "Agent", "Context", "Oops", "agent", "keep", "look", "name_of", "told_by", "work", "worked"]
