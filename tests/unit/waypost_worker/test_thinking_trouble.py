"""The random trouble of `test_random_trouble`, for reasoning runs: all end with their result, no recorded answer is asked for again."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from typing import Any

import msgspec
import pytest

from tests.unit.waypost_worker.desk import Desk
from tests.unit.waypost_worker.stand_in import Run
from tests.unit.waypost_worker.test_random_trouble import TROUBLES, Trouble, lookup
from waypost import Agent, ReasoningAgent
from waypost.models import AssistantMessage, ModelRequest
from waypost.models.scripted import Answer, ScriptedModel, uses
from waypost_io.bus.memory import MemoryBroker, MemoryBus

TURNS = 4


class ThinkingTrouble(Trouble):
    """Each turn chooses two look-ups and something that there is not; the last one says what was found."""

    def _journey(self) -> Agent[..., Any]:
        async def answer(request: ModelRequest) -> Answer:
            turn = sum(isinstance(message, AssistantMessage) for message in request.messages)
            number = int(request.messages[0].text)
            if self.told(self.runs[number], f"m{turn + 1}"):
                self.began_again.append(f"{number}/m{turn + 1}")
            await asyncio.sleep(self.random.random() * 0.04)
            if turn < TURNS:
                keys = [uses("lookup", json.dumps({"key": f"{turn}{part}"}), id=f"{turn}{part}") for part in "ab"]
                return [*keys, uses("nothing", "{}", id=f"{turn}c")]
            return " ".join(message.text for message in request.messages if getattr(message, "failed", None) is False)

        return ReasoningAgent(name="journey", model=ScriptedModel(answer), instructions="You travel.", tools=[lookup], input=int)

    def told(self, run: Run, label: str) -> bool:
        known = run.entries[: self.desk.coordinator.told.get(run.run_id, 0)]
        return any(entry.type == "step_completed" and msgspec.json.decode(entry.data)["call_id"] == label for entry in known)


@pytest.mark.parametrize("seed", range(12))
async def test_whatever_happens_runs_end_and_no_recorded_answer_is_asked_for_again(seed: int) -> None:
    broker = MemoryBroker()
    async with AsyncExitStack() as stack:
        bus = await stack.enter_async_context(MemoryBus(broker))
        desk = await stack.enter_async_context(Desk(lambda: MemoryBus(broker), bus))
        trouble = ThinkingTrouble(seed, desk, broker)
        await trouble.begin()
        for _ in range(TROUBLES):
            await asyncio.sleep(trouble.random.random() * 0.02)
            await trouble.happen()
        await trouble.end()
        for number, run in trouble.runs.items():
            assert run.status == "completed", f"run {number}: {run.status} {run.error} {desk.history(run)}"
            found = " ".join(f"{turn}{part}" for turn in range(TURNS) for part in "ab")
            assert msgspec.json.decode(run.result.result) == found
            answers = [msgspec.json.decode(entry.data)["call_id"] for entry in run.of_type("step_completed")]
            assert answers == [f"m{turn}" for turn in range(1, TURNS + 2)], "each answer once, in order"
    assert trouble.began_again == []
