"""What a checkpoint costs, and that what is read back is what was written: lists that grow, shrink, change in the middle or in place."""

from __future__ import annotations

import operator
import random
from typing import Annotated, Any, TypedDict

import pytest
from langchain_core.messages import AIMessage, HumanMessage, RemoveMessage
from langgraph.channels import DeltaChannel
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.graph import START, MessagesState, StateGraph

from tests.unit.waypost.langgraph.world import World
from waypost.langgraph import LangGraphAgent
from waypost.langgraph.pieces import Listed, splice
from waypost.langgraph.thread import Thread
from waypost_core.checkpoints import saved
from waypost_proto import commands as cmd
from waypost_proto import events as ev


def read_back(items: list[cmd.AnyItem]) -> Thread:
    """A thread folded from the items' events."""
    thread = Thread(JsonPlusSerializer())
    for item in items:
        if isinstance(item, cmd.SaveCheckpoint | cmd.SaveWrites):
            event = saved(item)
            body = event.writes if isinstance(event, ev.WritesSaved) else event.state
            thread.fold(event, bytes(body))  # type: ignore[arg-type]
    return thread


async def test_a_long_conversation_costs_what_is_new() -> None:
    async def say(state: MessagesState) -> dict[str, Any]:
        return {"messages": [AIMessage(f"word {len(state['messages'])}")]}

    graph = StateGraph(MessagesState)
    graph.add_node("say", say)
    graph.add_edge(START, "say")
    graph.add_conditional_edges("say", lambda s: "say" if len(s["messages"]) < 1_040 else "__end__")
    agent = LangGraphAgent("long", graph.compile(), config={"recursion_limit": 100}, output=lambda out: len(out["messages"]))
    history = [{"role": "user", "content": f"{number} " + "x" * 1_000} for number in range(1_000)]
    world = World(agent, {"messages": history})
    assert await world.end(60) == 1_040
    sizes = [len(bytes(item.state)) for item in world.items if isinstance(item, cmd.SaveCheckpoint)]  # type: ignore[arg-type]
    writes = [len(bytes(item.writes)) for item in world.items if isinstance(item, cmd.SaveWrites)]  # type: ignore[arg-type]
    assert max(writes[0], sizes[0]) > 1_000_000, "the conversation is written once"
    assert max(sizes[2:]) < 2_000
    assert max(writes[2:]) < 2_000
    await world.close()


async def test_what_is_read_back_is_what_was_there() -> None:
    turns = iter(range(20))

    async def change(state: MessagesState) -> dict[str, Any]:
        turn, messages = next(turns), state["messages"]
        match turn % 5:
            case 0:
                return {"messages": [AIMessage(f"new {turn}"), AIMessage(f"and {turn}")]}
            case 1:
                return {"messages": [RemoveMessage(id=messages[1].id or "")]}
            case 2:
                messages[0].content = f"changed in place {turn}"
                return {"messages": [messages[0]]}
            case 3:
                return {"messages": [HumanMessage("instead", id=messages[-1].id)]}
            case _:
                return {}

    graph = StateGraph(MessagesState)
    graph.add_node("change", change)
    graph.add_edge(START, "change")
    graph.add_conditional_edges("change", lambda _: "change" if next(turns) < 17 else "__end__")
    world = World(LangGraphAgent("c", graph.compile()), {"messages": [("user", "one"), ("user", "two"), ("user", "three")]})
    result = await world.end()
    thread = read_back(world.items)
    root = thread.namespaces[""]
    values = thread.channel_values("", root.checkpoints[root.newest])
    assert [m.model_dump(mode="json") for m in values["messages"]] == result["messages"]
    assert any("changed in place" in str(m.content) for m in values["messages"])
    await world.close()


def test_splices_rebuild_any_list() -> None:
    for seed in range(300):
        rng = random.Random(seed)
        old = [rng.randrange(6) for _ in range(rng.randrange(8))]
        new = [rng.randrange(6) for _ in range(rng.randrange(8))]
        change = splice(old, new, 3)
        assert isinstance(change, Listed)
        base = old if change.base is not None else []
        assert [*base[: change.keep], *change.add, *base[change.keep + change.drop :]] == new, (seed, old, new)


def fold(state: list[str], writes: list[list[str]]) -> list[str]:
    return [*state, *(word for write in writes for word in write)]


class Changes(TypedDict):
    words: Annotated[list[str], DeltaChannel(fold, list, snapshot_frequency=3)]
    rounds: Annotated[int, operator.add]


@pytest.mark.filterwarnings("ignore::Warning")
async def test_channels_that_keep_only_their_changes() -> None:
    async def node(state: Changes) -> dict[str, Any]:
        return {"words": [f"w{state['rounds']}"], "rounds": 1}

    graph = StateGraph(Changes)
    graph.add_node("node", node)
    graph.add_edge(START, "node")
    graph.add_conditional_edges("node", lambda s: "node" if s["rounds"] < 8 else "__end__")
    agent = LangGraphAgent("delta", graph.compile())
    for at in range(1, 18, 2):
        world = World(agent, {"words": ["w"], "rounds": 0})
        count = 0

        def crash(_item: cmd.AnyItem, at: int = at) -> bool:
            nonlocal count
            count += 1
            return count == at

        world.crash_after = crash
        assert (await world.end())["words"] == ["w", *(f"w{number}" for number in range(8))]
        await world.close()
