"""An agent that says what browsers should not believe, in every place where an agent can say something. Not in the pictures."""

from __future__ import annotations

from typing import Literal

from waypost import Context, agent, tool

HOSTILE = (
    "<img src=x onerror=\"document.body.dataset.owned='yes'\"><script>document.body.dataset.owned='yes'</script>\"'><svg onload=alert(1)>"
)


@tool(effect="read")
async def repeat(text: str) -> str:
    """Gives back what it is given."""
    return text


@agent(tools=[repeat])
async def hostile(ctx: Context, text: str) -> dict[str, str]:
    """Repeats what it is told in every place where an agent can say something."""
    ctx.set_state({"text": text})
    answer = await ctx.call(repeat, text)
    decided = await ctx.ask("officer", text, Literal["yes", "no"])
    if decided == "no":
        raise ValueError(text)
    return {text: answer}
