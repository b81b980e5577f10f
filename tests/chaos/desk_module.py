"""The agents and tools of the crash tests: hosted by real workers and gateways, their effects counted in a file outside of Waypost."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from waypost import NOT_DONE, Approval, Context, LoopLimits, Retry, ToolContext, Usage, agent, report, tool

EFFECTS = Path(os.environ.get("EFFECTS_FILE", os.devnull))


def write_effect(key: str) -> None:
    """One line an effect, in one write: what the outside world has seen."""
    with EFFECTS.open("a", encoding="utf-8") as file:
        file.write(key + "\n")


def effects() -> list[str]:
    """The keys that the outside world has seen, in order."""
    return EFFECTS.read_text(encoding="utf-8").split() if EFFECTS.exists() else []


@tool(effect="read", retry=Retry(max_attempts=10, initial_seconds=0.05), timeout=2)
async def look_up(name: str) -> str:
    return name.upper()


async def find_payment(ctx: ToolContext, amount: int) -> object:
    return f"paid {amount}" if ctx.idempotency_key in effects() else NOT_DONE


@tool(effect="unsafe", reconcile=find_payment, timeout=1, retry=Retry(max_attempts=5, initial_seconds=0.05))
async def pay(ctx: ToolContext, amount: int) -> str:
    write_effect(ctx.idempotency_key)
    return f"paid {amount}"


@tool(effect="unsafe", timeout=1)
async def slow_pay(ctx: ToolContext, amount: int) -> str:
    """Unsafe, and nobody can be asked whether it happened."""
    write_effect(ctx.idempotency_key)
    return f"paid {amount}"


async def local_work(number: int) -> int:
    return number + 1


@agent(tools=[look_up])
async def helper(ctx: Context, name: str) -> str:
    return await ctx.call(look_up, name)


@agent(tools=[look_up, pay], agents=[helper])
async def clerk(ctx: Context, name: str) -> str:
    """Every kind of step once: local, parallel tools, a timer, a child, and a payment that must happen once."""
    number = await ctx.step(local_work, 1)
    first, second = await asyncio.gather(ctx.call(look_up, name), ctx.call(look_up, name + "x"))
    await asyncio.sleep(0.05)
    third = await ctx.call(helper, "child")
    receipt = await ctx.call(pay, number)
    return f"{first} {second} {third} {receipt}"


@agent(tools=[pay])
async def asker(ctx: Context, amount: int) -> str:
    """A payment that needs an officer."""
    return await ctx.call(pay.using(approval=Approval(role="officer", expires=3600)), amount)


@agent(tools=[look_up, slow_pay])
async def slow_payer(ctx: Context, amount: int) -> str:
    await ctx.call(look_up, "rate")
    return await ctx.call(slow_pay, amount)


@agent(tools=[pay])
async def waiter(ctx: Context, amount: int) -> str:
    """Waits for a signal, then pays."""
    word = await ctx.signal("go", str)
    receipt = await ctx.call(pay, amount)
    return f"{word} {receipt}"


@agent(tools=[look_up])
async def walker(ctx: Context, steps: int) -> int:
    """So many look-ups one after another."""
    for number in range(steps):
        await ctx.call(look_up, str(number))
    return steps


@tool(effect="read")
async def which_gateway() -> int:
    """The process id of the gateway that runs it."""
    await asyncio.sleep(0.02)
    return os.getpid()


@agent(tools=[which_gateway])
async def pacer(ctx: Context, steps: int) -> int:
    """So many steps one after another, each of which tells who made it."""
    for _ in range(steps):
        await ctx.call(which_gateway)
    return steps


@tool(effect="idempotent", max_tokens=10, max_cost_usd="0.01", retry=Retry(max_attempts=10, initial_seconds=0.05), timeout=2)
async def metered(ctx: ToolContext, number: int) -> int:
    """Reserves ten tokens and a cent, uses seven and four tenths of one."""
    write_effect(ctx.idempotency_key)
    ctx.spent(tokens=7, cost_usd="0.004")
    return number


@agent(tools=[metered])
async def leaf(ctx: Context, calls: int) -> int:
    """So many metered calls at once."""
    return sum(await asyncio.gather(*(ctx.call(metered, 1) for _ in range(calls))))


@agent(agents=[leaf])
async def fan(ctx: Context, children: int) -> int:
    """So many children at once, each with ten calls at once."""
    return sum(await asyncio.gather(*(ctx.call(leaf, 10) for _ in range(children))))


async def think(number: int) -> int:
    report(tokens=3, output=f"thought number {number}")
    return number


@agent(loops=LoopLimits(similar_outputs=3))
async def thinker(ctx: Context, steps: int) -> list[str]:
    """Thinks the same again and again, and says what it was told in between."""
    for number in range(steps):
        await ctx.step(think, number, reserve=Usage(tokens=5))
        if ctx.instructions:
            break
    return list(ctx.instructions)
