"""Keeps what is in hand ours: the messages at JetStream, the leases in the ledger. Owns the beat, not what it beats for.

One loop for all calls together; a call that ends before a third of its lease is over costs nothing here.
"""

from __future__ import annotations

import asyncio

import structlog

from waypost_gateway.about import about
from waypost_gateway.inflight import InFlight, Permit, Work
from waypost_gateway.metrics import Metrics
from waypost_io.store.ports import Ledger
from waypost_proto.errors import TransientError

MAX_EXTENSIONS_AT_ONCE = 8

_log = structlog.get_logger(__name__)


class KeepAlive:
    """Run `messages` and `leases` as tasks as long as the gateway has work."""

    def __init__(self, inflight: InFlight, ledger: Ledger, metrics: Metrics, *, ack_wait_seconds: float, lease_seconds: float) -> None:
        self._inflight = inflight
        self._ledger = ledger
        self._metrics = metrics
        self._ack_wait_seconds = ack_wait_seconds
        self._lease_seconds = lease_seconds

    async def messages(self) -> None:
        """Say `in_progress` for every message in hand, three times per ack wait."""
        while True:
            await asyncio.sleep(self._ack_wait_seconds / 3)
            for work in self._inflight:
                for delivery in work.deliveries:
                    delivery.in_progress()

    async def leases(self) -> None:
        """Extend the lease of every started call at a third of its length, until the call's hard deadline."""
        while True:
            await asyncio.sleep(self._lease_seconds / 6)
            now = asyncio.get_running_loop().time()
            due = [
                (work, permit)
                for work in self._inflight
                if (permit := work.permit) is not None and not permit.lost and self._due(permit, now)
            ]
            for start in range(0, len(due), MAX_EXTENSIONS_AT_ONCE):
                await asyncio.gather(*(self._extend(work, permit) for work, permit in due[start : start + MAX_EXTENSIONS_AT_ONCE]))

    def _due(self, permit: Permit, now: float) -> bool:
        return now - permit.renewed_at >= self._lease_seconds / 3 and now < permit.hard_until

    async def _extend(self, work: Work, permit: Permit) -> None:
        key = work.key
        assert key is not None, "a permit belongs to a call"
        now = asyncio.get_running_loop().time()
        try:
            ours = await self._ledger.extend(
                key.run_id, key.call_id, gateway=permit.owner, lease_seconds=min(self._lease_seconds, permit.hard_until - now)
            )
        except TransientError as error:
            _log.warning("a lease cannot be extended", **about(work.call), error=str(error))
            return
        permit.renewed_at = now
        if not ours and work.permit is permit:
            permit.lost = True
            self._metrics.leases_lost.inc()
            _log.warning("a lease is lost while the call is running", **about(work.call))
