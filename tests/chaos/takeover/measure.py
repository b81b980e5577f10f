"""Rounds of trouble under load, and the gaps that they leave."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.chaos.takeover.fleet import Fleet, fleet
from tests.chaos.takeover.troubles import Trouble
from tests.chaos.takeover.watching import Watch, longest_gap, watching
from tests.waiting import wait_until
from waypost.client import Client

ENDLESS = 100_000
"""Steps of a run: more than it makes before it is cancelled."""
WARM_STEPS = 5
"""Of each run, before the trouble begins."""

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Gaps:
    """One round. Seconds: the longest that any run stood still, and that all of them did at once. `bad`: runs that failed or paused."""

    what: str
    whom: str
    of_a_run: float
    of_all: float
    steps: int
    bad: int


async def measure(troubles: Sequence[Trouble], *, rounds: int, runs: int, progress: Progress) -> list[Gaps]:
    """Every trouble in every round, in turn, on one fleet that is made whole again in between."""
    found: list[Gaps] = []
    async with fleet() as members, watching(members.environment["WAYPOST_NATS_URL"]) as watch:
        for number in range(rounds):
            for trouble in troubles:
                progress(f"{trouble.what} {trouble.whom}".strip(), number + 1, rounds)
                await members.complete()
                found.append(await _one(members, watch, trouble, runs))
    return found


async def _one(members: Fleet, watch: Watch, trouble: Trouble, runs: int) -> Gaps:
    async with Client(url=members.environment["WAYPOST_NATS_URL"], prefix="waypost") as client:
        run_ids = [(await client.start("pacer", ENDLESS)).run_id for _ in range(runs)]
        await wait_until(lambda: watch.count(run_ids) >= WARM_STEPS, seconds=60, message="the runs do not begin")
        begin = asyncio.get_running_loop().time()
        await trouble.act(members)
        end = asyncio.get_running_loop().time()
        times = [watch.steps[run_id] for run_id in run_ids]
        gaps = Gaps(
            what=trouble.what,
            whom=trouble.whom,
            of_a_run=max(longest_gap(one, begin, end) for one in times),
            of_all=longest_gap((at for one in times for at in one), begin, end),
            steps=sum(begin <= at <= end for one in times for at in one),
            bad=sum(run_id in watch.bad for run_id in run_ids),
        )
        await asyncio.gather(*(client.cancel(run_id, by="takeover") for run_id in run_ids))
    for run_id in run_ids:
        watch.steps.pop(run_id, None)
    return gaps
