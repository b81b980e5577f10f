"""A thousand children at once: each is a run of its own, and the parent waits for all of them holding nothing."""

from __future__ import annotations

import asyncio
import json

from waypost import Context, ReasoningAgent, agent
from waypost.models import ModelRequest
from waypost.models.scripted import ScriptedModel


def count(request: ModelRequest) -> str:
    """Always scripted: a thousand model calls are not for an example."""
    return json.dumps(len(request.messages[0].text))


counter = ReasoningAgent(name="counter", model=ScriptedModel(count, name="scripted-counter"), instructions="You count letters.", output=int)


@agent(agents=[counter])
async def census(ctx: Context, size: int) -> dict[str, int]:
    """Counts the letters of `size` names, one child each. One that fails is counted as failed, and the others go on."""
    answers = await asyncio.gather(*(ctx.call(counter, f"name-{number}") for number in range(size)), return_exceptions=True)
    counted = [answer for answer in answers if isinstance(answer, int)]
    return {"counted": len(counted), "failed": size - len(counted), "letters": sum(counted)}
