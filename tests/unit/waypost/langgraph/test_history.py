"""Time travel in memory: what `past` and `fork` make of a run's log."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, cast

import msgspec
import pytest
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from msgspec import Raw

from tests.unit.waypost.langgraph.models import Scripted
from tests.unit.waypost.langgraph.test_graphs import ASKED, answers, chat
from tests.unit.waypost.langgraph.world import RUN, World
from waypost.client import Client
from waypost.langgraph import fork, past
from waypost.langgraph.history import serializer_of_forks
from waypost_proto import commands as cmd
from waypost_proto.errors import ContractError, NotFound


@dataclass
class Logged:
    """An event as `Client.events` gives it."""

    type: str
    data: Raw


@dataclass
class Own:
    """A type of somebody's own."""

    name: str


class Reader:
    """As much of a client as time travel uses, over a world's log."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.started: list[tuple[str, Any, dict[str, Any]]] = []

    async def events(self, run_id: str) -> AsyncIterator[Logged]:
        for entry in self.world.log if run_id == RUN else ():
            yield Logged(entry.type, entry.data)

    async def start(self, agent: str, value: Any, **options: Any) -> str:
        self.started.append((agent, msgspec.json.decode(msgspec.json.encode(value)), options))
        return "started"


async def test_the_past_of_a_run_and_runs_from_there() -> None:
    model = Scripted(say=answers)
    agent = chat(model)
    world = World(agent, ASKED)
    result = await world.end()
    reader = Reader(world)
    client = cast("Client", reader)
    there = await past(client, agent, RUN)
    states = [state async for state in there.graph.aget_state_history(there.config)]
    assert [len(state.values.get("messages", ())) for state in states] == [7, 6, 5, 4, 2, 1, 0]
    assert states[0].values["messages"][-1].content == result["messages"][-1]["content"]
    assert states[3].next == ("think",)
    with pytest.raises(ContractError, match="only reads"):
        await there.graph.aupdate_state(there.config, {"messages": []})
    with pytest.raises(NotFound, match="no checkpoint 'x'"):
        await fork(client, agent, RUN, "x")
    with pytest.raises(NotFound, match="no run of a graph"):
        await past(client, agent, "0192f0c1-7a3e-7c21-8f00-3b1d6a9c4e56")

    at = states[3].config["configurable"]["checkpoint_id"]
    assert await fork(client, agent, RUN, at, labels={"why": "again"}) == "started"
    name, value, options = reader.started[-1]
    assert (name, options) == ("chat", {"labels": {"why": "again"}})
    for crash_at in range(8):
        forked = World(agent, value)
        count = 0

        def crash(_item: cmd.AnyItem, crash_at: int = crash_at) -> bool:
            nonlocal count
            count += 1
            return count == crash_at

        forked.crash_after = crash
        again = await forked.end()
        assert [m["type"] for m in again["messages"]] == [m["type"] for m in result["messages"]]
        assert forked.tool_calls == {"send-letter": 1}, "what was looked up before the checkpoint is in its state"
        await forked.close()

    await fork(client, agent, RUN, at, update={"messages": [("user", "never mind")]}, as_node="think")
    changed = World(agent, reader.started[-1][1])
    ended = await changed.end()
    assert ended["messages"][-1]["content"] == "never mind"
    await changed.close()
    await world.close()


def test_a_forks_state_makes_only_known_types() -> None:
    agent = chat(Scripted(say=answers))
    assert serializer_of_forks(agent) is not agent.serializer
    agent.own_serializer = True
    assert serializer_of_forks(agent) is agent.serializer
    strict = JsonPlusSerializer(allowed_msgpack_modules=None)
    assert not isinstance(strict.loads_typed(JsonPlusSerializer().dumps_typed(Own("x"))), Own)
