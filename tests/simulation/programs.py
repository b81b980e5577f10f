"""The agents and tools of the simulation. Every agent's result follows from its input alone, whatever happens on the way.

A step is named as its key ends: what the provider counts is compared with what the log says.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta

from tests.bumps import bumps
from tests.simulation.provider import Provider
from waypost import NOT_DONE, Approval, Context, Retry, ToolContext, agent, tool

WORLD: list[Provider] = []
"""The provider of the simulation that is running."""
PATIENT = Retry(initial_seconds=0.05, factor=2.0, max_seconds=1.0, max_attempts=60, jitter=0.2)


@tool(effect="read", timeout=2, retry=PATIENT)
async def look(ctx: ToolContext, value: int) -> int:
    return await WORLD[0].read(ctx, value)


@tool(effect="idempotent", timeout=2, retry=PATIENT)
async def post(ctx: ToolContext, text: str) -> str:
    return await WORLD[0].post(ctx, text)


async def _find(ctx: ToolContext, cents: int) -> str:
    return await WORLD[0].find(ctx, cents) or NOT_DONE


@tool(effect="unsafe", timeout=2, retry=PATIENT, reconcile=_find)
async def pay(ctx: ToolContext, cents: int) -> str:
    return await WORLD[0].pay(ctx, cents)


@tool(effect="idempotent", timeout=2, retry=PATIENT)
async def closed(ctx: ToolContext) -> str:
    await WORLD[0].refuse()
    return "never"


async def _double(key: str, value: int) -> int:
    await WORLD[0].step(key)
    return 2 * value


async def _broken(key: str) -> int:
    await WORLD[0].step(key)
    raise ValueError("never works")


@agent(tools=[look, post, pay])
async def trader(ctx: Context, n: int) -> dict:
    """Reads at once, a step, an effect of each kind."""
    doubled = await ctx.step(_double, f"{ctx.run_id}/double", n, name="double")
    found = await asyncio.gather(*(ctx.call(look, n + k) for k in range(3)))
    await asyncio.sleep(0.2)
    paid, posted = await asyncio.gather(ctx.call(pay, n * 100), ctx.call(post, f"note {n}"))
    return {"doubled": doubled, "found": found, "paid": paid, "posted": posted}


@agent(agents=[trader])
async def boss(ctx: Context, n: int) -> list:
    """Children at once, and one after another."""
    first = [ctx.start(trader, n + k) for k in range(2)]
    results = [await handle for handle in first]
    results.append(await ctx.call(trader, n + 9))
    return results


@agent(tools=[pay, look])
async def clerk(ctx: Context, n: int) -> dict:
    """Waits for people: two signals in order, an approval."""
    papers = [await ctx.signal("papers", int), await ctx.signal("papers", int)]
    gate = Approval(role="officer", expires=timedelta(days=7), reason="large")
    paid = await ctx.call(pay.using(approval=gate), n)
    seen = await ctx.call(look, n)
    return {"papers": papers, "paid": paid, "seen": seen}


@agent
async def clerk_child(ctx: Context, n: int) -> int:
    """Never ends by itself: who starts it cancels it."""
    return await ctx.signal("never", int)


@agent(tools=[closed, look, post], agents=[clerk_child])
async def bumpy(ctx: Context, n: int) -> list:
    """Failures that are caught, a timeout, a child that fails, a task that is given up."""
    if n < 0:
        raise ValueError("negative")
    told = await bumps(
        ctx, closed=closed, broken=lambda: ctx.step(_broken, f"{ctx.run_id}/broken", name="broken"), failing=bumpy, patience_seconds=0.3
    )
    ctx.start(clerk_child, n).cancel()
    async with asyncio.TaskGroup() as group:
        jobs = [group.create_task(_job(ctx, n + k)) for k in range(2)]
    return [*told, *(job.result() for job in jobs)]


async def _job(ctx: Context, n: int) -> int:
    await asyncio.sleep(0.05 * (n % 3))
    value = await ctx.call(look, n)
    await ctx.call(post, f"job {n}")
    return value + await ctx.step(_double, f"{ctx.run_id}/job{n}", n, name=f"job{n}")


AGENTS = (trader, boss, clerk, bumpy, clerk_child)
TOOLS = (look, post, pay, closed)
