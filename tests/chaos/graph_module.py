"""A graph with parallel tool nodes, for tests that kill its worker. Models, tools and raw steps note in a file that they were there."""

from __future__ import annotations

import asyncio
import operator
import os
from pathlib import Path
from typing import Annotated, Any, TypedDict

from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import tool as lc_tool
from langgraph.config import get_stream_writer
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import Send

from waypost import ToolContext, tool
from waypost.langgraph import LangGraphAgent, durable, langchain_tools, step

EFFECTS = Path(os.environ.get("EFFECTS_FILE", os.devnull))
LETTERS = ("ada", "bob", "cyd")


def note(line: str) -> None:
    with EFFECTS.open("a", encoding="utf-8") as file:
        file.write(f"{line}\n")


class Planner(BaseChatModel):
    """Looks everybody up at once, writes to everybody at once, and is done."""

    @property
    def _llm_type(self) -> str:
        return "planner"

    def _generate(self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any) -> ChatResult:
        made = sum(isinstance(message, ToolMessage) for message in messages)
        note(f"model:{made}")
        said = AIMessage("done")
        if made == 0:
            said = AIMessage("looking", tool_calls=[_call("look_up", name) for name in LETTERS])
        elif made == len(LETTERS):
            said = AIMessage("writing", tool_calls=[_call("send_letter", name) for name in LETTERS])
        said.usage_metadata = {"input_tokens": 7, "output_tokens": 3, "total_tokens": 10}
        return ChatResult(generations=[ChatGeneration(message=said)])

    async def _agenerate(self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any) -> ChatResult:
        return self._generate(messages)


def _call(name: str, who: str) -> Any:
    return {"name": name, "args": {"name": who}, "id": f"{name}-{who}", "type": "tool_call"}


@lc_tool
async def look_up(name: str) -> str:
    """Look somebody up."""
    return f"{name} lives in Ulm"


@tool(effect="unsafe", timeout=5)
async def send_letter(ctx: ToolContext, name: str) -> str:
    """Send a letter."""
    note(f"letter:{name}:{ctx.idempotency_key}")
    return f"sent to {name}"


TOOLS = [look_up, *langchain_tools(send_letter)]
MODEL = Planner()


async def think(state: MessagesState) -> dict[str, Any]:
    return {"messages": [await MODEL.ainvoke(state["messages"])]}


def spread(state: MessagesState) -> list[Send] | str:
    """A node of its own for every tool call, all at once."""
    last = state["messages"][-1]
    calls = last.tool_calls if isinstance(last, AIMessage) else []
    return [Send("tools", [call]) for call in calls] or "count"


def count_letters(_state: MessagesState) -> dict[str, Any]:
    return {}


async def stamp(state: MessagesState) -> dict[str, Any]:
    """A node with raw code, recorded as a step."""
    get_stream_writer()("filing")
    number = await step(_number)
    return {"messages": [AIMessage(f"filed under {number}")]}


def _number() -> int:
    note("number")
    return 41


def build() -> Any:
    graph = StateGraph(MessagesState)
    graph.add_node("think", think)
    graph.add_node("tools", ToolNode(TOOLS))
    graph.add_node("count", stamp)
    graph.add_edge(START, "think")
    graph.add_conditional_edges("think", spread, ["tools", "count"])
    graph.add_edge("tools", "think")
    return graph.compile()


secretary = LangGraphAgent("secretary", build(), tools=[durable(look_up, effect="read"), send_letter], stream=("updates", "custom"))


GO = EFFECTS.with_name("go")


class Told(TypedDict):
    lines: Annotated[list[str], operator.add]


def first(_state: Told) -> dict[str, Any]:
    get_stream_writer()("first")
    return {"lines": ["first"]}


async def tell(_state: Told) -> dict[str, Any]:
    """Says what it is about to do, and does not go on before a test lets it."""
    write = get_stream_writer()
    write("about to")
    while not GO.exists():
        await asyncio.sleep(0.02)
    write("done")
    return {"lines": ["second"]}


def tale() -> Any:
    inner = StateGraph(Told)
    inner.add_node("tell", tell)
    inner.add_edge(START, "tell")
    graph = StateGraph(Told)
    graph.add_node("first", first)
    graph.add_node("inner", inner.compile())
    graph.add_edge(START, "first")
    graph.add_edge("first", "inner")
    return graph.compile()


teller = LangGraphAgent("teller", tale(), stream=("updates", "custom", "values"))
