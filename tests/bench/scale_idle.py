"""What runs that wait for a signal cost while nothing happens: memory of the services, CPU of everything, rows in Postgres."""

from __future__ import annotations

import asyncio

import asyncpg

from tests.bench.gauges import MIB, Gauges, resident_mib
from tests.bench.measuring import Progress
from tests.bench.scale_crowd import Crowd
from tests.bench.scale_plan import IDLE_CPU_MS_LIMIT, WAITING_BYTES_LIMIT, Figure, ScalePlan, amount
from tests.bench.scale_stack import Servers, Stack, running_stack

WARM_UP_RUNS = 500
"""They come and end before memory is read: what buffers and pools grow to is not the waiting runs'."""
TABLES = ("runs", "events", "timers", "tool_ledger", "inbox")


async def waiting(servers: Servers, plan: ScalePlan, on_progress: Progress) -> list[Figure]:
    """The services before and after the plan's runs have come to wait."""
    part = f"{plan.waiting:,} waiting runs"
    async with running_stack(servers, "waiting") as stack, Crowd(stack, "signal_awaited") as crowd:
        async with Crowd(stack, "run_completed") as ending:
            on_progress("warm-up", 0, 1)
            await ending.go(await crowd.start("sitter", [0] * min(WARM_UP_RUNS, plan.waiting)))
        idle_before = await _idle(stack, plan, on_progress)
        memory_before, rows_before = _memory(stack), await _rows(stack)
        await crowd.start("sitter", list(range(plan.waiting)), lambda done: on_progress("runs that wait", done, plan.waiting))
        idle_after = await _idle(stack, plan, on_progress)
        memory_after, rows_after = _memory(stack), await _rows(stack)
    figures = []
    for name in memory_before:
        small, large = memory_before[name], memory_after[name]
        limit = WAITING_BYTES_LIMIT if name == "coordinator" else None
        figures.append(amount(part, f"resident MiB, {name}; bytes a run", small, large, (large - small) * MIB / plan.waiting, limit))
    for name in idle_before:
        small, large = idle_before[name], idle_after[name]
        figures.append(amount(part, f"idle CPU ms a second, {name}; more by", small, large, large - small))
    small, large = sum(idle_before.values()), sum(idle_after.values())
    figures.append(amount(part, "idle CPU ms a second, all of them; more by", small, large, large - small, IDLE_CPU_MS_LIMIT))
    for table in TABLES:
        few, many = rows_before[table], rows_after[table]
        figures.append(amount(part, f"rows of {table}; a run", few, many, (many - few) / plan.waiting))
    return figures


async def _idle(stack: Stack, plan: ScalePlan, on_progress: Progress) -> dict[str, float]:
    """CPU ms a second by process."""
    await asyncio.sleep(plan.settle_seconds)
    on_progress("idle", 0, 1)
    gauges = Gauges(stack.servers.nats, stack.servers.postgres)
    await gauges.connect()
    try:
        before = await gauges.read(stack.pids)
        await asyncio.sleep(plan.idle_seconds)
        after = await gauges.read(stack.pids)
    finally:
        await gauges.close()
    return {name: (after.cpu_seconds[name] - before.cpu_seconds[name]) * 1e3 / plan.idle_seconds for name in before.cpu_seconds}


def _memory(stack: Stack) -> dict[str, float]:
    everyone = {**stack.pids, "nats": stack.servers.nats.pid}
    return {name: resident_mib(pid) for name, pid in everyone.items()}


async def _rows(stack: Stack) -> dict[str, int]:
    connection = await asyncpg.connect(stack.postgres_url)
    try:
        return {table: await connection.fetchval(f"SELECT count(*) FROM {table}") for table in TABLES}
    finally:
        await connection.close()
