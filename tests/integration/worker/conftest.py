"""Workers on real JetStream, opposite a scripted coordinator."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from tests.unit.waypost_worker.desk import Desk
from waypost_io.bus.jetstream import BusTuning, JetStreamBus
from waypost_io.servers import EmbeddedNats

QUICK = BusTuning(publish_timeout_seconds=1.0, pull_heartbeat_seconds=0.5, pull_expires_seconds=2.0, reconnect_seconds=0.05)


@pytest.fixture
async def desk(nats_url: str, prefix: str) -> AsyncIterator[Desk]:
    """On the session's server, in this test's process."""
    async with AsyncExitStack() as stack:
        bus = await stack.enter_async_context(JetStreamBus(nats_url, tuning=QUICK))
        yield await stack.enter_async_context(Desk(lambda: JetStreamBus(nats_url, tuning=QUICK), bus, prefix))


@pytest.fixture
async def own_desk(own_nats: EmbeddedNats) -> AsyncIterator[Desk]:
    """On a server of this test alone."""
    async with AsyncExitStack() as stack:
        bus = await stack.enter_async_context(JetStreamBus(own_nats.url, tuning=QUICK))
        yield await stack.enter_async_context(Desk(lambda: JetStreamBus(own_nats.url, tuning=QUICK), bus))
