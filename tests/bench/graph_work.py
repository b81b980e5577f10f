"""The graphs of `peer/langgraph_side.py` as agents of Waypost: the same nodes, the same states. `BENCH_GRAPH` says which one is hosted."""

from __future__ import annotations

import os
from typing import Any, TypedDict

import msgspec
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.tools import tool
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition

from tests.bench.work import AGENT
from waypost.langgraph import LangGraphAgent, durable

WHICH = os.environ.get("BENCH_GRAPH", "state")


class State(TypedDict):
    """How many steps to make, and how many were made."""

    steps: int
    number: int
    made: int


async def no_op(_state: State) -> dict[str, int]:
    return {"made": 1}


async def no_op_tool(state: State) -> dict[str, int]:
    return {"number": state["number"] + 1}


def more(state: State) -> str:
    return "no_op" if state["number"] < state["steps"] else END


def state_graph() -> Any:
    """Two bare nodes in turn."""
    graph = StateGraph(State)
    graph.add_node("no_op", no_op)
    graph.add_node("no_op_tool", no_op_tool)
    graph.add_edge(START, "no_op")
    graph.add_edge("no_op", "no_op_tool")
    graph.add_conditional_edges("no_op_tool", more, ["no_op", END])
    return graph.compile()


@tool
async def no_op_call(number: int) -> int:
    """Gives the number back."""
    return number


async def model(state: MessagesState) -> dict[str, list[AIMessage]]:
    """A model that asks for the tool until there were enough calls, and then says so."""
    steps = int(str(state["messages"][0].content))
    made = len(state["messages"]) // 2
    if made >= steps:
        return {"messages": [AIMessage(content="done")]}
    call = {"name": "no_op_call", "args": {"number": made}, "id": f"call-{made}", "type": "tool_call"}
    return {"messages": [AIMessage(content="", tool_calls=[call])]}


def agent_graph() -> Any:
    """A model node that chooses tools, and a node that calls them."""
    graph = StateGraph(MessagesState)
    graph.add_node("model", model)
    graph.add_node("tools", ToolNode([no_op_call]))
    graph.add_edge(START, "model")
    graph.add_conditional_edges("model", tools_condition)
    graph.add_edge("tools", "model")
    return graph.compile()


class Bench(LangGraphAgent):
    """Takes the number of steps, as the bench's tasks say it."""

    def decode_input(self, body: bytes) -> Any:
        steps = msgspec.json.decode(body, type=int)
        if WHICH == "agent":
            return {"messages": [HumanMessage(str(steps))]}
        return {"steps": steps, "number": 0, "made": 0}


bench = Bench(
    AGENT,
    agent_graph() if WHICH == "agent" else state_graph(),
    tools=[durable(no_op_call, effect="read")],
    durability="sync" if WHICH == "sync" else "async",
    output=lambda _: "done",
    config={"recursion_limit": 1_000},
)
bench.module = __name__  # of this file, not of the class's
