"""Time travel on real servers: a run's checkpoints from its log, and a new run from one of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.graph_module import secretary
from tests.chaos.stack import hosted, stack
from tests.chaos.test_graphs import ASKED, GRAPH
from waypost.langgraph import fork, past
from waypost_proto.errors import ContractError, NotFound


async def test_the_past_of_a_run_and_another_one_from_there(tmp_path: Path, nats_url: str, database: str) -> None:
    async with stack(tmp_path, nats_url=nats_url, postgres_url=database, commands=GRAPH) as services, services.client() as client:
        await hosted(client)
        first = (await client.start("secretary", ASKED)).run_id
        result = await client.result(first, timeout=40)
        there = await past(client, secretary, first)
        states = [state async for state in there.graph.aget_state_history(there.config)]
        assert len(states[0].values["messages"]) == len(result["messages"])
        assert [state.next for state in states[-2:]] == [("think",), ("__start__",)]
        with pytest.raises(ContractError, match="only reads"):
            await there.graph.aupdate_state(there.config, {"messages": []})

        before_writing = next(state for state in states if state.next == ("tools", "tools", "tools") and len(state.values["messages"]) == 6)
        at = before_writing.config["configurable"]["checkpoint_id"]
        forked = await fork(client, secretary, first, at, labels={"why": "again"})
        again = await client.result(forked.run_id, timeout=40)
        assert [m["type"] for m in again["messages"]] == [m["type"] for m in result["messages"]]
        letters = [line for line in services.effects() if line.startswith("letter:ada")]
        assert len(letters) == 2, "once for each run"
        assert sum(line == "model:0" for line in services.effects()) == 1

        changed = await fork(client, secretary, first, at, update={"messages": [{"role": "user", "content": "stop"}]}, as_node="think")
        ended = await client.result(changed.run_id, timeout=40)
        assert "stop" in [m["content"] for m in ended["messages"]]
        with pytest.raises(NotFound, match="no checkpoint"):
            await fork(client, secretary, first, "nothing")
