"""What every service opens first: `/livez`, `/readyz`, `/metrics` with its process's numbers, and metrics by OTLP if they are asked for."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AsyncExitStack

from waypost_io import process_metrics
from waypost_io.metrics import Metrics
from waypost_io.ops import Check, OpsServer
from waypost_io.otlp_metrics import OtlpMetrics


async def observe(stack: AsyncExitStack, service: str, ops_addr: str, *, checks: Mapping[str, Check], metrics: Metrics) -> OpsServer:
    """Serve and send until the stack closes; `service` is the short name that logs have too. Call it once per process.

    Raises `Misconfigured` where it cannot listen on `ops_addr`, or where the environment asks for OTLP that cannot be had.
    """
    process_metrics.define(metrics)
    server = await stack.enter_async_context(OpsServer(ops_addr, checks=checks, metrics=metrics))
    await stack.enter_async_context(OtlpMetrics(service, metrics))
    return server
