"""What the database needs once a day: the coming months' partitions of events (CORRECTNESS.md row 17), and old failure counts dropped."""

from __future__ import annotations

import asyncio

import structlog

from waypost_io.store.ports import Store
from waypost_proto.errors import TransientError

log = structlog.get_logger(__name__)

DAY_SECONDS = 86_400.0
RETRY_SECONDS = 60.0


async def keep_up(store: Store, *, seconds: float = DAY_SECONDS, retry_seconds: float = RETRY_SECONDS) -> None:
    """At once and every `seconds`, until cancelled. Every replica does it; that is harmless."""
    while True:
        wait = seconds
        try:
            made = await store.maintenance.upkeep()
        except TransientError as error:
            log.warning("upkeep_interrupted", error=str(error))
            wait = retry_seconds
        else:
            if made:
                log.info("event_partitions_made", names=made)
        await asyncio.sleep(wait)
