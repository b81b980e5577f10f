"""A rig on real servers, and real gateway processes."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest

from tests.unit.waypost_gateway.rig import Rig
from waypost_io.bus.jetstream import JetStreamBus
from waypost_io.store.postgres import PostgresStore


@pytest.fixture
async def rig(nats_url: str, postgres_url: str, prefix: str) -> AsyncIterator[Rig]:
    async with JetStreamBus(nats_url, name="rig") as bus, PostgresStore(postgres_url) as store:

        async def count() -> int:
            """How many messages the tool stream holds."""
            answer = await bus.request(f"$JS.API.STREAM.INFO.{prefix.upper()}_TOOLS", b"")
            return int(json.loads(answer.body)["state"]["messages"])

        async with Rig(bus, store, count, prefix=prefix) as rig:
            yield rig
