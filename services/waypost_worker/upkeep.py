"""The two clocks of a worker: held activations are said to be in progress, unconfirmed advances are published again."""

from __future__ import annotations

import asyncio

import structlog

from waypost_worker.runs import Runs
from waypost_worker.tuning import Tuning

_LOOK_SECONDS = 1.0
"""How exact `republish_seconds` is."""
_BEATS_PER_ACK_WAIT = 3
_log = structlog.get_logger(__name__)


async def keep_in_progress(runs: Runs, tuning: Tuning) -> None:
    """Until cancelled."""
    while True:
        await asyncio.sleep(tuning.ack_wait_seconds / _BEATS_PER_ACK_WAIT)
        runs.keep()


async def republish(runs: Runs, tuning: Tuning, reconnected: asyncio.Event) -> None:
    """Until cancelled. At a reconnect everything unconfirmed goes out at once: the server may have lost it."""
    interval = min(_LOOK_SECONDS, tuning.republish_seconds / 2)
    while True:
        try:
            async with asyncio.timeout(interval):
                await reconnected.wait()
        except TimeoutError:
            pass
        again = reconnected.is_set()
        reconnected.clear()
        count = runs.republish(all_now=again)
        if count:
            _log.info("published unconfirmed advances again", advances=count, reconnected=again)
