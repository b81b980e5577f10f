"""The order of a bench: start-up, idle, tape, then rounds of both sides in turn, so that whatever else loads the machine loads both."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.bench import machine, profiles, tape
from tests.bench.driver import Driver
from tests.bench.gauges import Gauges, load_average, resident_mib, use_between
from tests.bench.plan import Idle, Plan, Report, Round
from tests.bench.platform import Side, Waypost, floor_beside, stream_positions, temporary_folder, waypost
from tests.bench.startup import seconds_to_start

ALL = ("coordinator", "worker", "gateway", "audit")
MEASURED = ("coordinator", "worker", "gateway")
"""Those on a step's way. The audit logger reads behind them; it is measured idle."""
WARM_UP_RUNS = 20
SETTLE_SECONDS = 1.0
PROFILE_ROUNDS = 3
"""A profile needs more samples than one round gives."""

Progress = Callable[[str, int, int], None]
"""What is measured, how much of it is done, how much there is."""


async def measure(plan: Plan, on_progress: Progress) -> Report:
    """Everything. Minutes; cancelling ends all processes. Raises `Stalled`, `NotReady`, `ValueError`."""
    async with temporary_folder() as folder:
        starts = []
        for number in range(plan.starts):
            on_progress("waypost dev", number, plan.starts)
            starts.append(await seconds_to_start(folder / "dev"))
        async with waypost(folder / "idle", ALL) as platform:
            idle = await _idle(platform, plan, on_progress)
        async with waypost(folder / "bench", MEASURED) as platform, Driver(platform.nats.url, platform.side.prefix) as driver:
            for _ in range(WARM_UP_RUNS):
                await driver.one(plan.steps)
            recorded = await tape.record(
                platform.nats.url, platform.side.prefix, platform.postgres_url, plan.steps, partial(driver.one, plan.steps)
            )
            messages = await messages_per_step(platform, driver, plan.steps)
            gauges = Gauges(platform.nats, platform.postgres)
            await gauges.connect()
            try:
                async with floor_beside(platform, recorded) as floor, Driver(platform.nats.url, floor.prefix) as floor_driver:
                    both = [_Bench(platform.side, driver, gauges, plan), _Bench(floor, floor_driver, gauges, plan)]
                    rounds = await _rounds(both, plan, on_progress)
                loaded_mib = _resident(platform.side)
                profiled = await _profile(both[0], plan, on_progress)
            finally:
                await gauges.close()
    return Report(
        plan=plan,
        machine=machine.describe(),
        starts_seconds=starts,
        idle=idle,
        tape=recorded,
        stream_messages=messages,
        waypost=rounds[0],
        floor=rounds[1],
        loaded_mib=loaded_mib,
        profiles=profiled,
    )


COUNTS = 3


async def messages_per_step(platform: Waypost, driver: Driver, steps: int) -> dict[str, float]:
    """By stream: what a run with more steps puts into it beyond a run with fewer, per step. Exact: it counts."""

    async def counted(run_steps: int) -> dict[str, int]:
        """The least of some tries: now and then the coordinator puts a message of its own there (`waypost_coordinator.keeping`)."""
        tries = [await once(run_steps) for _ in range(COUNTS)]
        return {name: min(each[name] for each in tries) for name in tries[0]}

    async def once(run_steps: int) -> dict[str, int]:
        before = await stream_positions(platform.nats.url, platform.side.prefix)
        await driver.one(run_steps)
        after = await stream_positions(platform.nats.url, platform.side.prefix)
        return {name: after[name] - before[name] for name in after}

    short, long = await counted(steps), await counted(2 * steps)
    return {name: (long[name] - short[name]) / steps for name in long}


class _Bench:
    """One side with what it takes to measure it."""

    def __init__(self, side: Side, driver: Driver, gauges: Gauges, plan: Plan) -> None:
        self.side = side
        self._driver = driver
        self._gauges = gauges
        self._plan = plan

    async def warm_up(self) -> None:
        await self._driver.in_flight(WARM_UP_RUNS, self._plan.steps, WARM_UP_RUNS, lambda _: None)

    async def throughput(self, on_progress: Callable[[int], None] = lambda _: None) -> float:
        """Seconds for the plan's runs with so many in flight."""
        return await self._driver.in_flight(self._plan.runs, self._plan.steps, self._plan.in_flight, on_progress)

    async def round(self, on_progress: Progress, number: int) -> Round:
        plan = self._plan
        what = f"{self.side.name}, round {number} of {plan.rounds}"
        start = await self._gauges.read(self.side.pids)
        seconds = await self.throughput(lambda done: on_progress(f"{what}, {plan.in_flight} in flight", done, plan.runs))
        middle = await self._gauges.read(self.side.pids)
        latencies = await self._driver.one_after_another(
            plan.sequential, plan.steps, lambda done: on_progress(f"{what}, one after another", done, plan.sequential)
        )
        end = await self._gauges.read(self.side.pids)
        return Round(
            steps_per_second=plan.runs * plan.steps / seconds,
            per_step=use_between(start, middle, plan.runs * plan.steps),
            latencies_ms=[1e3 * latency for latency in latencies],
            sequential_per_step=use_between(middle, end, plan.sequential * plan.steps),
            load=load_average(),
        )


async def _rounds(both: list[_Bench], plan: Plan, on_progress: Progress) -> list[list[Round]]:
    found: list[list[Round]] = [[] for _ in both]
    for bench in both:
        await bench.warm_up()
    for number in range(1, plan.rounds + 1):
        for rounds, bench in zip(found, both, strict=True):
            rounds.append(await bench.round(on_progress, number))
    return found


async def _idle(platform: Waypost, plan: Plan, on_progress: Progress) -> Idle:
    """After some work, so that everything is loaded that a service in use has loaded."""
    async with Driver(platform.nats.url, platform.side.prefix) as driver:
        for _ in range(WARM_UP_RUNS):
            await driver.one(plan.steps)
    gauges = Gauges(platform.nats, platform.postgres)
    await gauges.connect()
    try:
        await asyncio.sleep(SETTLE_SECONDS)
        on_progress("idle", 0, 1)
        before = await gauges.read(platform.side.pids)
        await asyncio.sleep(plan.idle_seconds)
        after = await gauges.read(platform.side.pids)
    finally:
        await gauges.close()
    return Idle(
        resident_mib=_resident(platform.side),
        per_second=use_between(before, after, plan.idle_seconds),
        seconds=plan.idle_seconds,
    )


def _resident(side: Side) -> dict[str, float]:
    return {name: resident_mib(pid) for name, pid in side.pids.items()}


async def _profile(bench: _Bench, plan: Plan, on_progress: Progress) -> dict[str, list[tuple[str, float]]]:
    """Each service while it works, one at a time: sampling slows what it samples."""
    if plan.profile_folder is None:
        return {}

    async def work() -> None:
        for _ in range(PROFILE_ROUNDS):
            await bench.throughput()

    found = {}
    for number, (name, pid) in enumerate(bench.side.pids.items()):
        on_progress("profiles", number, len(bench.side.pids))
        found[name] = await profiles.self_times(pid, Path(plan.profile_folder) / f"{name}.txt", work)
    return found
