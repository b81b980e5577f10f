"""Agents that wait for people, and a tool whose effects are counted outside of Waypost."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from waypost import Approval, ApprovalDenied, Context, ToolContext, Unanswered, agent, tool

EFFECTS = Path(os.environ.get("EFFECTS_FILE", os.devnull))


class Limit(Struct):
    amount: Annotated[int, Meta(gt=0)]
    currency: Literal["EUR", "USD"]


@tool(effect="unsafe", timeout=5)
async def pay(ctx: ToolContext, amount: int) -> str:
    with EFFECTS.open("a", encoding="utf-8") as file:
        file.write(f"{ctx.idempotency_key}:{amount}\n")
    return f"paid {amount}"


@agent(tools=[pay])
async def payer(ctx: Context, how: dict[str, Any]) -> dict[str, Any]:
    """Pays once it is approved, and tells what it saw."""
    asked = {"quorum": how.get("quorum", 1), "escalate_to": how.get("escalate_to", "")}
    approval = Approval(role="officer", expires=how.get("expires", 600), **asked)
    try:
        receipt = await ctx.call(pay.using(approval=approval), how["amount"])
    except ApprovalDenied as error:
        receipt = f"denied: {error.failure.message}"
    edits = [{"by": edit.by, "arguments": edit.arguments, "reason": edit.reason} for edit in ctx.edits]
    return json.loads(json.dumps({"receipt": receipt, "edits": edits}))


@agent(tools=[])
async def asker(ctx: Context, how: dict[str, Any]) -> str:
    """Asks an officer for a limit."""
    try:
        limit = await ctx.ask("officer", "Up to which amount?", Limit, expires=how.get("expires", 600))
    except Unanswered as error:
        return error.type
    return f"{limit.amount} {limit.currency}"
