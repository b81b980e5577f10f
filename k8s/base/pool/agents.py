"""The agents of the pool `desk`: what `waypost run greeter --input '"Ada"'` runs. Replace it by yours."""

from __future__ import annotations

from waypost import Context, agent, tool


@tool(effect="read")
async def look_up(name: str) -> str:
    """Stands for a system that knows people."""
    return name.strip().title()


@agent(tools=[look_up])
async def greeter(ctx: Context, name: str) -> str:
    """Greets somebody by the name under which they are known."""
    return f"Hello {await ctx.call(look_up, name)}, this is run {ctx.run_id}."
