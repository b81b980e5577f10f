"""More agents and tools of the simulation: for values that do not fit into a message, calls that are given up, two builds of one agent,
calls in doubt that only people can settle, code that kills its process, and plain functions in threads.

As in `programs`, every agent's result follows from its input alone: what depends on who was quicker is not part of it.
"""

from __future__ import annotations

import asyncio

from tests.simulation.programs import PATIENT, WORLD, clerk_child, look, pay, post
from waypost import Agent, ChildFailed, Context, ToolContext, agent, tool
from waypost.tool_context import NotDone
from waypost_proto.limits import CLAIM_CHECK_BYTES

LARGE = CLAIM_CHECK_BYTES + 20_000


def _text(n: int, salt: str) -> str:
    return f"{salt}{n}".ljust(LARGE, ".")


@tool(effect="idempotent", timeout=2, retry=PATIENT)
async def archive(ctx: ToolContext, text: str) -> str:
    """Takes and gives what needs a claim check."""
    await WORLD[0].post(ctx, text[:40])
    return f"archived {text}"


async def _write(key: str, n: int) -> str:
    await WORLD[0].step(key)
    return _text(n, "report")


@agent
async def binder(ctx: Context, text: str) -> str:
    """A child whose input and result are large."""
    await asyncio.sleep(0.05)
    return f"bound {text}"


@agent(tools=[archive], agents=[binder])
async def bulky(ctx: Context, n: int) -> str:
    """Large values everywhere: a step's result, arguments and result of a call, a child's input and result, a signal to nobody, the end."""
    report = await ctx.step(_write, f"{ctx.run_id}/report", n, name="report")
    archived, bound = await asyncio.gather(ctx.call(archive, report), ctx.call(binder, report))
    if (archived, bound) != (f"archived {report}", f"bound {report}"):
        raise ValueError("a large value came back as another one")
    return bound if n > 1 else f"{len(archived)} {len(bound)}"


@agent(tools=[look, post, pay], agents=[clerk_child])
async def hasty(ctx: Context, n: int) -> int:
    """Gives up what takes too long: calls of each effect, a step, a child; takes the first of two and drops the other."""
    for seconds, call in (
        (0.005 * n, lambda: ctx.call(look, n)),
        (0.01, lambda: ctx.call(post, f"hasty {n}")),
        (0.01 * n, lambda: ctx.call(pay, n)),
        (0.01, lambda: ctx.step(_wait, f"{ctx.run_id}/wait", name="wait")),
    ):
        try:
            async with asyncio.timeout(seconds):
                await call()
        except TimeoutError:
            pass
    try:
        async with asyncio.timeout(0.1):
            await ctx.call(clerk_child, n)
    except (TimeoutError, ChildFailed):
        pass
    first = [asyncio.ensure_future(ctx.call(look, n + k)) for k in range(2)]
    _, slower = await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
    for task in slower:
        task.cancel()
    return await ctx.call(look, n + 50)


async def _wait(key: str) -> None:
    await WORLD[0].step(key)


async def _first(key: str, n: int) -> int:
    await WORLD[0].step(key)
    return n + 1


@agent(name="versioned", tools=[look, post])
async def versioned_1(ctx: Context, n: int) -> list:
    """The first build of an agent. The second does the same in another order, so that neither can go on where the other began."""
    found = await ctx.call(look, n)
    await asyncio.sleep(0.3)
    stepped = await ctx.step(_first, f"{ctx.run_id}/first", n, name="first")
    return [found, stepped, await ctx.call(post, f"version {n}")]


@agent(name="versioned", tools=[look, post])
async def versioned_2(ctx: Context, n: int) -> list:
    posted = await ctx.call(post, f"version {n}")
    stepped = await ctx.step(_first, f"{ctx.run_id}/first", n, name="first")
    await asyncio.sleep(0.3)
    return [await ctx.call(look, n), stepped, posted]


@tool(effect="unsafe", timeout=2, retry=PATIENT)
async def wire(ctx: ToolContext, cents: int) -> str:
    """Nothing can be asked whether it took effect: in doubt, a person must find out."""
    return await WORLD[0].pay(ctx, cents)


@agent(tools=[wire, look])
async def remit(ctx: Context, n: int) -> list:
    return [await ctx.call(wire, 10 * n), await ctx.call(look, n)]


@tool(effect="idempotent", timeout=4, retry=PATIENT)
async def fragile(ctx: ToolContext, n: int) -> str:
    """Ends the process that runs it, a few times."""
    await WORLD[0].perhaps_die(f"tool {ctx.idempotency_key}")
    return await WORLD[0].post(ctx, f"fragile {n}")


async def _fragile_step(key: str) -> int:
    await WORLD[0].perhaps_die(f"step {key}")
    await WORLD[0].step(key)
    return 1


@agent(tools=[fragile])
async def deadly(ctx: Context, n: int) -> list:
    """A run that kills each worker that takes it, and each gateway, until it does not."""
    return [await ctx.step(_fragile_step, f"{ctx.run_id}/fragile", name="fragile"), await ctx.call(fragile, n)]


@tool(effect="idempotent", timeout=2, retry=PATIENT)
def stamp(ctx: ToolContext, text: str) -> str:
    """A plain function: a thread runs it, and nothing stops it."""
    return WORLD[0].stamp(ctx, text)


def _found(ctx: ToolContext, cents: int) -> str | NotDone:
    return WORLD[0].found_now(ctx, cents)


@tool(effect="unsafe", timeout=2, retry=PATIENT, reconcile=_found)
def cash(ctx: ToolContext, cents: int) -> str:
    """A plain function with an effect that nobody deduplicates, and a plain function that finds out."""
    return WORLD[0].cash(ctx, cents)


def _count(key: str, n: int) -> int:
    WORLD[0].counted(key)
    return 3 * n


@agent(tools=[stamp, cash])
async def threaded(ctx: Context, n: int) -> list:
    counted = await ctx.step(_count, f"{ctx.run_id}/count", n, name="count")
    return [counted, *await asyncio.gather(ctx.call(stamp, f"page {n}"), ctx.call(cash, n))]


ODD_AGENTS: tuple[Agent[..., object], ...] = (bulky, binder, hasty, remit, deadly, threaded)
VERSIONS: dict[str, Agent[..., object]] = {"b1": versioned_1, "b2": versioned_2}
ODD_TOOLS = (archive, wire, fragile, stamp, cash)
