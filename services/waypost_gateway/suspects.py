"""Calls that may be what kills gateways: delivered again and again and never answered. Owns their delays (CORRECTNESS.md row 14).

A tool that ends the process (a crash in native code, memory) takes every other running call down with it, and comes back after each ack
wait. It is not stopped, because nobody can tell it from a call that was merely unlucky; it is slowed down, one at a time, and shown.
Unsafe calls need none of this: they are never executed twice.
"""

from __future__ import annotations

import asyncio

import structlog

from waypost_gateway.about import about
from waypost_gateway.execution import execute
from waypost_gateway.failures import Scrubber
from waypost_gateway.inflight import Work
from waypost_gateway.metrics import Metrics
from waypost_proto.tools import ToolCall

SUSPECT_AFTER = 4
"""Deliveries of a message that are taken for ordinary bad luck."""
FIRST_DELAY_SECONDS = 2.0
MAX_DELAY_SECONDS = 60.0
PATIENCE_SECONDS = 600.0
"""Longest wait for one's turn."""

_NOTHING_TO_SCRUB = Scrubber({})
_log = structlog.get_logger(__name__)


class Suspects:
    """Admits suspects one after another."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._one = asyncio.Lock()

    async def hold(self, call: ToolCall, work: Work) -> None:
        """Wait before a call whose message has been delivered too often. `work.interrupt` ends the wait. Safe to cancel."""
        delay = suspicion_seconds(work.delivered)
        self._metrics.suspects.inc()
        _log.warning(
            "a call may be what ends gateways, holding it back",
            **about(call),
            delivered=work.delivered,
            delay_seconds=delay,
        )
        await execute(lambda: self._turn(delay), seconds=PATIENCE_SECONDS, work=work, scrub=_NOTHING_TO_SCRUB)

    async def _turn(self, delay: float) -> None:
        async with self._one:
            await asyncio.sleep(delay)


def suspicion_seconds(delivered: int) -> float:
    """How long to hold a message that has been delivered so often: doubling from the first suspicion on, bounded."""
    return min(FIRST_DELAY_SECONDS * 2.0 ** min(delivered - SUSPECT_AFTER - 1, 10), MAX_DELAY_SECONDS)
