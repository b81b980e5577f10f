"""The two parts that compare a small case with a large one in turns: early and late steps of a run, an empty store and a full one.

Both sides of a pair meet nearly the same load of the machine, so what is judged is the median over the pairs' ratios.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Sequence

import msgspec

from tests.bench.gauges import Gauges, Use, use_between
from tests.bench.measuring import Progress
from tests.bench.scale_crowd import Crowd
from tests.bench.scale_plan import RUN_LIMIT, STORE_LIMIT, Figure, ScalePlan, ratio
from tests.bench.scale_rows import fill
from tests.bench.scale_stack import Servers, Stack, new_database, running_stack
from waypost_proto.ids import RunId

EARLY_STEP = 100
MARCH_STEPS = 250
IN_FLIGHT = 64
WARM_UP_RUNS = 128


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """One side of one round."""

    per_step: Use
    seconds: float
    """Of a step, as the part means it."""


async def along_a_run(servers: Servers, plan: ScalePlan, on_progress: Progress) -> list[Figure]:
    """Steps around number 100 beside steps around the plan's last, of several runs that walk together."""
    before_early = max(0, EARLY_STEP - plan.window // 2)
    before_late = max(1, plan.steps - plan.rounds * plan.window // 2)
    pairs: list[tuple[Side, Side]] = []
    async with running_stack(servers, "length") as stack, Crowd(stack, "signal_awaited") as crowd:
        gauges = Gauges(servers.nats, servers.postgres)
        await gauges.connect()
        try:
            await crowd.start("walker", [[EARLY_STEP]] * plan.parallel)
            late = await _walked(crowd, plan, before_late, on_progress)
            for number in range(plan.rounds):
                on_progress("steps early and late", number, plan.rounds)
                early = await crowd.start("walker", [[before_early, plan.window]] * plan.parallel)
                sides = [(0, early), (1, late)]
                found = {}
                for which, run_ids in sides if number % 2 else reversed(sides):
                    found[which] = await _walk(stack, crowd, gauges, run_ids, plan)
                pairs.append((found[0], found[1]))
        finally:
            await gauges.close()
    part = f"step {plan.steps:,} beside step {EARLY_STEP}"
    return [*_cpu(part, pairs, RUN_LIMIT), _paired(part, "ms a step", [(1e3 * a.seconds, 1e3 * b.seconds) for a, b in pairs], RUN_LIMIT)]


async def _walked(crowd: Crowd, plan: ScalePlan, steps: int, on_progress: Progress) -> list[RunId]:
    """Runs that have come so far, with the plan's rounds before them. They pause now and then, so that a stall is noticed."""
    marches = [MARCH_STEPS] * (steps // MARCH_STEPS) + [steps % MARCH_STEPS]
    run_ids = await crowd.start("walker", [marches + [plan.window] * plan.rounds] * plan.parallel)
    for number in range(1, len(marches)):
        on_progress(f"{plan.parallel} runs walk, step", number * MARCH_STEPS, steps)
        await crowd.go(run_ids)
    return run_ids


async def _walk(stack: Stack, crowd: Crowd, gauges: Gauges, run_ids: list[RunId], plan: ScalePlan) -> Side:
    before, started = await gauges.read(stack.pids), time.perf_counter()
    await crowd.go(run_ids)
    seconds = time.perf_counter() - started
    after = await gauges.read(stack.pids)
    return Side(per_step=use_between(before, after, plan.window * plan.parallel), seconds=seconds / plan.window)


async def over_store_size(servers: Servers, plan: ScalePlan, on_progress: Progress) -> list[Figure]:
    """The same runs in an empty store and in one with the plan's finished runs: two sets of services on the same servers."""
    full_url = await new_database(servers, "full")
    pairs: list[tuple[Side, Side]] = []
    async with running_stack(servers, "empty") as empty, Crowd(empty, "run_completed") as small:
        [template] = await small.start("clerk", [1])
        await fill(empty.postgres_url, full_url, template, plan.finished, on_progress)
        async with running_stack(servers, "full", full_url) as full, Crowd(full, "run_completed") as large:
            gauges = Gauges(servers.nats, servers.postgres)
            await gauges.connect()
            try:
                for crowd in (small, large):
                    await crowd.in_flight("clerk", WARM_UP_RUNS, plan.store_steps, IN_FLIGHT)
                await asyncio.sleep(plan.settle_seconds)
                for number in range(plan.rounds):
                    on_progress("empty store and full store", number, plan.rounds)
                    sides = [(empty, small), (full, large)]
                    order = sides if number % 2 else sides[::-1]
                    found = [await _work(stack, crowd, gauges, plan) for stack, crowd in order]
                    pairs.append((found[0], found[1]) if number % 2 else (found[1], found[0]))
            finally:
                await gauges.close()
    part = f"{plan.finished:,} finished runs beside none"
    rates = [(1e3 * a.seconds, 1e3 * b.seconds) for a, b in pairs]
    wal = [(a.per_step.wal_bytes, b.per_step.wal_bytes) for a, b in pairs]
    return [
        *_cpu(part, pairs, STORE_LIMIT),
        _paired(part, f"ms a step (1000 through steps/s, {IN_FLIGHT} in flight)", rates, STORE_LIMIT),
        _paired(part, "WAL bytes a step", wal, None),
    ]


async def _work(stack: Stack, crowd: Crowd, gauges: Gauges, plan: ScalePlan) -> Side:
    before = await gauges.read(stack.pids)
    seconds = await crowd.in_flight("clerk", plan.store_runs, plan.store_steps, IN_FLIGHT)
    after = await gauges.read(stack.pids)
    steps = plan.store_runs * plan.store_steps
    return Side(per_step=use_between(before, after, steps), seconds=seconds / steps)


def _cpu(part: str, pairs: Sequence[tuple[Side, Side]], limit: float) -> list[Figure]:
    """Of each process, and of all together; only that is judged, since it is what a step costs."""
    figures = [
        _paired(part, f"CPU ms a step, {name}", [(a.per_step.cpu_ms[name], b.per_step.cpu_ms[name]) for a, b in pairs], None)
        for name in pairs[0][0].per_step.cpu_ms
    ]
    whole = [(sum(a.per_step.cpu_ms.values()), sum(b.per_step.cpu_ms.values())) for a, b in pairs]
    return [*figures, _paired(part, "CPU ms a step, all of them", whole, limit)]


def _paired(part: str, what: str, values: Sequence[tuple[float, float]], limit: float | None) -> Figure:
    figure = ratio(part, what, statistics.median(a for a, _ in values), statistics.median(b for _, b in values), limit)
    return msgspec.structs.replace(figure, judged=statistics.median(b / a for a, b in values if a))
