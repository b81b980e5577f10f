"""Graphs as agents, in memory: what they ask for, what is recorded, and what a crash at any moment repeats (nothing)."""

from __future__ import annotations

import operator
from typing import Annotated, Any, TypedDict

import pytest
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.tools import tool as lc_tool
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition

from tests.unit.waypost.langgraph.models import Scripted, call
from tests.unit.waypost.langgraph.world import World
from waypost import tool
from waypost.langgraph import LangGraphAgent, durable, langchain_tools
from waypost_proto import commands as cmd


class State(TypedDict):
    words: Annotated[list[str], operator.add]


@lc_tool
async def look_up(name: str) -> str:
    """Look somebody up."""
    return f"{name} lives in Ulm"


@tool(effect="unsafe")
async def send_letter(to: str, text: str) -> dict[str, str]:
    """Send a letter."""
    return {"to": to, "number": "l-1"}


def answers(messages: Any) -> AIMessage:
    """Two tools at once, then a letter, then the end."""
    made = [m for m in messages if isinstance(m, ToolMessage)]
    if not made:
        return AIMessage("let me look", tool_calls=[call("look_up", "k1", name="ada"), call("look_up", "k2", name="bob")])
    if len(made) == 2:
        return AIMessage("writing", tool_calls=[call("send_letter", "k3", to="ada", text="hello")])
    return AIMessage("done")


def chat(model: Scripted) -> LangGraphAgent:
    tools = [look_up, *langchain_tools(send_letter)]
    bound = model.bind_tools(tools)

    async def think(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await bound.ainvoke(state["messages"])]}

    graph = StateGraph(MessagesState)
    graph.add_node("think", think)
    graph.add_node("tools", ToolNode(tools))
    graph.add_edge(START, "think")
    graph.add_conditional_edges("think", tools_condition)
    graph.add_edge("tools", "think")
    return LangGraphAgent("chat", graph.compile(), tools=[durable(look_up, effect="read"), send_letter])


ASKED = {"messages": [{"role": "user", "content": "write to ada"}]}


async def test_a_graph_without_calls() -> None:
    async def one(state: State) -> dict[str, Any]:
        return {"words": ["one"]}

    def two(state: State) -> dict[str, Any]:
        return {"words": ["two"]}

    graph = StateGraph(State)
    graph.add_node("one", one)
    graph.add_node("two", two)
    graph.add_edge(START, "one")
    graph.add_edge("one", "two")
    graph.add_edge("two", END)
    world = World(LangGraphAgent("words", graph.compile()), {"words": ["zero"]})
    assert await world.end() == {"words": ["zero", "one", "two"]}
    assert world.types()["checkpoint_saved"] == 4
    await world.close()


async def test_models_and_tools_are_recorded_one_by_one() -> None:
    model = Scripted(say=answers)
    world = World(chat(model), ASKED)
    result = await world.end()
    assert result["messages"][-1]["content"] == "done"
    assert [m["content"] for m in result["messages"] if m["type"] == "tool"] == [
        "ada lives in Ulm",
        "bob lives in Ulm",
        '{"to": "ada", "number": "l-1"}',
    ]
    assert world.tool_calls == {"look-up": 2, "send-letter": 1}
    assert len(model.asked) == 3
    steps = [item for item in world.items if isinstance(item, cmd.FinishStep)]
    assert [step.model.output_tokens for step in steps if step.model] == [5, 5, 5]
    assert steps[0].usage is not None
    assert steps[0].usage.tokens == 15
    calls = [item for item in world.items if isinstance(item, cmd.CallTool)]
    assert [c.because for c in calls] == [steps[0].id, steps[0].id, steps[1].id]
    await world.close()


@pytest.mark.parametrize("at", range(40))
async def test_a_crash_after_any_item_repeats_nothing(at: int) -> None:
    model = Scripted(say=answers)
    world = World(chat(model), ASKED)
    count = 0

    def crash(_item: cmd.AnyItem) -> bool:
        nonlocal count
        count += 1
        return count == at + 1

    world.crash_after = crash
    result = await world.end()
    assert [m["type"] for m in result["messages"]] == ["human", "ai", "tool", "tool", "ai", "tool", "ai"]
    assert world.tool_calls == {"look-up": 2, "send-letter": 1}
    recorded = [item.id for item in world.items if isinstance(item, cmd.FinishStep)]
    assert len(recorded) == len(set(recorded)) == 3
    await world.close()
