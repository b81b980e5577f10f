"""`python -m tests.bench.audit_share`: CPU per step with and without the audit logger, in turn on two platforms; and its lag."""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack

import asyncpg

from tests.bench.driver import Driver
from tests.bench.gauges import Gauges, use_between
from tests.bench.measuring import ALL, MEASURED
from tests.bench.platform import Waypost, temporary_folder, waypost

STEPS = 5
WARM_UP_RUNS = 40
SAMPLE_SECONDS = 0.05
LAG = """
SELECT coalesce(max(extract(epoch FROM clock_timestamp() - e.recorded_at)), 0)::float8
  FROM partitions p LEFT JOIN audit_cursors c USING (partition)
  JOIN events e ON e.partition = p.partition AND e.position = coalesce(c.position, 0) + 1
"""


async def measure(runs: int, in_flight: int, rounds: int) -> None:
    """Print the figures."""
    found: dict[str, list[dict[str, float]]] = {"without": [], "with": []}
    async with temporary_folder() as folder, AsyncExitStack() as stack:
        sides: list[tuple[str, Waypost, Driver, Gauges]] = []
        for name, services in (("without", MEASURED), ("with", ALL)):
            platform = await stack.enter_async_context(waypost(folder / name, services))
            driver = await stack.enter_async_context(Driver(platform.nats.url, platform.side.prefix))
            gauges = Gauges(platform.nats, platform.postgres)
            await gauges.connect()
            stack.push_async_callback(gauges.close)
            await driver.in_flight(WARM_UP_RUNS, STEPS, WARM_UP_RUNS, lambda _: None)
            sides.append((name, platform, driver, gauges))
        for _ in range(rounds):
            for name, platform, driver, gauges in sides:
                before = await gauges.read(platform.side.pids)
                seconds = await driver.in_flight(runs, STEPS, in_flight, lambda _: None)
                await asyncio.sleep(1.0)  # what is left to take over counts too
                found[name].append(use_between(before, await gauges.read(platform.side.pids), runs * STEPS).cpu_ms)
                print(f"{name}: {runs * STEPS / seconds:.0f} steps/s, {sum(found[name][-1].values()):.3f} CPU-ms per step", flush=True)
        _, platform, driver, _ = sides[1]
        lags = await _lags(platform.postgres_url, driver, runs, in_flight)
    _say(found, lags)


async def _lags(url: str, driver: Driver, runs: int, in_flight: int) -> list[float]:
    """Ages of the oldest event that is not in the audit log, sampled under load; in seconds."""
    connection = await asyncpg.connect(url)
    load = asyncio.ensure_future(driver.in_flight(runs, STEPS, in_flight, lambda _: None))
    lags = []
    try:
        while not load.done():
            lags.append(await connection.fetchval(LAG))
            await asyncio.sleep(SAMPLE_SECONDS)
        await load
    finally:
        await connection.close()
    return lags


def _say(found: dict[str, list[dict[str, float]]], lags: Sequence[float]) -> None:
    middle = {name: statistics.median(sum(each.values()) for each in rounds) for name, rounds in found.items()}
    for part in found["with"][0]:
        values = [statistics.median(each.get(part, 0.0) for each in found[name]) for name in ("without", "with")]
        print(f"  {part:12} {values[0]:.3f} {values[1]:.3f}")
    share = middle["with"] / middle["without"] - 1
    print(f"CPU-ms per step: {middle['without']:.3f} without, {middle['with']:.3f} with the audit logger: {share:+.1%}")
    print(f"lag under load: median {statistics.median(lags):.3f} s, largest of {len(lags)} samples {max(lags):.3f} s")


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.audit_share", description="CPU per step with and without the audit logger."
    )
    parser.add_argument("--runs", type=int, default=600)
    parser.add_argument("--in-flight", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args(sys.argv[1:])
    asyncio.run(measure(options.runs, options.in_flight, options.rounds))


if __name__ == "__main__":
    main()
