"""One deployment of real processes for the tests of this folder, and plain nats-py beside it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import nats
import pytest
from nats.aio.client import Client as NatsClient

from tests.chaos.stack import Stack, hosted, stack
from tests.integration.coordinator.outside import Outside
from waypost.client import Client
from waypost_io.store.postgres import PostgresStore


@pytest.fixture(scope="module")
async def services(tmp_path_factory: pytest.TempPathFactory, nats_url: str, postgres_url: str) -> AsyncIterator[Stack]:
    """Coordinator, worker and gateway, known to each other."""
    async with stack(tmp_path_factory.mktemp("services"), nats_url=nats_url, postgres_url=postgres_url) as made:
        async with made.client() as client:
            await hosted(client)
        yield made


@pytest.fixture
async def client(services: Stack) -> AsyncIterator[Client]:
    async with services.client() as made:
        yield made


@pytest.fixture
async def store(postgres_url: str) -> AsyncIterator[PostgresStore]:
    async with PostgresStore(postgres_url) as made:
        yield made


@pytest.fixture
async def plain(nats_url: str) -> AsyncIterator[NatsClient]:
    """A connection of nats-py, as anybody has it."""
    connection = await nats.connect(nats_url, allow_reconnect=False)
    yield connection
    await connection.close()


@pytest.fixture
async def outside(services: Stack, plain: NatsClient, store: PostgresStore) -> AsyncIterator[Outside]:
    async with Outside(services.environment["WAYPOST_PREFIX"], plain, store) as made:
        yield made
