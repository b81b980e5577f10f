"""Random trouble (see `trouble`) for reasoning runs: all end with their result, no recorded answer is asked for again."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import msgspec
import pytest

from tests.unit.waypost_worker.trouble import Trouble, lookup, troubled
from waypost import Agent, ReasoningAgent
from waypost.models import AssistantMessage, ModelRequest
from waypost.models.scripted import Answer, ScriptedModel, uses

TURNS = 4


class ThinkingTrouble(Trouble):
    """Each turn chooses two look-ups and something that there is not; the last one says what was found."""

    def _journey(self) -> Agent[..., Any]:
        async def answer(request: ModelRequest) -> Answer:
            turn = sum(isinstance(message, AssistantMessage) for message in request.messages)
            number = int(request.messages[0].text)
            if self.told(self.runs[number], f"m{turn + 1}", "call_id"):
                self.began_again.append(f"{number}/m{turn + 1}")
            await asyncio.sleep(self.random.random() * 0.04)
            if turn < TURNS:
                keys = [uses("lookup", json.dumps({"key": f"{turn}{part}"}), id=f"{turn}{part}") for part in "ab"]
                return [*keys, uses("nothing", "{}", id=f"{turn}c")]
            return " ".join(message.text for message in request.messages if getattr(message, "failed", None) is False)

        return ReasoningAgent(name="journey", model=ScriptedModel(answer), instructions="You travel.", tools=[lookup], input=int)

    def result_of(self, number: int) -> Any:
        return " ".join(f"{turn}{part}" for turn in range(TURNS) for part in "ab")


@pytest.mark.parametrize("seed", range(12))
async def test_whatever_happens_runs_end_and_no_recorded_answer_is_asked_for_again(seed: int) -> None:
    async with troubled(ThinkingTrouble, seed) as trouble:
        for run in trouble.runs.values():
            answers = [msgspec.json.decode(entry.data)["call_id"] for entry in run.of_type("step_completed")]
            assert answers == [f"m{turn}" for turn in range(1, TURNS + 2)], "each answer once, in order"
