"""What Waypost adds to a model call: `python -m tests.bench.models`. Side by side, in turn, and the difference.

A provider on loopback, a process of its own, answers after a given time in twenty pieces. Blocks of calls alternate: by the SDK alone,
streaming, from this process; and by `ctx.generate` in a durable function on real services, streaming and shown on `waypost.stream`.
Measured from one recorded answer to the next by the worker's clock in the log: the request, the record, the advance in JetStream before
the next call begins. The overhead is the difference of neighbouring blocks, so what else the machine does meets both. CPU is that of all
processes (worker, coordinator, gateway, NATS, Postgres) less that of the SDK alone; the provider's is no part of it.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import pairwise
from pathlib import Path

import msgspec
import uvloop
from msgspec import Struct

from tests.bench import machine, profiles
from tests.bench.gauges import Gauges, Use, load_average, use_between
from tests.bench.modelling import PROMPT
from tests.bench.page import END, replaced
from tests.bench.platform import temporary_folder
from tests.bench.terminal import forget_settings, positive
from waypost.client import Client
from waypost_cli.dev import DevOptions, Supervisor

MODULE = Path(__file__).with_name("modelling.py")
PAGE = Path(__file__).resolve().parents[2] / "docs" / "models.md"
MARKS = ("<!-- figures: python -m tests.bench.models --write-docs -->", END)
SERVICES = ("coordinator", "worker", "gateway")
GOAL_MILLISECONDS = 5.0
GOAL_SHARE = 0.02
"""Of a call of one second."""
_WARM_UP = 5


class Block(Struct, frozen=True, kw_only=True):
    """Some calls one way: milliseconds of each, and CPU milliseconds per call by process."""

    milliseconds: list[float]
    cpu_ms: dict[str, float]

    @property
    def p50(self) -> float:
        return statistics.median(self.milliseconds)


class Figures(Struct, frozen=True, kw_only=True):
    """Neighbouring blocks, in their order."""

    provider_seconds: float
    alone: list[Block]
    recorded: list[Block]
    load: float

    @property
    def calls(self) -> int:
        """Of each way."""
        return sum(len(block.milliseconds) for block in self.recorded)

    @property
    def sdk_p50(self) -> float:
        return _quantile(self.alone, 0.5)

    @property
    def waypost_p50(self) -> float:
        return _quantile(self.recorded, 0.5)

    @property
    def waypost_p90(self) -> float:
        return _quantile(self.recorded, 0.9)

    @property
    def overheads(self) -> list[float]:
        """Of each pair of blocks, the difference of their medians."""
        return [recorded.p50 - alone.p50 for alone, recorded in zip(self.alone, self.recorded, strict=True)]

    def cpu_of(self, process: str) -> float:
        """CPU milliseconds per recorded call; of the worker without what the SDK alone takes."""
        used = statistics.median(block.cpu_ms[process] for block in self.recorded)
        return used - statistics.median(block.cpu_ms["sdk"] for block in self.alone) if process == "worker" else used

    @property
    def added_cpu_ms(self) -> float:
        """Of all processes together."""
        return sum(self.cpu_of(process) for process in self.recorded[0].cpu_ms)


def _quantile(blocks: Sequence[Block], at: float) -> float:
    every = sorted(value for block in blocks for value in block.milliseconds)
    return statistics.median(every) if at == 0.5 else every[max(0, round(at * len(every)) - 1)]


async def measure(rounds: int, calls: int, provider_seconds: float, profile: str = "") -> Figures:
    """Servers and services of its own; `rounds` blocks of `calls` each way, in turn. `profile` names a service to look into."""
    async with AsyncExitStack() as stack:
        folder = await stack.enter_async_context(temporary_folder())
        url = await stack.enter_async_context(_provider(provider_seconds))
        os.environ["FAKE_PROVIDER_URL"] = url
        options = DevOptions(modules=(str(MODULE),), data_dir=folder, services=SERVICES, reload=False)
        supervisor = await stack.enter_async_context(Supervisor(options))
        client = await stack.enter_async_context(Client(supervisor.nats_url, prefix=options.prefix))
        assert supervisor.nats is not None
        assert supervisor.postgres is not None
        gauges = Gauges(supervisor.nats, supervisor.postgres)
        await gauges.connect()
        stack.push_async_callback(gauges.close)
        pids = {name: process.pid for name, process in supervisor.processes.items()}
        await _alone(url, _WARM_UP)
        await _recorded(client, _WARM_UP)
        if profile:
            await _look_into(profile, pids[profile], folder, client, rounds * calls)
        alone, recorded = [], []
        for _ in range(rounds):
            alone.append(await _alone(url, calls))
            before = await gauges.read(pids)
            taken = await _recorded(client, calls)
            use: Use = use_between(before, await gauges.read(pids), calls)
            recorded.append(Block(milliseconds=taken, cpu_ms=use.cpu_ms))
        return Figures(provider_seconds=provider_seconds, alone=alone, recorded=recorded, load=load_average())


async def _look_into(name: str, pid: int, folder: Path, client: Client, calls: int) -> None:
    async def work() -> None:
        await _recorded(client, calls)

    sys.stderr.write(f"{name}, by the functions that spend it\n")
    for function, share in await profiles.self_times(pid, folder / "profile.txt", work):
        sys.stderr.write(f"  {share:6.1%}  {function}\n")


@asynccontextmanager
async def _provider(seconds: float) -> AsyncIterator[str]:
    command = [sys.executable, "-m", "tests.fake_provider", "--seconds", str(seconds), "--pieces", "20", "--text", "word " * 40]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    try:
        assert process.stdout is not None
        yield (await process.stdout.readline()).decode().strip()
    finally:
        process.kill()
        await process.wait()


async def _alone(url: str, calls: int) -> Block:
    from openai import AsyncOpenAI

    taken = []
    async with AsyncOpenAI(base_url=f"{url}/v1", api_key="k", max_retries=0) as client:
        cpu = 0.0
        for number in range(1 + calls):
            if number == 1:  # the first opens a connection
                cpu = time.process_time()
            began = time.perf_counter()
            stream = await client.chat.completions.create(
                model="bench", messages=[{"role": "user", "content": PROMPT}], stream=True, stream_options={"include_usage": True}
            )
            async for _ in stream:
                pass
            if number:
                taken.append((time.perf_counter() - began) * 1e3)
        used = (time.process_time() - cpu) * 1e3 / calls
    return Block(milliseconds=taken, cpu_ms={"sdk": used})


class _At(Struct):
    at: float


async def _recorded(client: Client, calls: int) -> list[float]:
    run = await client.start("talker", calls + 1)
    await client.result(run.run_id, timeout=600)
    at = [msgspec.json.decode(e.data, type=_At).at async for e in client.events(run.run_id) if e.type == "step_completed"]
    return [(after - before) * 1e3 for before, after in pairwise(at)]


def as_text(found: Figures) -> str:
    """For a terminal."""
    overhead = statistics.median(found.overheads)
    share = f", {overhead / found.sdk_p50:.1%} of the call" if found.provider_seconds else ""
    processes = ", ".join(f"{name} {found.cpu_of(name):.2f}" for name in found.recorded[0].cpu_ms)
    idle = ", what they do while they wait included" if found.provider_seconds else ""
    return (
        f"{found.calls} calls each way, in turn, to a provider that takes {found.provider_seconds:g} s; load {found.load:.1f}\n"
        f"  by the SDK alone       p50 {found.sdk_p50:7.1f} ms\n"
        f"  as a recorded step     p50 {found.waypost_p50:7.1f} ms   p90 {found.waypost_p90:7.1f} ms\n"
        f"  what Waypost adds      p50 {overhead:7.1f} ms{share}; the quietest block {min(found.overheads):.1f} ms\n"
        f"  CPU that it adds           {found.added_cpu_ms:7.2f} ms ({processes}{idle})"
    )


def as_markdown(figures: Sequence[Figures]) -> str:
    """For the page."""
    rows = [
        "| the provider takes | SDK alone, p50 | recorded, p50 | added, p50 | quietest block | CPU added |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for found in figures:
        overhead = statistics.median(found.overheads)
        share = f" ({overhead / found.sdk_p50:.1%})" if found.provider_seconds else ""
        cpu = "" if found.provider_seconds else f"{found.added_cpu_ms:.1f} ms"  # of a long call most is what services do while they wait
        rows.append(
            f"| {found.provider_seconds:g} s | {found.sdk_p50:.1f} ms | {found.waypost_p50:.1f} ms | {overhead:.1f} ms{share} | "
            f"{min(found.overheads):.1f} ms | {cpu} |"
        )
    first, here = figures[0], machine.describe()
    parts = ", ".join(f"{name} {first.cpu_of(name):.2f}" for name in first.recorded[0].cpu_ms)
    loads = " and ".join(f"{found.load:.1f}" for found in figures)
    told = (
        f"Measured {here.date} on {here.cpu}, {here.cores} cores, load average {loads}. "
        f"CPU added, in ms per call of the first row: {parts} (the worker's less what the SDK alone takes)."
    )
    return "\n".join(rows) + f"\n\n{told}"


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Exit 0 whatever the figures are."""
    forget_settings()
    parser = argparse.ArgumentParser(prog="python -m tests.bench.models", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--calls", type=positive, default=25, help="of a block, of a provider that answers at once")
    parser.add_argument("--rounds", type=positive, default=12, help="blocks of these, each way")
    parser.add_argument("--slow-rounds", type=int, default=5, help="blocks of three calls of a provider that takes a second; 0 for none")
    parser.add_argument("--profile", choices=SERVICES, default="", help="where this service's CPU goes, by py-spy")
    parser.add_argument("--write-docs", action="store_true", help=f"put the figures into {PAGE.name} of docs/")
    options = parser.parse_args(sys.argv[1:] if argv is None else argv)
    figures = [uvloop.run(measure(options.rounds, options.calls, 0.0, options.profile))]
    if options.slow_rounds:
        figures.append(uvloop.run(measure(options.slow_rounds, 3, 1.0)))
    print("\n".join(map(as_text, figures)))
    print(f"  the goal is {GOAL_MILLISECONDS:g} ms, and {GOAL_SHARE:.0%} of a call of one second")
    if options.write_docs:
        PAGE.write_text(replaced(PAGE.read_text(encoding="utf-8"), as_markdown(figures), MARKS), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
