"""kill -9 of the worker at every step of a graph with parallel tool nodes: no letter twice, no recorded model call asked again."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.graph_module import LETTERS, secretary
from tests.chaos.stack import COMMANDS, Stack, hosted, stack
from tests.graph_watching import Watched
from tests.waiting import wait_until
from waypost.client import Client
from waypost.langgraph import fork, past
from waypost_proto.errors import ContractError, NotFound

MODULE = Path(__file__).with_name("graph_module.py")
GRAPH = {name: [str(MODULE) if part.endswith("desk_module.py") else part for part in parts] for name, parts in COMMANDS.items()}
ASKED = {"messages": [{"role": "user", "content": "write to everybody"}]}
KINDS = ["human", "ai", "tool", "tool", "tool", "ai", "tool", "tool", "tool", "ai", "ai"]
"""The messages of a whole run."""
PASSAGES = 9
"""Advances that a run publishes at most when several results come together or not; each is a step of the graph, or of a node of it."""
SURE = {"activation.before": 3, "publish.before": 5, "publish.after": 5}
"""… and at least; and activations, by which several results may come at once."""


def check(services: Stack, result: dict[str, object], events: list[object]) -> None:
    messages: list[dict[str, object]] = result["messages"]  # type: ignore[assignment]
    kinds = [message["type"] for message in messages]
    assert kinds == KINDS, kinds
    noted = Counter(line.split(":")[0] + ":" + line.split(":")[1] if ":" in line else line for line in services.effects())
    assert all(noted[f"letter:{name}"] == 1 for name in LETTERS), services.effects()
    recorded = Counter(getattr(event, "type", "") for event in events)
    assert recorded["step_completed"] == 4, recorded  # three answers and a number
    assert recorded["tool_call_completed"] == 6, recorded


async def watch(client: Client, run_id: str, watched: Watched) -> None:
    async for item in client.stream(run_id):
        watched.take(item)


def check_shown(watched: Watched) -> None:
    """Nothing was shown twice as final. What a worker had not sent when it died was never shown."""
    updates = watched.told("updates")
    answers = Counter(
        message.get("tool_call_id") or message["content"] for update in updates for message in messages_of(update) if message["content"]
    )
    assert set(answers.values()) <= {1}, (answers, watched.items)
    assert watched.told("custom").count("filing") <= 1
    assert watched.pending == []


def messages_of(update: dict[str, Any]) -> list[dict[str, Any]]:
    return [message for node, change in update.items() if not node.startswith("__") for message in change["messages"]]


async def test_a_graph_on_real_servers(tmp_path: Path, nats_url: str, database: str) -> None:
    async with stack(tmp_path, nats_url=nats_url, postgres_url=database, commands=GRAPH) as services, services.client() as client:
        await hosted(client, seconds=50)
        started = (await client.start("secretary", ASKED)).run_id
        watched = Watched()
        watching = asyncio.ensure_future(watch(client, started, watched))
        result = await client.result(started, timeout=40)
        events = [event async for event in client.events(started)]
        check(services, result, events)
        assert Counter(services.effects())["number"] == 1
        assert [line for line in services.effects() if line.startswith("model")] == ["model:0", "model:3", "model:6"]
        await asyncio.wait_for(watching, 20)
        check_shown(watched)
        assert watched.told("updates")[-1]["count"]["messages"][0]["content"] == "filed under 41"
        assert watched.void == [], (watched.items, services.log())  # nobody was killed: why was the graph taken up again?
        await look_back(services, client, started)


async def look_back(services: Stack, client: Client, first: str) -> None:
    """Time travel: the run's checkpoints from its log, and new runs from one of them."""
    there = await past(client, secretary, first)
    states = [state async for state in there.graph.aget_state_history(there.config)]
    assert len(states[0].values["messages"]) == 11
    assert [state.next for state in states[-2:]] == [("think",), ("__start__",)]
    with pytest.raises(ContractError, match="only reads"):
        await there.graph.aupdate_state(there.config, {"messages": []})
    before_writing = next(state for state in states if len(state.next) == 3 and len(state.values["messages"]) == 6)
    at = before_writing.config["configurable"]["checkpoint_id"]
    forked = await fork(client, secretary, first, at, labels={"why": "again"})
    again = await client.result(forked.run_id, timeout=40)
    assert [message["type"] for message in again["messages"]] == KINDS
    assert len([line for line in services.effects() if line.startswith("letter:ada")]) == 2, "once for each run"
    assert services.effects().count("model:0") == 1
    changed = await fork(client, secretary, first, at, update={"messages": [{"role": "user", "content": "stop"}]}, as_node="think")
    ended = await client.result(changed.run_id, timeout=40)
    assert "stop" in [message["content"] for message in ended["messages"]]
    with pytest.raises(NotFound, match="no checkpoint"):
        await fork(client, secretary, first, "nothing")


