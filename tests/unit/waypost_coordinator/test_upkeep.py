"""What the database needs once a day."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from tests.unit.waypost_coordinator.rig import Parts
from tests.waiting import wait_until
from waypost_coordinator.upkeep import keep_up


async def test_partitions_are_made_at_the_start_and_every_day(parts: Parts) -> None:
    """CORRECTNESS.md row 17; what fails is tried again soon."""
    made: list[int] = []
    inner = parts.store.maintenance.upkeep

    async def upkeep() -> list[str]:
        made.append(len(made))
        parts.store.database.down = len(made) == 2
        await inner()
        return ["events_2027_01"]

    parts.store.maintenance.upkeep = upkeep  # type: ignore[method-assign]
    task = asyncio.ensure_future(keep_up(parts.store, seconds=0.01, retry_seconds=0.01))
    await wait_until(lambda: len(made) >= 4)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
