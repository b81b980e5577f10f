"""`python -m waypost_audit`: the composition root of the audit logger."""

from __future__ import annotations

from contextlib import AsyncExitStack, suppress

import structlog

from waypost_audit.bell import Bell
from waypost_audit.logger import AuditConfig, AuditLogger
from waypost_audit.metrics import Metrics
from waypost_io.bus.opening import bus_of
from waypost_io.lifecycle import Stop, run_service
from waypost_io.observing import observe
from waypost_io.settings import AuditSettings, load
from waypost_io.starting import StartAbandoned, Starting
from waypost_io.store.postgres import PostgresStore

_log = structlog.get_logger(__name__)


async def serve(stop: Stop) -> None:
    """Take events over until `stop`. Raises `Misconfigured`, or `Unreachable` when a server is not there in time."""
    settings = load(AuditSettings)
    metrics = Metrics()
    config = AuditConfig(batch_max=settings.batch_max, poll_seconds=settings.poll_seconds)
    starting = Starting(stop, settings.start_seconds)

    def open_store() -> PostgresStore:
        return PostgresStore(settings.postgres_url, pool_size=settings.postgres_pool, application_name="waypost-audit")

    async with AsyncExitStack() as stack:
        await observe(stack, "audit", settings.ops_addr, checks=starting.checks, metrics=metrics.registry)
        with suppress(StartAbandoned):
            bus = await starting.enter(stack, lambda: bus_of(settings, "waypost-audit"))
            store = await starting.enter(stack, open_store)
            logger = AuditLogger(store, Bell(bus, settings.subjects.all_events()), config, metrics=metrics)
            starting.done({"log": logger.readiness})
            _log.info("audit logger serves", batch_max=config.batch_max, poll_seconds=config.poll_seconds)
            await logger.run(stop)


def main() -> None:
    """Serve until SIGTERM; exit codes are `lifecycle`'s."""
    raise SystemExit(run_service("audit", serve))


if __name__ == "__main__":
    main()
