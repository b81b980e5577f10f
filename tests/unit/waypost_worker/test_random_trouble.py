"""Random trouble for durable functions: see `trouble`."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tests.unit.waypost_worker.trouble import Trouble, lookup, troubled
from waypost import Agent, Context, agent


class TravellingTrouble(Trouble):
    """Steps and calls, one after another and at once."""

    def _journey(self) -> Agent[..., Any]:
        async def note(number: int, label: str) -> str:
            if self.told(self.runs[number], label, "result"):
                self.began_again.append(f"{number}/{label}")
            await asyncio.sleep(self.random.random() * 0.04)
            return label

        @agent(tools=[lookup])
        async def journey(ctx: Context, number: int) -> list[str]:
            been: list[str] = []
            for leg in range(5):
                been.append(await ctx.step(note, number, f"{leg}a"))
                been += await asyncio.gather(
                    ctx.step(note, number, f"{leg}b"), ctx.call(lookup, f"{leg}c"), ctx.step(note, number, f"{leg}d")
                )
            return been

        return journey

    def result_of(self, number: int) -> Any:
        return [f"{leg}{stop}" for leg in range(5) for stop in "abcd"]


@pytest.mark.parametrize("seed", range(20))
async def test_whatever_happens_runs_end_and_nothing_recorded_begins_again(seed: int) -> None:
    async with troubled(TravellingTrouble, seed):
        pass
