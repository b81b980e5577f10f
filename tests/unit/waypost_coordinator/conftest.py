"""A deployment in memory for each test of the shell."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.unit.waypost_coordinator.gates import GatedBus
from tests.unit.waypost_coordinator.rig import Parts, Replica, Site, site
from waypost_io.bus.memory import MemoryBroker
from waypost_io.bus.topology import stream_specs


@pytest.fixture
async def desk() -> AsyncIterator[Site]:
    """A broker, a database and their clock, without a coordinator."""
    async with site() as made:
        yield made


@pytest.fixture
async def replica(desk: Site) -> AsyncIterator[Replica]:
    """A coordinator with a worker `w1` and a gateway `g1` that host `clerk`, `look` and `pay`."""
    async with desk.replica() as made:
        await desk.hosts()
        yield made


@pytest.fixture
async def parts() -> AsyncIterator[Parts]:
    """The ground of a coordinator for tests of one part, with the streams made."""
    async with GatedBus(MemoryBroker()) as bus:
        made = Parts(bus)
        for spec in stream_specs(made.ground.subjects, partitions=made.ground.partitions):
            await bus.ensure_stream(spec)
        yield made
