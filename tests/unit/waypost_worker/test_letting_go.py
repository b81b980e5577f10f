"""A run that is over leaves nothing that only the cyclic garbage collector would free: it took a seventh of a worker's time."""

from __future__ import annotations

import pytest

from tests.collecting import left, without_collector
from tests.unit.waypost_worker.desk import Desk
from tests.waiting import wait_until
from waypost import Context, agent

RUNS = 20
OF_A_RUN = (
    "DeterministicLoop",
    "Execution",
    "Handle",
    "LocalEffect",
    "LocalSteps",
    "Outbox",
    "RunEffects",
    "RunEngine",
    "RunLog",
    "RunSlot",
    "Session",
    "StepScope",
)


async def nothing() -> int:
    return 1


@agent
async def steps(ctx: Context, count: int) -> int:
    return sum([await ctx.step(nothing) for _ in range(count)])


@agent
async def fails(ctx: Context, count: int) -> int:
    raise ValueError(await ctx.step(nothing) + count)


@pytest.mark.parametrize(("which", "status"), [(steps, "completed"), (fails, "failed")])
async def test_a_run_that_is_over_is_free_at_once(desk: Desk, which: object, status: str) -> None:
    await desk.hire(which)  # type: ignore[arg-type]
    await desk.status(desk.start(which, 2), status)  # type: ignore[arg-type]  # what is made once is there
    with without_collector():
        runs = [desk.start(which, 3) for _ in range(RUNS)]  # type: ignore[arg-type]
        for run in runs:
            await desk.status(run, status)
        await wait_until(lambda: not left(OF_A_RUN, RUNS // 2), message=lambda: f"left: {left(OF_A_RUN, RUNS // 2)}")
