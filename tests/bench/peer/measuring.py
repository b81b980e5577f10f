"""The order of the comparison: in each round, at each level, every side in turn, so that whatever else loads the machine loads all."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from pathlib import Path

import msgspec

from tests.bench import machine
from tests.bench.gauges import load_average, resident_mib, use_between
from tests.bench.measuring import MEASURED, Progress
from tests.bench.peer.contenders import Contender, LangGraph, contenders
from tests.bench.peer.plan import REPEATED_SECONDS, Cell, Level, PeerPlan, PeerReport, Side
from tests.bench.platform import temporary_folder, waypost

SETTLE_SECONDS = 0.3


async def compare(plan: PeerPlan, python: Path, on_progress: Progress) -> PeerReport:
    """Everything. Minutes; cancelling ends all processes. Raises `Stalled`, `NotReady`, `ValueError`."""
    started = time.perf_counter()
    async with temporary_folder() as folder, waypost(folder / "bench", MEASURED) as platform:
        on_progress("starting all sides", 0, 1)
        async with contenders(platform, python, plan.steps, strict=plan.strict, with_floor=plan.floor) as sides:
            cells: dict[str, dict[int, list[Cell]]] = {side.name: {level.at_once: [] for level in plan.levels} for side in sides}
            for number in range(plan.rounds):
                await _round(number, sides, cells, plan, on_progress)
            found = [Side(name=side.name, cells=cells[side.name], resident_mib=_resident(side)) for side in sides]
            versions = next((side.versions for side in sides if isinstance(side, LangGraph)), {})
    measured_on = machine.describe()
    return PeerReport(
        plan=plan,
        machine=msgspec.structs.replace(measured_on, versions={**measured_on.versions, **versions}),
        sides=found,
        seconds=time.perf_counter() - started,
    )


async def _round(
    number: int, sides: Sequence[Contender], cells: dict[str, dict[int, list[Cell]]], plan: PeerPlan, on_progress: Progress
) -> None:
    order = list(sides)
    for level in plan.levels:
        random.Random(f"{number} {level.at_once}").shuffle(order)  # nobody always follows the same one, or begins
        for side in order:
            so_far = cells[side.name][level.at_once]
            if so_far and _seconds(so_far[-1], level, plan.steps) > REPEATED_SECONDS:
                continue
            on_progress(f"round {number + 1} of {plan.rounds}, {level.at_once} in flight, {side.name}", 0, level.runs)
            await asyncio.sleep(SETTLE_SECONDS)  # acks, events and confirmations behind the last run of the side before
            so_far.append(await _cell(side, level, plan.steps))


async def _cell(side: Contender, level: Level, steps: int) -> Cell:
    whole = level.runs * steps
    before = await side.gauges.read(side.pids)
    batch = await side.batch(level.runs, steps, level.at_once)
    use = use_between(before, await side.gauges.read(side.pids), whole)
    if not side.on_nats:  # what NATS did meanwhile were the heartbeats of the others
        cpu_ms = {name: value for name, value in use.cpu_ms.items() if name != "nats"}
        use = msgspec.structs.replace(use, cpu_ms=cpu_ms, nats_messages=0.0, nats_disk_bytes=0.0)
    return Cell(steps_per_second=whole / batch.seconds, latencies_ms=batch.latencies_ms, per_step=use, load=load_average())


def _seconds(cell: Cell, level: Level, steps: int) -> float:
    return level.runs * steps / cell.steps_per_second


def _resident(side: Contender) -> dict[str, float]:
    pids = {**side.pids, "nats": side.gauges.nats_pid} if side.on_nats else side.pids
    return {name: resident_mib(pid) for name, pid in pids.items()}
