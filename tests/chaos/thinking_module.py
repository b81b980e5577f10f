"""A reasoning agent for crash tests. What its model is asked, and what its tools did, is counted in files outside of Waypost."""

from __future__ import annotations

import asyncio
import json
import os
import time
from pathlib import Path

from tests.chaos.desk_module import find_payment, write_effect
from waypost import ReasoningAgent, Retry, ToolContext, tool
from waypost.models import AssistantMessage, ModelRequest
from waypost.models.scripted import Answer, Say, ScriptedModel, uses

ASKED = Path(os.environ.get("EFFECTS_FILE", os.devnull) + ".asked")


@tool(effect="read", timeout=2)
async def look_up(name: str) -> str:
    return name.upper()


@tool(effect="unsafe", reconcile=find_payment, timeout=1, retry=Retry(max_attempts=5, initial_seconds=0.05))
async def pay(ctx: ToolContext, amount: int) -> str:
    write_effect(ctx.idempotency_key)
    return f"paid {amount}"


async def answer(request: ModelRequest) -> Answer:
    """By the turn of the conversation. Each question is one line: who, which turn, when."""
    turn = sum(isinstance(message, AssistantMessage) for message in request.messages)
    who = request.messages[0].text
    with ASKED.open("a", encoding="utf-8") as file:
        file.write(json.dumps([who, turn, time.time()]) + "\n")
    await asyncio.sleep(0.02)  # so that some kills come while a model thinks
    match turn:
        case 0:
            return Say(
                text="Two look-ups first.", tool_uses=(uses("look-up", '{"name":"bob"}', id="a"), uses("look-up", '{"name":1}', id="b"))
            )
        case 1:
            return Say(
                text="Then the helper.", tool_uses=(uses("echo", '{"input":"child"}', id="c"), uses("look-up", '{"name":"ann"}', id="d"))
            )
        case 2:
            return Say(text="Now I pay.", tool_uses=(uses("pay", '{"amount":2}', id="e"),))
        case _:
            return request.messages[-1].text


def stubborn_answer(request: ModelRequest) -> Answer:
    """The same look-up until somebody says something."""
    told = [message.text for message in request.messages if message.text.startswith("Instruction")]
    return f"stopped: {told[-1]}" if told else uses("look-up", '{"name":"bob"}', id=f"a{len(request.messages)}")


def said(request: ModelRequest) -> Answer:
    return f"heard {request.messages[0].text}"


echo = ReasoningAgent(name="echo", model=ScriptedModel(said), instructions="You repeat.")
thinker = ReasoningAgent(name="thinker", model=ScriptedModel(answer), instructions="You think.", tools=[look_up, pay, echo])
stubborn = ReasoningAgent(name="stubborn", model=ScriptedModel(stubborn_answer), instructions="You look.", tools=[look_up])
