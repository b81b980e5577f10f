"""Graphs on the worker itself: which advances they make, and when their activations are held."""

from __future__ import annotations

import asyncio
import operator
from typing import Annotated, Any, TypedDict

import msgspec
from langchain_core.messages import AIMessage
from langchain_core.tools import tool as lc_tool
from langgraph.graph import START, StateGraph

from tests.unit.waypost.langgraph.models import Scripted
from tests.unit.waypost_worker.desk import Desk
from tests.waiting import wait_until
from waypost.langgraph import LangGraphAgent, durable


class State(TypedDict):
    said: Annotated[list[str], operator.add]


@lc_tool
async def look_up(name: str) -> str:
    """Look up."""
    return name


def agent_of(*nodes: Any, **options: Any) -> LangGraphAgent:
    """One node after another."""
    graph = StateGraph(State)
    before = START
    for node in nodes:
        graph.add_node(node.__name__, node)
        graph.add_edge(before, node.__name__)
        before = node.__name__
    return LangGraphAgent("graph", graph.compile(), tools=[durable(look_up, effect="read")], **options)


async def asks_a_tool(_state: State) -> dict[str, Any]:
    first, second = await asyncio.gather(look_up.ainvoke({"name": "a"}), look_up.ainvoke({"name": "b"}))
    return {"said": [first, second]}


async def test_a_graph_that_waits_holds_no_activation(desk: Desk) -> None:
    model = Scripted(say=lambda _: AIMessage("thought"))

    async def thinks(_state: State) -> dict[str, Any]:
        return {"said": [str((await model.ainvoke("?")).content)]}

    worker = await desk.hire(agent_of(thinks, asks_a_tool))
    run = desk.start(agent_of(thinks, asks_a_tool), {"said": []})
    await wait_until(lambda: len(run.of_type("tool_call_requested")) == 2)
    await wait_until(lambda: worker.runs is not None and worker.runs.active == 0)
    advances = desk.coordinator.of(run)
    assert advances[-1].advance.running == 0
    assert [kind for kind in advances[-1].kinds if kind.startswith("Call")] == ["CallTool"] * 2, "both in one advance"
    assert len(advances) <= 3, [seen.kinds for seen in advances]
    for entry in run.of_type("tool_call_requested"):
        call_id = msgspec.json.decode(entry.data)["call_id"]
        desk.coordinator.complete_call(run, call_id, "look-up", call_id[-1])
        desk.coordinator.activate(run)
    await desk.status(run, "completed")
    assert len(model.asked) == 1


async def test_raw_code_in_a_node_keeps_the_activation(desk: Desk) -> None:
    going = asyncio.Event()

    async def raw(_state: State) -> dict[str, Any]:
        await going.wait()
        return {"said": ["done"]}

    worker = await desk.hire(agent_of(raw))
    run = desk.start(agent_of(raw), {"said": []})
    await wait_until(lambda: len(run.of_type("checkpoint_saved")) == 2)
    assert worker.runs is not None
    assert worker.runs.active == 1
    assert run.running == 1
    going.set()
    await desk.status(run, "completed")


async def test_a_checkpoint_that_is_waited_for_is_stored_before_the_next_node(desk: Desk) -> None:
    stored: list[int] = []

    async def one(_state: State) -> dict[str, Any]:
        return {"said": ["one"]}

    async def two(_state: State) -> dict[str, Any]:
        stored.append(sum(kind == "SaveCheckpoint" for seen in desk.coordinator.of(run) for kind in seen.kinds))
        return {"said": ["two"]}

    await desk.hire(agent_of(one, two, durability="sync"))
    run = desk.start(agent_of(one, two, durability="sync"), {"said": []})
    await desk.status(run, "completed")
    assert stored[0] >= 2, "the checkpoints of the input and of the first node had arrived"
