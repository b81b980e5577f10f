"""An agent that does a bit of everything, for forks. What takes effect or runs in the worker is noted in a file outside of Waypost."""

from __future__ import annotations

import asyncio
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition

from waypost import Approval, Context, ToolContext, ToolDenied, agent, tool
from waypost.langgraph import LangGraphAgent, langchain_tools

EFFECTS = Path(os.environ.get("EFFECTS_FILE", os.devnull))


def note(line: str) -> None:
    with EFFECTS.open("a", encoding="utf-8") as file:
        file.write(f"{line}\n")


@tool(effect="read")
async def rate(country: str) -> int:
    note(f"rate:{country}")
    return len(country)


@tool(effect="unsafe")
async def pay_out(ctx: ToolContext, amount: int, when: str, token: str) -> str:
    note(f"pay:{ctx.idempotency_key}")
    return f"paid {amount}"


def draw(sides: int) -> int:
    note("draw")
    return sides - 1


@agent(tools=[rate])
async def helper(ctx: Context, name: str) -> int:
    return await ctx.call(rate, name)


@agent(tools=[rate, pay_out], agents=[helper])
async def clerk(ctx: Context, country: str) -> list:
    told: list = [country]
    token = str(ctx.uuid())
    try:
        told += await asyncio.gather(ctx.call(rate, country), ctx.call(helper, country * 2))
        told.append(await ctx.step(draw, 6))
        began = ctx.time()
        await asyncio.sleep(0.3)
        told.append(ctx.time() - began >= 0.3)
        told.append(await ctx.signal("go", str))
        gate = Approval(role="boss", expires=timedelta(hours=1))
        told.append(await ctx.call(pay_out.using(approval=gate), told[1], ctx.now().isoformat(), token))
        told.append(ctx.random().randint(1, 10**9))
    except ToolDenied as error:
        told.append(f"denied {error.tool}")
    return [*told, token]


class Asker(BaseChatModel):
    """Looks two countries up, one after the other, and is done."""

    @property
    def _llm_type(self) -> str:
        return "asker"

    def _generate(self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any) -> ChatResult:
        made = sum(isinstance(message, ToolMessage) for message in messages)
        note(f"model:{made}")
        said = AIMessage("done")
        if made < 2:
            call = {"name": "rate", "args": {"country": "x" * (made + 1)}, "id": f"c{made}", "type": "tool_call"}
            said = AIMessage("looking", tool_calls=[call])
        said.usage_metadata = {"input_tokens": 7, "output_tokens": 3, "total_tokens": 10}
        return ChatResult(generations=[ChatGeneration(message=said)])

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self


def build() -> Any:
    tools = langchain_tools(rate)
    model = Asker().bind_tools(tools)

    async def ask(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await model.ainvoke(state["messages"])]}

    graph = StateGraph(MessagesState)
    graph.add_node("ask", ask)
    graph.add_node("tools", ToolNode(tools))
    graph.add_edge(START, "ask")
    graph.add_conditional_edges("ask", tools_condition)
    graph.add_edge("tools", "ask")
    return graph.compile()


surveyor = LangGraphAgent("surveyor", build(), tools=[rate])
