"""The work that is measured: a run of so many steps, each one `ctx.step` of a no-op and one read tool call of a no-op."""

from __future__ import annotations

from waypost import Context, agent, tool

AGENT = "bench"
TOOL = "no-op"


@tool(name=TOOL, effect="read")
async def no_op_tool(number: int) -> int:
    return number


async def no_op() -> int:
    return 1


@agent(name=AGENT, tools=[no_op_tool])
async def bench(ctx: Context, steps: int) -> int:
    """A step with a tool, `steps` times."""
    for number in range(steps):
        await ctx.step(no_op)
        await ctx.call(no_op_tool, number)
    return steps
