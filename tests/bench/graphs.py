"""A graph on Waypost beside the same graph in LangGraph with its Postgres saver: `python -m tests.bench.graphs`. Asserts nothing.

Both on one embedded Postgres, in turn; LangGraph with `durability="sync"` in its own environment (see `peer`). A run of five steps has ten
nodes (`state`), or eleven (`agent`: the model's last word).
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
from contextlib import AsyncExitStack
from pathlib import Path

from tests.bench import graph_work
from tests.bench.driver import Batch, Driver
from tests.bench.peer import environment
from tests.bench.peer.contenders import AS_AN_AGENT, AS_DOCUMENTED, LangGraph, Setup
from tests.bench.platform import temporary_folder
from waypost_cli.dev import DevOptions, Supervisor

STEPS = 5
SERVICES = ("coordinator", "worker", "gateway")
LEVELS = ((40, 1), (400, 64))
"""Runs in a batch, and how many of them at once."""


async def measure(rounds: int) -> list[str]:
    """Rows of a Markdown table: latency of a run alone, and runs per second with 64 in flight, medians of the rounds."""
    rows = ["| graph | side | one run, p50 | runs/s, 64 in flight |", "|---|---|---|---|"]
    for which, setup in (("state", AS_DOCUMENTED), ("sync", None), ("agent", AS_AN_AGENT)):
        async with AsyncExitStack() as stack:
            folder = await stack.enter_async_context(temporary_folder())
            os.environ["BENCH_GRAPH"] = which
            module = str(Path(graph_work.__file__))
            supervisor = await stack.enter_async_context(
                Supervisor(DevOptions(modules=(module,), data_dir=folder / "data", services=SERVICES, reload=False))
            )
            assert supervisor.nats is not None
            driver = await stack.enter_async_context(Driver(supervisor.nats.url, "waypost"))
            sides: dict[str, Driver | LangGraph] = {f"Waypost{', sync' if which == 'sync' else ''}": driver}
            if setup is not None:
                sides["LangGraph, sync"] = await _langgraph(stack, supervisor, setup)
            for side in sides.values():
                await side.batch(20, STEPS, 1)
            found: dict[str, list[list[Batch]]] = {name: [] for name in sides}
            for _ in range(rounds):
                for name, side in sides.items():
                    found[name].append([await side.batch(runs, STEPS, at_once) for runs, at_once in LEVELS])
        for name, batches in found.items():
            alone = statistics.median(statistics.median(each[0].latencies_ms) for each in batches)
            rate = statistics.median(LEVELS[1][0] / each[1].seconds for each in batches)
            rows.append(f"| {'state' if which == 'sync' else which} | {name} | {alone:.1f} ms | {rate:.0f} |")
            print(rows[-1], file=sys.stderr, flush=True)
    return rows


async def _langgraph(stack: AsyncExitStack, supervisor: Supervisor, setup: Setup) -> LangGraph:
    assert supervisor.postgres is not None
    url = await supervisor.postgres.create_database(setup.database)
    side = LangGraph(setup.name, None)  # type: ignore[arg-type]  # nobody looks at its gauges
    stack.push_async_callback(side.stop)
    await side.start(environment.make(), url, setup)
    return side


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.graphs", description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    print("\n".join(asyncio.run(measure(parser.parse_args().rounds))))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
