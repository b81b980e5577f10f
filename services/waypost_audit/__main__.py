"""`python -m waypost_audit`: the composition root of the audit logger."""

from __future__ import annotations

import asyncio
import os
import socket
from contextlib import AsyncExitStack, suppress
from functools import partial

import structlog

from waypost_audit.anchors.keeping import AnchorKeeper
from waypost_audit.anchors.settings import read_anchors
from waypost_audit.bell import Bell
from waypost_audit.logger import AuditConfig, AuditLogger
from waypost_audit.metrics import AnchorMetrics, Metrics
from waypost_audit.signing import Signer
from waypost_audit.trace_export import exporting
from waypost_io.audit.keyfile import read_keys
from waypost_io.bus.opening import bus_of
from waypost_io.lifecycle import Stop, run_service
from waypost_io.observing import observe
from waypost_io.otlp_traces import endpoint_of
from waypost_io.settings import AuditSettings, load
from waypost_io.starting import StartAbandoned, Starting
from waypost_io.store.postgres import PostgresStore

_log = structlog.get_logger(__name__)


def _config(settings: AuditSettings) -> AuditConfig:
    """Names are made up here, once: nothing below the composition root is random."""
    return AuditConfig(
        owner=f"{socket.gethostname()}-{os.getpid()}-{os.urandom(3).hex()}",
        origin=f"{settings.prefix}/{os.urandom(8).hex()}",
        batch_max=settings.batch_max,
        poll_seconds=settings.poll_seconds,
        head_seconds=settings.head_seconds,
        lease_seconds=settings.lease_seconds,
    )


async def serve(stop: Stop) -> None:
    """Take events over until `stop`. Raises `Misconfigured`, or `Unreachable` when a server is not there in time."""
    settings = load(AuditSettings)
    metrics = Metrics()
    config = _config(settings)
    starting = Starting(stop, settings.start_seconds)
    endpoint = endpoint_of(os.environ)
    if settings.key_file is None:
        _log.warning("heads of the audit log are not signed: set WAYPOST_AUDIT_KEY_FILE")
    else:
        read_keys(settings.key_file)  # a bad file ends the process here, with what is wrong

    anchors = read_anchors(settings.anchors_file) if settings.anchors_file is not None else []

    def open_store() -> PostgresStore:
        return PostgresStore(settings.postgres_url, pool_size=settings.postgres_pool, application_name="waypost-audit")

    async with AsyncExitStack() as stack:
        await observe(stack, "audit", settings.ops_addr, checks=starting.checks, metrics=metrics.registry)
        with suppress(StartAbandoned):
            bus = await starting.enter(stack, lambda: bus_of(settings, "waypost-audit"))
            store = await starting.enter(stack, open_store)
            signer = None
            if settings.key_file is not None:
                signer = Signer(store.audit, partial(read_keys, settings.key_file), store.leases.now, metrics=metrics)
            logger = AuditLogger(store, Bell(bus, settings.subjects.all_events()), config, signer=signer, metrics=metrics)
            starting.done({"log": logger.readiness})
            _log.info("audit logger serves", owner=config.owner, batch_max=config.batch_max, poll_seconds=config.poll_seconds)
            keeper = AnchorKeeper(store.audit, anchors, lambda: logger.active, AnchorMetrics(metrics.registry))
            async with keeper, asyncio.TaskGroup() as tasks:
                if endpoint is not None:
                    exporter = stack.enter_context(exporting(settings, endpoint, store, bus, metrics.registry))
                    tasks.create_task(exporter.run(stop), name="traces")
                was_active = await logger.run(stop)
            if was_active:
                await keeper.finish()


def main() -> None:
    """Serve until SIGTERM; exit codes are `lifecycle`'s."""
    raise SystemExit(run_service("audit", serve))


if __name__ == "__main__":
    main()
