"""The agents and tools of a storm, hosted by real workers and gateways. Every result follows from the input alone, whatever happens on
the way: `EXPECTED` says which."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from tests.bumps import bumps
from tests.chaos.storm.provider import ask
from waypost import (
    NOT_DONE,
    Approval,
    ApprovalDenied,
    Context,
    DoNotRetry,
    NotExecuted,
    Retry,
    ToolContext,
    agent,
    tool,
)

SOCKET = os.environ.get("CHAOS_PROVIDER", "")
PATIENT = Retry(initial_seconds=0.1, factor=2.0, max_seconds=2.0, max_attempts=200, jitter=0.2)
TIMEOUT_SECONDS = 3
DENIED_EVERY = 4
"""The officer denies clerks whose number is divisible by this."""


async def _request(ctx: ToolContext, op: str, value: object) -> dict[str, Any]:
    assert ctx.deadline is not None
    deadline = ctx.deadline.timestamp()
    about = {"op": op, "key": ctx.idempotency_key, "run": ctx.run_id, "attempt": ctx.attempt, "deadline": deadline, "value": value}
    return await ask(SOCKET, about)


@tool(effect="read", timeout=TIMEOUT_SECONDS, retry=PATIENT)
async def look(ctx: ToolContext, value: int) -> int:
    return int((await _request(ctx, "read", value))["value"])


@tool(effect="idempotent", timeout=TIMEOUT_SECONDS, retry=PATIENT)
async def post(ctx: ToolContext, text: str) -> str:
    return str((await _request(ctx, "post", text))["receipt"])


async def _find(ctx: ToolContext, cents: int) -> str:
    return (await _request(ctx, "find", cents))["receipt"] or NOT_DONE


async def _pay(ctx: ToolContext, cents: int) -> str:
    answer = await _request(ctx, "pay", cents)
    if "refused" in answer:
        raise NotExecuted(answer["refused"], retry_after=0.1)
    return str(answer["receipt"])


@tool(effect="unsafe", timeout=TIMEOUT_SECONDS, retry=PATIENT, reconcile=_find)
async def pay(ctx: ToolContext, cents: int) -> str:
    return await _pay(ctx, cents)


@tool(effect="unsafe", timeout=TIMEOUT_SECONDS, retry=PATIENT)
async def wire(ctx: ToolContext, cents: int) -> str:
    """Unsafe, and no hook can be asked: a person settles what is in doubt."""
    return await _pay(ctx, cents)


@tool(effect="idempotent", timeout=TIMEOUT_SECONDS, retry=PATIENT)
async def closed(ctx: ToolContext) -> str:
    raise DoNotRetry("account closed")


async def _double(value: int) -> int:
    await asyncio.sleep(0.01 * (value % 5))
    return 2 * value


async def _broken() -> int:
    raise ValueError("never works")


@agent(tools=[look, post, pay])
async def trader(ctx: Context, n: int) -> dict[str, Any]:
    """Reads at once, a step, an effect of each kind."""
    doubled = await ctx.step(_double, n)
    found = await asyncio.gather(*(ctx.call(look, n + k) for k in range(3)))
    await asyncio.sleep(0.5)
    paid, posted = await asyncio.gather(ctx.call(pay, n * 100), ctx.call(post, f"note {n}"))
    return {"doubled": doubled, "found": found, "paid": paid, "posted": posted}


def _traded(n: int) -> dict[str, Any]:
    return {"doubled": 2 * n, "found": [7 * (n + k) for k in range(3)], "paid": f"pay {n * 100}", "posted": f"post note {n}"}


@agent(agents=[trader])
async def boss(ctx: Context, n: int) -> list[Any]:
    """Children at once, and one after another."""
    handles = [ctx.start(trader, n + k) for k in range(2)]
    results = [await handle for handle in handles]
    results.append(await ctx.call(trader, n + 9))
    return results


@agent(tools=[pay, look])
async def clerk(ctx: Context, n: int) -> dict[str, Any]:
    """Waits for people: two signals in order, an approval, which may be denied."""
    papers = [await ctx.signal("papers", int), await ctx.signal("papers", int)]
    gate = Approval(role="officer", expires=timedelta(days=7), reason="large")
    try:
        paid = await ctx.call(pay.using(approval=gate), n)
    except ApprovalDenied:
        paid = "denied"
    return {"papers": papers, "paid": paid, "seen": await ctx.call(look, n)}


@agent(tools=[wire, look])
async def wirer(ctx: Context, n: int) -> str:
    """An unsafe call without a hook."""
    await ctx.call(look, n)
    return await ctx.call(wire, n)


@agent(tools=[look])
async def walker(ctx: Context, n: int) -> int:
    """Look-ups and timers, one after another."""
    total = 0
    for number in range(4 + n % 5):
        total += await ctx.call(look, number)
        await asyncio.sleep(0.1 * (number % 3))
    return total


@agent
async def idler(ctx: Context, n: int) -> int:
    """Never ends by itself: who starts it cancels it."""
    return await ctx.signal("never", int)


@agent(tools=[closed, look, post], agents=[idler])
async def bumpy(ctx: Context, n: int) -> list[Any]:
    """Failures that are caught, a timeout, a child that fails, a child that is given up, a group of tasks."""
    if n < 0:
        raise ValueError("negative")
    told = await bumps(ctx, closed=closed, broken=lambda: ctx.step(_broken), failing=bumpy, patience_seconds=0.5)
    ctx.start(idler, n).cancel()
    async with asyncio.TaskGroup() as group:
        jobs = [group.create_task(_job(ctx, n + k)) for k in range(2)]
    return [*told, *(job.result() for job in jobs)]


async def _job(ctx: Context, n: int) -> int:
    await asyncio.sleep(0.05 * (n % 3))
    value = await ctx.call(look, n)
    await ctx.call(post, f"job {n}")
    return value + await ctx.step(_double, n)


EXPECTED: dict[str, Callable[[int], Any]] = {
    "trader": _traded,
    "boss": lambda n: [_traded(n), _traded(n + 1), _traded(n + 9)],
    "clerk": lambda n: {"papers": [0, 1], "paid": f"pay {n}" if n % DENIED_EVERY else "denied", "seen": 7 * n},
    "wirer": lambda n: f"pay {n}",
    "walker": lambda n: 7 * sum(range(4 + n % 5)),
    "bumpy": lambda n: ["DoNotRetry", "ValueError", "timeout", "ValueError", 9 * n, 9 * (n + 1)],
}
"""What an agent answers to an input."""
NAMES = tuple(EXPECTED)
TOOLS = frozenset({"look", "post", "pay", "wire", "closed"})
