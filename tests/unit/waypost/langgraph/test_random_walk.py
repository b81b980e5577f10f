"""A graph with everything (branches, sent tasks, a subgraph, people, tools, models, steps, plain nodes), and workers that die at random."""

from __future__ import annotations

import asyncio
import operator
import random
from collections import Counter
from typing import Annotated, Any, TypedDict

import pytest
from langchain_core.messages import AIMessage
from langchain_core.tools import tool as lc_tool
from langgraph.graph import START, StateGraph
from langgraph.types import Send, interrupt

from tests.unit.waypost.langgraph.models import Scripted, Streaming
from tests.unit.waypost.langgraph.world import World
from waypost import tool
from waypost.langgraph import LangGraphAgent, call, durable, step, step_now
from waypost_proto import commands as cmd

PEOPLE = ("ada", "bob", "cyd")


class State(TypedDict):
    said: Annotated[list[str], operator.add]


@lc_tool
async def greet(name: str) -> str:
    """Greet somebody."""
    return f"hello {name}"


@tool(effect="unsafe")
async def stamp(what: str) -> str:
    return f"[{what}]"


def everything(model: Scripted, streaming: Streaming) -> LangGraphAgent:
    async def think(state: State) -> dict[str, Any]:
        chunks = [str(chunk.content) async for chunk in streaming.astream("begin")]
        return {"said": ["".join(chunks).strip()]}

    def spread(_state: State) -> list[Any]:
        return [*(Send("person", {"said": [name]}) for name in PEOPLE), "inner", "plain"]

    async def person(state: State) -> dict[str, Any]:
        name = state["said"][0]
        greeting, thought = await asyncio.gather(greet.ainvoke({"name": name}), model.ainvoke(f"about {name}"))
        answer = interrupt(f"{name}?")
        return {"said": [f"{greeting}, {thought.content}, {answer}", await call(stamp, name)]}

    async def first(_state: State) -> dict[str, Any]:
        return {"said": [await call(stamp, "inner")]}

    async def second(_state: State) -> dict[str, Any]:
        yes = interrupt("inner?")
        return {"said": [yes, await step(lambda: "stepped", name="stepped")]}

    def plain(_state: State) -> dict[str, Any]:
        return {"said": [str(model.invoke("plain").content), step_now(lambda: "plainly"), greet.invoke({"name": "plain"})]}

    async def last(state: State) -> dict[str, Any]:
        return {"said": [await call(stamp, str(len(state["said"])))]}

    inner = StateGraph(State)
    inner.add_node("first", first)
    inner.add_node("second", second)
    inner.add_edge(START, "first")
    inner.add_edge("first", "second")
    graph = StateGraph(State)
    graph.add_node("think", think)
    graph.add_node("person", person)
    graph.add_node("inner", inner.compile())
    graph.add_node("plain", plain)
    graph.add_node("last", last, defer=True)
    graph.add_edge(START, "think")
    graph.add_conditional_edges("think", spread, ["person", "inner", "plain"])
    for node in ("person", "inner", "plain"):
        graph.add_edge(node, "last")
    return LangGraphAgent("everything", graph.compile(), tools=[durable(greet, effect="read"), stamp])


@pytest.mark.parametrize("seed", range(40))
async def test_workers_die_at_random(seed: int) -> None:
    rng = random.Random(seed)
    model = Scripted(say=lambda messages: AIMessage(f"<{messages[-1].content}>"))
    streaming = Streaming(say=lambda _: AIMessage("let us begin"))
    world = World(everything(model, streaming), {"said": []}, answer=lambda q: f"yes {q.question}")
    often = rng.choice([0.03, 0.1, 0.25])
    world.crash_after = lambda _: world.crashes < 30 and rng.random() < often
    result = await world.end(40)
    said = Counter(result["said"])
    # the state that an inner graph got is in its output, so what was said before comes twice: the same with LangGraph's own savers
    assert said["[inner]"] == said["stepped"] == said["plainly"] == said["hello plain"] == 1, (seed, result)
    for name in PEOPLE:
        assert said[f"hello {name}, <about {name}>, yes {name}?"] == 1, (seed, result)
        assert said[f"[{name}]"] == 1
    assert world.tool_calls["greet"] == 4, seed
    assert world.tool_calls["stamp"] == 5, seed
    recorded = [item.id for item in world.items if isinstance(item, cmd.FinishStep)]
    assert len(recorded) == len(set(recorded)) == 7, seed
    assert len(world.questions) == 4, seed
    await world.close()
