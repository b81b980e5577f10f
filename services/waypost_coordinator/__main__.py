"""The coordinator's process: settings, adapters, the shell, run. `python -m waypost_coordinator` or `waypost coordinator`."""

from __future__ import annotations

import asyncio
import contextlib

from waypost_coordinator.service import Coordinator
from waypost_io.bus.jetstream import BusTuning, JetStreamBus
from waypost_io.bus.opening import bus_of
from waypost_io.lifecycle import Stop, run_service
from waypost_io.metrics import Metrics
from waypost_io.observing import observe
from waypost_io.settings import CoordinatorSettings, load
from waypost_io.starting import StartAbandoned, Starting
from waypost_io.store.postgres import PostgresStore
from waypost_proto.limits import MAX_DEAD_BYTES

DRAIN_SECONDS = 5.0
"""What is in hand takes milliseconds; longer only when a server is away, and then waiting does not help."""


async def serve(stop: Stop) -> None:
    """Serve until asked to stop, then give the partitions back."""
    settings = load(CoordinatorSettings)
    metrics = Metrics()
    starting = Starting(stop, settings.start_seconds)
    async with contextlib.AsyncExitStack() as stack:
        await observe(stack, "coordinator", settings.ops_addr, checks=starting.checks, metrics=metrics)
        with contextlib.suppress(StartAbandoned):
            store = await starting.enter(stack, lambda: _store(settings))
            bus = await starting.enter(stack, lambda: _bus(settings))
            coordinator = Coordinator(store, bus, settings, metrics)
            await starting.reach(coordinator.prepare)
            starting.done({"nats": lambda: bus.connected, "partitions": coordinator.ready.is_set})
            await _work(coordinator, stop, min(DRAIN_SECONDS, settings.drain_seconds))


async def _work(coordinator: Coordinator, stop: Stop, drain_seconds: float) -> None:
    running = asyncio.ensure_future(coordinator.run())
    stopping = asyncio.ensure_future(stop.wait())
    await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if running.done():
        await running  # it ends only by an error
    await coordinator.drain(drain_seconds)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


def _store(settings: CoordinatorSettings) -> PostgresStore:
    return PostgresStore(settings.postgres_url, pool_size=settings.postgres_pool, application_name="waypost-coordinator")


def _bus(settings: CoordinatorSettings) -> JetStreamBus:
    tuning = BusTuning(max_message_bytes=MAX_DEAD_BYTES)  # for dead letters; every stream's own limit holds for what goes into it
    return bus_of(settings, "waypost-coordinator", tuning=tuning)


def main() -> None:
    """Entry point; exit codes are `lifecycle`'s."""
    raise SystemExit(run_service("coordinator", serve))


if __name__ == "__main__":
    main()
