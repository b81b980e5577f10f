"""How long forking a run of many events holds its coordinator up: `python -m tests.bench.forking [--events N]…`.

One coordinator in this process, on a real Postgres and a real NATS. A ticker measures the longest stretch in which the loop ran nothing
else, and a client starts runs one after another all the while: what matters is how much longer the longest of those took.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import asyncpg
from msgspec import Raw

from waypost_coordinator.service import Coordinator
from waypost_io.bus.opening import bus_of
from waypost_io.metrics import Metrics
from waypost_io.servers import EmbeddedNats, EmbeddedPostgres
from waypost_io.settings import CoordinatorSettings, load
from waypost_io.store.migrate import migrate
from waypost_io.store.postgres import PostgresStore
from waypost_proto import events as ev
from waypost_proto.codec import encode
from waypost_proto.ids import CallId, RunId, partition_of, uuid7
from waypost_proto.mailbox import ForkRun, StartRun
from waypost_proto.task import format_time
from waypost_proto.values import Mark

LENGTHS = (20, 1_000, 10_000, 20_000)
ROUNDS = 3
TEXT = "x" * 200
"""In each call's arguments and result."""


@dataclass(frozen=True, slots=True)
class Point:
    """Of forks of a run of `events`: medians over the rounds, in milliseconds."""

    events: int
    answered: float
    stretch: float
    start: float
    """The longest that another run's start took meanwhile."""


def log_of(run_id: RunId, count: int, partition: int) -> list[tuple[object, ...]]:
    """The rows of a run that has looked things up."""
    rows: list[tuple[object, ...]] = []
    began = time.time() - count
    for seq in range(1, count + 1):
        call = CallId(f"0:{seq // 2}")
        data: ev.Data
        if seq == 1:
            data = ev.RunStarted(input=Raw(b"1"))
        elif seq % 2:
            data = ev.ToolCallCompleted(call_id=call, tool="look", attempt=1, result=Raw(encode({"found": TEXT})))
        else:
            mark = Mark(digest=f"{seq:032x}", seen=seq - 1, worker="w")
            args = Raw(encode({"text": TEXT}))
            data = ev.ToolCallRequested(
                seen=seq - 1, mark=mark, call_id=call, tool="look", args=args, args_digest="d", idempotency_key="k", effect="read"
            )
        kind, at = str(type(data).__struct_config__.tag), began + seq
        event = ev.Event(
            run_id=run_id, seq=seq, type=kind, agent="clerk", correlation_id=run_id, recorded_at=format_time(at), data=Raw(encode(data))
        )
        rows.append((run_id, seq, seq, at, partition, kind, encode(event)))
    return rows


@asynccontextmanager
async def coordinating(folder: Path) -> AsyncIterator[tuple[Coordinator, str]]:
    """A coordinator that owns everything, and the database's URL."""
    async with EmbeddedPostgres(folder / "postgres") as postgres, EmbeddedNats(folder / "nats") as nats:
        await migrate(postgres.url)
        settings = load(CoordinatorSettings, {"WAYPOST_POSTGRES_URL": postgres.url, "WAYPOST_NATS_URL": nats.url})
        async with PostgresStore(postgres.url, pool_size=4) as store, bus_of(settings, "bench") as bus:
            coordinator = Coordinator(store, bus, settings, Metrics())
            await coordinator.prepare()
            running = asyncio.ensure_future(coordinator.run())
            try:
                await coordinator.ready.wait()
                yield coordinator, postgres.url
            finally:
                running.cancel()
                with suppress(asyncio.CancelledError):
                    await running


class Meanwhile:
    """The longest turn of the loop, and the longest start of a run, since `begin`."""

    def __init__(self, coordinator: Coordinator) -> None:
        self._coordinator = coordinator
        self.stretch = self.start = 0.0

    def begin(self) -> None:
        self.stretch = self.start = 0.0

    async def tick(self) -> None:
        before = time.thread_time()  # what other processes do meanwhile is not in it
        while True:
            await asyncio.sleep(0)
            now = time.thread_time()
            self.stretch, before = max(self.stretch, now - before), now

    async def starts(self) -> None:
        while True:
            before = time.perf_counter()
            await self._coordinator._front.submit(StartRun(run_id=_new(), agent="clerk", input=Raw(b"1")))
            self.start = max(self.start, time.perf_counter() - before)


async def measure(folder: Path, lengths: list[int]) -> list[Point]:
    """A point for each length."""
    points = []
    async with coordinating(folder) as (coordinator, url):
        meanwhile = Meanwhile(coordinator)
        busy = [asyncio.ensure_future(meanwhile.tick()), asyncio.ensure_future(meanwhile.starts())]
        for length in lengths:
            source = _new()
            await _insert(url, log_of(source, (length - 1) | 1, partition_of(source, 8)))
            rounds = [await _round(coordinator, meanwhile, source, (length - 1) | 1) for _ in range(ROUNDS)]
            points.append(Point(length, *(statistics.median(each) * 1_000 for each in zip(*rounds, strict=True))))
        for task in busy:
            task.cancel()
    return points


async def _round(coordinator: Coordinator, meanwhile: Meanwhile, source: RunId, at: int) -> tuple[float, float, float]:
    await coordinator._settler.idle()
    meanwhile.begin()
    before = time.perf_counter()
    reply = await coordinator._front.submit(ForkRun(run_id=_new(), source=source, seq=at))
    assert reply.ok, reply.message
    answered = time.perf_counter() - before
    await coordinator._settler.idle()  # its events are published in the meantime
    return answered, meanwhile.stretch, meanwhile.start


async def _insert(url: str, rows: list[tuple[object, ...]]) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.executemany(
            "INSERT INTO events (run_id, seq, position, recorded_at, partition, type, data) "
            "VALUES ($1, $2, $3, to_timestamp($4), $5, $6, $7)",
            rows,
        )
    finally:
        await connection.close()


def _new() -> RunId:
    return uuid7(int(time.time() * 1000), os.urandom(10))


def main() -> int:
    """Print a table."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.forking", description=__doc__)
    parser.add_argument("--events", type=int, nargs="*", default=list(LENGTHS), help="lengths of the runs that are forked")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="waypost-bench-") as folder:
        points = asyncio.run(measure(Path(folder), options.events))
    print("| events | answered after, ms | longest turn of the loop, ms | longest start of another run, ms |\n|---:|---:|---:|---:|")
    for point in points:
        print(f"| {point.events:,} | {point.answered:,.0f} | {point.stretch:,.1f} | {point.start:,.0f} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
