"""What Waypost adds to a model call: runs with a scripted model that answers at once, on real services and servers.

    python -m tests.bench.reasoning_live

One run at a time. A turn is a model call and a read of a tool. What is measured is in the log: from the result of a tool to the recorded
answer of the next model call lies an activation, the call itself (nothing, here), and the advance with its commit.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
import time
from datetime import datetime
from pathlib import Path

from msgspec import json

from tests.bench.platform import temporary_folder
from waypost import ReasoningAgent, tool
from waypost.client import Client
from waypost.models import AssistantMessage, ModelRequest
from waypost.models.scripted import Answer, ScriptedModel, uses
from waypost_cli.dev import DevOptions, Supervisor

TURNS = 200
ROUNDS = 3


@tool(effect="read")
async def look(key: str) -> str:
    return key


def answer(request: ModelRequest) -> Answer:
    turn = sum(isinstance(message, AssistantMessage) for message in request.messages)
    return uses("look", f'{{"key":"{turn}"}}', id=f"use-{turn}") if turn < TURNS else "done"


live = ReasoningAgent(name="live", model=ScriptedModel(answer), instructions="You look.", tools=[look], max_turns=TURNS + 1)


async def measure() -> None:
    async with temporary_folder() as folder:
        options = DevOptions(modules=(str(Path(__file__)),), data_dir=folder, services=("coordinator", "worker", "gateway"), reload=False)
        async with Supervisor(options) as supervisor, Client(supervisor.nats_url, prefix=options.prefix) as client:
            for _ in range(ROUNDS):
                began = time.monotonic()
                run = await client.start("live", "go")
                await client.result(run.run_id, timeout=120)
                seconds = time.monotonic() - began
                print(f"{seconds / TURNS * 1_000:.2f} ms a turn; a model call: {await overheads(client, run.run_id)}")


async def overheads(client: Client, run_id: str) -> str:
    """From what the run waited for to the answer that followed."""
    found: list[float] = []
    waited = 0.0
    async for event in client.events(run_id):
        at = datetime.fromisoformat(event.recorded_at).timestamp()
        if event.type == "tool_call_completed":
            waited = at
        elif event.type == "step_completed" and waited and json.decode(event.data)["call_id"] != "m1":
            found.append((at - waited) * 1_000)
    cuts = statistics.quantiles(found, n=100)
    return f"p50 {cuts[49]:.2f} ms, p95 {cuts[94]:.2f} ms, p99 {cuts[98]:.2f} ms"


if __name__ == "__main__":
    sys.exit(asyncio.run(measure()))
