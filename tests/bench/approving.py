"""What `tests.bench.approvals` measures: a call that waits for an officer, and a local step after it."""

from __future__ import annotations

from waypost import Approval, Context, agent, tool


@tool(effect="idempotent")
async def file(case: int) -> int:
    return case


async def note(case: int) -> int:
    return case


@agent(tools=[file])
async def clerk(ctx: Context, case: int) -> int:
    filed = await ctx.call(file.using(approval=Approval(role="officer")), case)
    return await ctx.step(note, filed)
