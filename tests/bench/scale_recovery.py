"""Everything is killed while runs are in flight, and started again: how long until each of them has gone on by one event.

Half of the runs hang in a tool call, half in a timer that is due while everything is down, so that nobody has to wait
for the world: what is measured is the start of everything and the work of recovery.
"""

from __future__ import annotations

import asyncio
import time

import asyncpg

from tests.bench.driver import Stalled
from tests.bench.measuring import Progress
from tests.bench.scale_crowd import Crowd
from tests.bench.scale_plan import RECOVERY_SECONDS_LIMIT, Figure, ScalePlan, amount
from tests.bench.scale_stack import Servers, Stack, running_stack

START_SECONDS = 3.0
"""Timers are due so long after their start, and three times what as many other runs took to start: they all run at the kill."""
BEFORE_DUE_SECONDS = 1.0
GIVE_UP_SECONDS = 120.0
POLL_SECONDS = 0.1
WAITING = ("tool_call_requested", "timer_started")
_GONE_ON = "SELECT count(*) FILTER (WHERE seq > 2) AS gone_on, count(*) FILTER (WHERE NOT open) AS ended FROM runs"


async def recovery(servers: Servers, plan: ScalePlan, on_progress: Progress) -> list[Figure]:
    """Seconds from the start of the servers to the last run's next event, and to the last run's end."""
    gate = servers.folder / "gate"
    half = plan.recover // 2
    async with running_stack(servers, "recovery") as stack:
        async with Crowd(stack, *WAITING) as crowd:
            calls_from = time.monotonic()
            await crowd.start("caller", [str(gate)] * half, lambda done: on_progress("runs in a tool call", done, half))
            due_in = START_SECONDS + 3 * (time.monotonic() - calls_from)
            timers_from = time.monotonic()
            rest = plan.recover - half
            await crowd.start("sleeper", [due_in] * rest, lambda done: on_progress("runs in a timer", done, rest))
        kill_at = timers_from + due_in - BEFORE_DUE_SECONDS
        if time.monotonic() > kill_at:
            raise Stalled(f"starting {rest} runs took longer than {due_in:g} s: the first timers are due before all runs wait")
        before = await _gone_on(stack)
        started_in = time.monotonic() - timers_from
        await asyncio.sleep(max(0.0, kill_at - time.monotonic()))
        on_progress("everything is killed", 0, plan.recover)
        await asyncio.gather(stack.kill(), servers.nats.kill(), servers.postgres.kill())
        gate.touch()
        await asyncio.sleep(BEFORE_DUE_SECONDS + started_in)  # the last timer is due too
        started = time.perf_counter()
        await asyncio.gather(servers.nats.start(), servers.postgres.start(), stack.revive())
        servers_ready = time.perf_counter() - started
        gone_on, ended = await _until_all(stack, plan.recover, started, on_progress)
    part = f"{plan.recover:,} runs after everything was killed"
    return [
        amount(part, "seconds until the servers are ready", before[0], plan.recover, servers_ready),
        amount(part, "seconds until each has gone on by one event", before[0], plan.recover, gone_on, RECOVERY_SECONDS_LIMIT),
        amount(part, "seconds until each has ended", before[1], plan.recover, ended),
    ]


async def _until_all(stack: Stack, runs: int, started: float, on_progress: Progress) -> tuple[float, float]:
    connection = await asyncpg.connect(stack.postgres_url)
    gone_on_after, gone_on, ended = 0.0, 0, 0
    try:
        while time.perf_counter() - started < GIVE_UP_SECONDS:
            gone_on, ended = await _counts(connection)
            now = time.perf_counter() - started
            on_progress("runs that have gone on", gone_on, runs)
            if gone_on == runs and not gone_on_after:
                gone_on_after = now
            if ended == runs:
                return gone_on_after, now
            await stack.revive()
            await asyncio.sleep(POLL_SECONDS)
    finally:
        await connection.close()
    raise Stalled(f"after {GIVE_UP_SECONDS:g} s {gone_on} of {runs} runs have gone on, {ended} have ended")


async def _gone_on(stack: Stack) -> tuple[int, int]:
    connection = await asyncpg.connect(stack.postgres_url)
    try:
        return await _counts(connection)
    finally:
        await connection.close()


async def _counts(connection: asyncpg.Connection[asyncpg.Record]) -> tuple[int, int]:
    row = await connection.fetchrow(_GONE_ON)
    assert row is not None
    return row["gone_on"], row["ended"]
