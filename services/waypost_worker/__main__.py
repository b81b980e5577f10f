"""`python -m waypost_worker MODULE… [--agent NAME] [--concurrency N]`: the worker's composition root."""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import replace

from waypost_io.bus.opening import bus_of
from waypost_io.identity import Signer, token_from
from waypost_io.lifecycle import Stop, run_service
from waypost_io.metrics import Metrics
from waypost_io.observing import observe
from waypost_io.settings import WorkerSettings, load
from waypost_io.starting import StartAbandoned, Starting
from waypost_proto.errors import Misconfigured
from waypost_worker.catalog import load_catalog
from waypost_worker.loop_watch import watch_loop
from waypost_worker.service import Worker
from waypost_worker.threads import StepThreads
from waypost_worker.tuning import Tuning

_THREADS_PER_EFFECT = 2
"""Half of the threads may be lost to steps that nobody waits for any more, before one that is wanted must wait."""


def main(argv: Sequence[str] | None = None) -> None:
    """Run the worker until SIGTERM or SIGINT. Exit codes: `lifecycle`'s."""
    options = _parser().parse_args(argv)

    async def serve(stop: Stop) -> None:
        await _serve(stop, options)

    raise SystemExit(run_service("worker", serve))


async def _serve(stop: Stop, options: argparse.Namespace) -> None:
    settings = load(WorkerSettings)
    tuning = Tuning.of(settings)
    if options.concurrency is not None:
        tuning = replace(tuning, concurrency=options.concurrency)
    catalog = load_catalog(options.modules, options.agent, settings)
    asyncio.get_running_loop().set_default_executor(StepThreads(_THREADS_PER_EFFECT * tuning.concurrency))
    metrics = Metrics()
    starting = Starting(stop, settings.start_seconds)
    async with AsyncExitStack() as stack:
        await observe(stack, "worker", settings.ops_addr, checks=starting.checks, metrics=metrics)
        with suppress(StartAbandoned):
            bus = await starting.enter(stack, lambda: bus_of(settings, "waypost-worker"))
            worker = Worker(bus, settings.subjects, catalog, tuning=tuning, metrics=metrics, name=_name(settings))
            token = token_from("", settings.service_token_file)
            worker.signer = Signer(token) if token else None
            starting.done({"worker": worker.ready})
            async with watch_loop():
                await worker.run(stop)


def _name(settings: WorkerSettings) -> str:
    """Its own name. In a pool it must be one of those that NATS permits to it."""
    if settings.nats_pool and not settings.name.startswith(f"{settings.nats_pool}-"):
        raise Misconfigured(
            f"WAYPOST_WORKER_NAME={settings.name!r}: a worker of the pool {settings.nats_pool!r} is named "
            f"{settings.nats_pool}-0, {settings.nats_pool}-1, …, each once"
        )
    return settings.name


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="waypost worker", description="Execute the agents that are defined in MODULE.")
    parser.add_argument("modules", metavar="MODULE", nargs="+", help="an importable module, or a .py file")
    parser.add_argument("--agent", metavar="NAME", action="append", default=[], help="host only this agent (may be repeated)")
    parser.add_argument("--concurrency", metavar="N", type=_at_least_one, default=None, help="runs that work at one time")
    return parser


def _at_least_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


if __name__ == "__main__":
    main()
