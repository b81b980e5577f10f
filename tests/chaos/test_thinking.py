"""A reasoning agent on real servers: what its log says before each next turn, and kill -9 of its worker at every boundary."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Any

import nats
import pytest

from tests.chaos.stack import Stack, hosted, stack
from tests.waiting import wait_until
from waypost import Budget
from waypost_proto.codec import encode

MODULE = Path(__file__).with_name("thinking_module.py")
COMMANDS = {
    "coordinator": ["-m", "waypost_coordinator"],
    "worker": ["-m", "waypost_worker", str(MODULE)],
    "gateway": ["-m", "waypost_gateway", str(MODULE)],
}
BOUNDARIES = [
    pytest.param("worker.activation.before", marks=pytest.mark.slow),
    pytest.param("worker.activation.after", marks=pytest.mark.slow),
    pytest.param("worker.publish.before", marks=pytest.mark.slow),
    "worker.publish.after",
    pytest.param("worker.ack.before", marks=pytest.mark.slow),
    pytest.param("worker.ack.after", marks=pytest.mark.slow),
]
RUNS = 3
DEATHS = 2


async def log_of(client: Any, run_id: str) -> list[dict[str, Any]]:
    return [{"recorded_at": event.recorded_at, **json.loads(encode(event.data))} async for event in client.events(run_id)]


async def test_the_log_holds_each_iteration_before_the_next(tmp_path: Path, nats_url: str, database: str) -> None:
    """What it intended, which tool it chose with which arguments and why, and what came back: in this order, from the log of a real run."""
    async with stack(tmp_path, nats_url=nats_url, postgres_url=database, commands=COMMANDS) as services, services.client() as client:
        await hosted(client)
        run = await client.start("thinker", "r0")
        assert await client.result(run.run_id, timeout=30) == "paid 2", services.log()
        log = await log_of(client, run.run_id)
    said = [
        (data["type"], data.get("call_id"), data.get("because"), data.get("model", {}).get("intent"))
        for data in log
        if data["type"] in ("step_completed", "step_failed", "tool_call_requested", "child_requested")
    ]
    assert said == [
        ("step_completed", "m1", None, "Two look-ups first."),
        ("tool_call_requested", "m1.1", "m1", None),
        ("step_failed", "m1.2", None, None),
        ("step_completed", "m2", None, "Then the helper."),
        ("child_requested", "m2.1", "m2", None),
        ("tool_call_requested", "m2.2", "m2", None),
        ("step_completed", "m3", None, "Now I pay."),
        ("tool_call_requested", "m3.1", "m3", None),
        ("step_completed", "m4", None, "paid 2"),
    ]
    for number in (2, 3, 4):  # before each next answer everything that was chosen has come back
        before = log[: next(index for index, data in enumerate(log) if data.get("call_id") == f"m{number}")]
        chosen = {data["call_id"] for data in before if data["type"] in ("tool_call_requested", "child_requested")}
        back = {data["call_id"] for data in before if data["type"] in ("tool_call_completed", "child_completed")}
        assert chosen == back
    by_id = {data["call_id"]: data for data in log if data["type"] == "tool_call_requested"}
    assert by_id["m1.1"]["args"] == {"name": "bob"}
    assert by_id["m3.1"]["args"] == {"amount": 2}
    results = {data["call_id"]: data["result"] for data in log if data["type"] in ("tool_call_completed", "child_completed")}
    assert results == {"m1.1": "BOB", "m2.1": "heard child", "m2.2": "ANN", "m3.1": "paid 2"}
    refused = next(data["error"] for data in log if data.get("call_id") == "m1.2")
    assert refused["type"] == "ArgumentsInvalid"
    assert "$.name" in refused["message"]


@pytest.mark.crash
@pytest.mark.parametrize("boundary", BOUNDARIES)
async def test_killed_at_every_boundary_nothing_recorded_is_asked_again(
    boundary: str, tmp_path: Path, nats_url: str, database: str
) -> None:
    async with stack(tmp_path, nats_url=nats_url, postgres_url=database, commands=COMMANDS) as services, services.client() as client:
        await hosted(client)
        await services.kill("worker")
        runs = [await client.start("thinker", f"r{number}") for number in range(RUNS)]
        for death in range(DEATHS):
            await services.start("worker", faults=f"{boundary}:{3 + death}")
            await services.died("worker")
        await services.start("worker")
        for run in runs:
            assert await client.result(run.run_id, timeout=40) == "paid 2", services.log()
        logs = [await log_of(client, run.run_id) for run in runs]
    assert len(set(services.effects())) == len(services.effects()) == RUNS, "each paid once"
    asked = asked_of(services)
    for number, log in enumerate(logs):
        recorded = {data["call_id"]: data["recorded_at"] for data in log if data["type"] == "step_completed"}
        for turn in range(4):
            times = asked[f"r{number}", turn]
            final = datetime.fromisoformat(recorded[f"m{turn + 1}"]).timestamp()
            assert max(times) < final, f"turn {turn} of r{number} was asked again after it was recorded"
            assert len(times) <= 1 + DEATHS


def asked_of(services: Stack) -> dict[tuple[str, int], list[float]]:
    """When the model was asked for which turn of which run."""
    asked: dict[tuple[str, int], list[float]] = {}
    for line in Path(f"{services.effects_file}.asked").read_text(encoding="utf-8").splitlines():
        who, turn, at = json.loads(line)
        asked.setdefault((who, turn), []).append(at)
    return asked


async def until_paused(services: Stack, client: Any, run_id: str) -> None:
    async def paused() -> bool:
        return (await client.get(run_id)).status == "paused"

    await wait_until(paused, seconds=20, message=services.log)


async def test_a_limit_stops_it_and_an_instruction_at_the_resume_reaches_the_model(tmp_path: Path, nats_url: str, database: str) -> None:
    """Steps and tokens are reserved before the model is asked; a loop is found without being asked for; what is written is shown."""
    async with stack(tmp_path, nats_url=nats_url, postgres_url=database, commands=COMMANDS) as services, services.client() as client:
        await hosted(client)
        watching = await nats.connect(nats_url)
        pieces = await watching.subscribe(f"{services.environment['WAYPOST_PREFIX']}.stream.>")
        await watching.flush()

        steps = await client.start("thinker", "steps", budget=Budget(max_steps=3))
        tokens = await client.start("thinker", "tokens", budget=Budget(max_tokens=8_500))
        loop = await client.start("stubborn", "go")
        for run in (steps, tokens, loop):
            await until_paused(services, client, run.run_id)
        assert ("tokens", 1) not in asked_of(services), "what it might take was not there, so nobody was asked"
        await client.resume(steps.run_id, budget=Budget(max_steps=50), instruction="be quick")
        await client.resume(tokens.run_id, budget=Budget(max_tokens=50_000))
        await client.resume(loop.run_id, instruction="enough of bob")
        assert await client.result(steps.run_id, timeout=30) == "paid 2", services.log()
        assert await client.result(tokens.run_id, timeout=30) == "paid 2", services.log()
        assert await client.result(loop.run_id, timeout=30) == "stopped: Instruction: enough of bob"
        found = [data["kind"] for data in await log_of(client, loop.run_id) if data["type"] == "loop_detected"]
        assert found == ["same_call"]
        assert len(asked_of(services)["steps", 1]) == 1
        shown = [json.loads(message.data) async for message in _received(pieces)]
        await watching.close()
    of_first = [message for message in shown if message["run_id"] == steps.run_id and message["call_id"] == "m1"]
    text = "".join(piece.get("text", "") for message in of_first for piece in message.get("pieces", []))
    assert text == "Two look-ups first."
    assert [message["type"] for message in of_first][-1] == "ended"


async def _received(subscription: Any) -> AsyncIterator[Any]:
    while subscription.pending_msgs:
        yield await subscription.next_msg(timeout=1)
