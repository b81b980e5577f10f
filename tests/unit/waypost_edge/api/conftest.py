from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.unit.waypost_edge.api.rig import Edge, edge_over
from waypost_io.bus.memory import MemoryBus


@pytest.fixture
async def edge() -> AsyncIterator[Edge]:
    async with MemoryBus() as bus, edge_over(bus) as edge:
        yield edge
