"""`python -m waypost_edge`: the composition root of the edge."""

from __future__ import annotations

import asyncio
import os
import time
from contextlib import AsyncExitStack, suppress
from importlib.metadata import version

import structlog
from starlette.requests import Request
from starlette.routing import Mount

from waypost.client import Client
from waypost_edge.api import Api
from waypost_edge.api.asking import Asking
from waypost_edge.api.live import Live
from waypost_edge.app import application
from waypost_edge.auth.opening import open_auth
from waypost_edge.console import Console, Grafana, Who
from waypost_edge.metrics import Metrics
from waypost_edge.serving import listen, room_for, serve_http
from waypost_edge.tempo.reading import Reading
from waypost_edge.tempo.routes import Tempo
from waypost_edge.webhooks.opening import couriers, subscriptions
from waypost_io.bus.opening import bus_of
from waypost_io.bus.ports import Bus
from waypost_io.lifecycle import Stop, run_service
from waypost_io.observing import observe
from waypost_io.ops import Check
from waypost_io.otlp_traces import resource_of
from waypost_io.settings import EdgeSettings, load
from waypost_io.starting import StartAbandoned, Starting
from waypost_io.store.postgres import PostgresStore
from waypost_io.trace_content import capture_of
from waypost_proto.errors import Unreachable

SPARE_CONNECTIONS = 256
"""Besides those who watch: requests, and connections that wait for the next one."""
_log = structlog.get_logger(__name__)


async def serve(stop: Stop) -> None:
    """Answer until `stop`. Raises `Misconfigured`, or `Unreachable` when Postgres or NATS is not there in time."""
    settings = load(EdgeSettings)
    metrics = Metrics()
    webhooks = subscriptions(settings.webhooks_file)
    door = open_auth(settings, time.time)
    capture = capture_of()
    release = version("waypost")
    starting = Starting(stop, settings.start_seconds)

    def open_store() -> PostgresStore:
        return PostgresStore(settings.postgres_url, pool_size=settings.postgres_pool, application_name="waypost-edge")

    async with AsyncExitStack() as stack:
        await observe(stack, "edge", settings.ops_addr, checks=starting.checks, metrics=metrics.registry)
        with suppress(StartAbandoned):
            listening = stack.enter_context(listen(settings.http_addr))
            store = await starting.enter(stack, open_store)
            reading = Reading(
                traces=store.traces,
                capture=capture,
                prefix=settings.prefix,
                resource=resource_of(os.environ, release),
                max_events=settings.traces_max_events,
            )
            bus = await starting.enter(stack, lambda: bus_of(settings, "waypost-edge"))
            client = Client(bus=bus, prefix=settings.prefix, token="", patience_seconds=settings.patience_seconds)
            await stack.enter_async_context(client)
            live = await stack.enter_async_context(Live(bus, settings.subjects, store, watchers=settings.watchers, shown=metrics.watchers))
            api = Api(
                auth=door.auth,
                asking=Asking(client, bus, settings.subjects),
                live=live,
                store=store,
                version=release,
            )
            tempo = Tempo(store=store, reading=reading, auth=door.auth, metrics=metrics, version=release, look_at=settings.traces_look_at)

            async def who(request: Request) -> Who:
                caller = await door.auth.authenticate(request)
                return Who(client.signed_by(caller.signer), caller)

            grafana = Grafana(settings.grafana_url, settings.grafana_traces_uid) if settings.grafana_url else None
            console = Console(store=store, door=who, live=live, reading=reading, version=release, prefix=settings.prefix, grafana=grafana)
            starting.done(_checks(store, bus))
            origins = [origin.strip() for origin in settings.origins.split(",") if origin.strip()]
            app = application(
                [*door.routes, *api.routes(), Mount("/tempo", routes=tempo.routes()), *console.routes()], metrics, origins=origins
            )
            host, port = listening.getsockname()[:2]
            _log.info("edge serves", host=host, port=port, authenticated=door.auth.required)
            connections = room_for(settings.watchers + SPARE_CONNECTIONS)
            tasks = await stack.enter_async_context(asyncio.TaskGroup())
            stack.callback(tasks.create_task(live.end_with(stop)).cancel)
            for courier in couriers(webhooks, bus, settings.subjects, metrics):
                stack.callback(tasks.create_task(courier.run(), name="webhooks").cancel)
            await serve_http(app, listening, stop, drain_seconds=settings.drain_seconds, connections=connections)


def _checks(store: PostgresStore, bus: Bus) -> dict[str, Check]:
    async def postgres() -> str:
        return f"{await store.leases.now():.0f}"

    async def nats() -> str:
        if not bus.connected:
            raise Unreachable("not connected to NATS")
        return "connected"

    return {"postgres": postgres, "nats": nats}


def main() -> None:
    """Serve until SIGTERM; exit codes are `lifecycle`'s."""
    raise SystemExit(run_service("edge", serve))


if __name__ == "__main__":
    main()
