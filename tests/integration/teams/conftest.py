"""The teams of the examples on real services, one set for all tests."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.chaos.stack import Stack, hosted, stack
from waypost.client import Client
from waypost_io.servers import EmbeddedPostgres

MODULE = "waypost_examples.teams"
COMMANDS = {
    "coordinator": ["-m", "waypost_coordinator"],
    "worker": ["-m", "waypost_worker", MODULE],
    "gateway": ["-m", "waypost_gateway", MODULE],
}
OFFLINE = {"OPENAI_API_KEY": "", "ANTHROPIC_API_KEY": "", "WAYPOST_COORDINATOR_LEASE_SECONDS": "4"}


@pytest.fixture(scope="module")
async def services(
    tmp_path_factory: pytest.TempPathFactory, nats_url: str, postgres: EmbeddedPostgres, postgres_template: str
) -> AsyncIterator[Stack]:
    name = f"teams{uuid.uuid4().hex[:8]}"
    database = await postgres.create_database(name, template=postgres_template)
    folder: Path = tmp_path_factory.mktemp("teams")
    async with stack(folder, nats_url=nats_url, postgres_url=database, commands=COMMANDS, environment=OFFLINE) as running:
        async with running.client() as client:
            await hosted(client)
        yield running
    await postgres.drop_database(name)


@pytest.fixture
async def client(services: Stack) -> AsyncIterator[Client]:
    async with services.client() as made:
        yield made
