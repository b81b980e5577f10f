"""The API on a real NATS server: its endpoints on one connection, clients on others."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.unit.waypost_coordinator.api.rig import Desk
from waypost.client import Client
from waypost_io.bus.jetstream import JetStreamBus
from waypost_io.bus.topology import stream_specs


@pytest.fixture
async def desk(nats_url: str, prefix: str) -> AsyncIterator[Desk]:
    """A desk with the streams of Waypost, so that its events reach whoever listens as in production."""
    async with JetStreamBus(nats_url, name="desk") as bus, Desk(bus, prefix) as desk:
        for spec in stream_specs(desk.subjects, partitions=1):
            await bus.ensure_stream(spec)
        yield desk


@pytest.fixture
async def client(nats_url: str, desk: Desk) -> AsyncIterator[Client]:
    async with Client(nats_url, prefix=desk.subjects.prefix, patience_seconds=10.0) as client:
        yield client
