"""Agents whose traces have everything: steps, retries, timers, a child, an approval, a model that chooses tools."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from waypost import Approval, Context, ReasoningAgent, Retry, ToolContext, agent, tool
from waypost.models.scripted import Say, ScriptedModel, uses

SEEN = Path(os.environ.get("EFFECTS_FILE", os.devnull))


@tool(effect="read", retry=Retry(max_attempts=3, initial_seconds=0.05))
async def flaky(ctx: ToolContext, account: str) -> str:
    """Fails once; writes down which span it was given."""
    with SEEN.open("a", encoding="utf-8") as file:
        file.write(f"{ctx.run_id} {ctx.attempt} {ctx.traceparent}\n")
    if ctx.attempt == 1:
        raise ConnectionError(f"account {account} is not there yet")
    return f"account {account}"


@tool(effect="unsafe")
async def pay(amount: int) -> str:
    return f"paid {amount}"


def _prepare(account: str) -> str:
    return account.upper()


@agent(tools=[])
async def helper(ctx: Context, word: str) -> str:
    await asyncio.sleep(0.01)
    return word


@agent(tools=[flaky, helper])
async def clerk(ctx: Context, account: str) -> str:
    """A step, a tool that fails once, a timer, a child."""
    prepared = await ctx.step(_prepare, account)
    found = await ctx.call(flaky, prepared)
    await asyncio.sleep(0.05)
    return await ctx.call(helper, found)


@agent(tools=[pay])
async def payer(ctx: Context, amount: int) -> str:
    return await ctx.call(pay.using(approval=Approval(role="officer", expires=600)), amount)


analyst = ReasoningAgent(
    name="analyst",
    model=ScriptedModel([Say(text="I look at the account first.", tool_uses=(uses("flaky", '{"account": "a-1"}'),)), "All is well."]),
    instructions="Look at the account and say whether all is well.",
    tools=[flaky],
)
