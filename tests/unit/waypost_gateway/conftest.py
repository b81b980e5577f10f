"""A rig in memory."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import pytest

from tests.unit.waypost_gateway.rig import Rig
from waypost_io.bus.memory import MemoryBus
from waypost_io.store.memory import MemoryStore


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    async with MemoryBus() as bus, MemoryStore(time.time) as store:

        async def count() -> int:
            return len(bus.broker.streams["WAYPOST_TOOLS"].messages)

        async with Rig(bus, store, count) as rig:
            yield rig
