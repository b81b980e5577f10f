"""Agents and tools that bring about all that dashboards and alerts show."""

from __future__ import annotations

from datetime import timedelta

from msgspec import Struct

from waypost import Approval, Breaker, Budget, Context, LoopLimits, Retry, agent, remote_tool, tool
from waypost.models.messages import TokenCounts
from waypost.models.options import ModelOptions
from waypost.models.prices import Price
from waypost.models.scripted import Say, ScriptedModel

MODEL = ScriptedModel(
    lambda _request: Say(
        text="hello", usage=TokenCounts(input_tokens=50, output_tokens=10, cached_tokens=20, reasoning_tokens=5), pieces=2
    ),
    name="small",
    provider="house",
    options=ModelOptions(price=Price(input=100, output=100)),
)
tried: set[str] = set()


@tool(effect="read")
async def look(key: str) -> str:
    return key


@tool(effect="read", retry=Retry(max_attempts=3, initial_seconds=0.05))
async def shaky(key: str) -> str:
    if key not in tried:
        tried.add(key)
        raise ConnectionError("not yet")
    return key


@tool(effect="read", retry=Retry(max_attempts=2, initial_seconds=0.05), breaker=Breaker(failures=1, open_seconds=1.0))
async def broken(key: str) -> str:
    raise ConnectionError("never")


@tool(effect="unsafe")
async def pay(key: str) -> str:
    raise TimeoutError("it may have gone through")


@tool(effect="read")
async def forbidden(key: str) -> str:
    return key


async def ask_later(key: str) -> str:
    raise ConnectionError("the receiver cannot be asked now")


@tool(effect="unsafe", reconcile=ask_later)
async def owe(key: str) -> str:
    raise TimeoutError("it may have gone through")


class Key(Struct):
    key: str


nowhere = remote_tool("nowhere", Key, str)


@agent(tools=[look])
async def helper(ctx: Context, key: str) -> str:
    return await ctx.call(look, key)


@agent(tools=[look, shaky], agents=[helper], budget=Budget(max_cost_usd=1, max_steps=50, max_tokens=10_000))
async def desk(ctx: Context, key: str) -> str:
    await ctx.generate(MODEL, "what now?", str)
    await ctx.call(look, key)
    await ctx.call(shaky, key)
    return await ctx.call(helper, key)


@agent(tools=[look])
async def gated(ctx: Context, key: str) -> str:
    return await ctx.call(look.using(approval=Approval(role="officer", expires=timedelta(minutes=30))), key)


@agent(tools=[pay])
async def doubtful(ctx: Context, key: str) -> str:
    return await ctx.call(pay, key)


@agent(tools=[owe])
async def owing(ctx: Context, key: str) -> str:
    return await ctx.call(owe, key)


@agent(tools=[look], loops=LoopLimits(same_call=2))
async def circling(ctx: Context, key: str) -> str:
    while True:
        await ctx.call(look, key)


@agent(tools=[look], budget=Budget(max_steps=5))
async def limited(ctx: Context, key: str) -> str:
    for number in range(10):
        await ctx.call(look, f"{key}-{number}")
    return key


@agent(tools=[broken])
async def failing(ctx: Context, key: str) -> str:
    return await ctx.call(broken, key)


@agent
async def waiting(ctx: Context, key: str) -> str:
    return await ctx.signal(key, str)


@agent(tools=[nowhere])
async def homeless(ctx: Context, key: str) -> str:
    return await ctx.call(nowhere, Key(key))


@agent(tools=[forbidden])
async def refused(ctx: Context, key: str) -> str:
    return await ctx.call(forbidden, key)