def case(boundary: str, passage: int) -> Any:
    """The public command runs two of them; CI's slow part runs all."""
    quick = (boundary, passage) in (("publish.before", 4), ("publish.after", 6))
    return pytest.param(boundary, passage, marks=() if quick else pytest.mark.slow, id=f"{boundary}-{passage}")


@pytest.mark.crash
@pytest.mark.parametrize(
    ("boundary", "passage"),
    [
        *(case("activation.before", passage) for passage in range(1, 5)),
        *(case(boundary, passage) for boundary in ("publish.before", "publish.after") for passage in range(1, PASSAGES + 1)),
    ],
)
async def test_a_killed_worker_repeats_nothing(boundary: str, passage: int, tmp_path: Path, nats_url: str, database: str) -> None:
    fault = f"worker.{boundary}:{passage}"
    async with (
        stack(tmp_path, nats_url=nats_url, postgres_url=database, commands=GRAPH, worker=fault) as services,
        services.client() as client,
    ):
        await hosted(client, seconds=50)
        started = (await client.start("secretary", ASKED)).run_id
        watched = Watched()
        watching = asyncio.ensure_future(watch(client, started, watched))
        ended = asyncio.ensure_future(client.result(started, timeout=80))
        died = asyncio.ensure_future(services.died("worker", seconds=60))
        await asyncio.wait([ended, died], return_when=asyncio.FIRST_COMPLETED)
        if passage <= SURE[boundary] or died.done():
            await died
            await services.start("worker")
        result = await ended
        died.cancel()
        events = [event async for event in client.events(started)]
        check(services, result, events)
        await asyncio.wait_for(watching, 20)
        check_shown(watched)


@pytest.mark.crash
@pytest.mark.slow
async def test_a_worker_killed_in_the_middle_of_a_node_is_seen(tmp_path: Path, nats_url: str, database: str) -> None:
    """What the node had shown becomes void and comes again; what was recorded before stays final."""
    async with stack(tmp_path, nats_url=nats_url, postgres_url=database, commands=GRAPH) as services, services.client() as client:
        await hosted(client, seconds=50)
        started = (await client.start("teller", {"lines": []})).run_id
        watched = Watched()
        watching = asyncio.ensure_future(watch(client, started, watched))
        await wait_until(lambda: "about to" in watched.told("custom", watched.pending) and "first" in watched.told("custom"))
        await services.kill("worker")
        services.effects_file.with_name("go").touch()
        await services.start("worker")
        await client.result(started, timeout=40)
        await asyncio.wait_for(watching, 20)
    assert watched.told("custom") == ["first", "about to", "done"]
    assert watched.told("custom", watched.void) == ["about to"]
    assert watched.told("updates") == [
        {"first": {"lines": ["first"]}},
        {"tell": {"lines": ["second"]}},
        {"inner": {"lines": ["first", "second"]}},
    ]
    assert [item.kind for item in watched.items].count("graph_restarted") == 1
