"""Workers in this process on a bus in memory, opposite a scripted coordinator."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from tests.unit.waypost_worker.desk import Desk
from waypost_io.bus.memory import MemoryBroker, MemoryBus


@pytest.fixture
async def broker() -> MemoryBroker:
    return MemoryBroker()


@pytest.fixture
async def desk(broker: MemoryBroker) -> AsyncIterator[Desk]:
    async with AsyncExitStack() as stack:
        bus = await stack.enter_async_context(MemoryBus(broker))
        yield await stack.enter_async_context(Desk(lambda: MemoryBus(broker), bus))
