"""One set of real services for forks of every kind of agent."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.chaos.stack import Stack, hosted, stack
from waypost.client import Client
from waypost_io.servers import EmbeddedPostgres

MODULES = [str(Path(__file__).with_name("fork_module.py")), str(Path(__file__).parents[2] / "chaos" / "thinking_module.py")]
COMMANDS = {
    "coordinator": ["-m", "waypost_coordinator"],
    "worker": ["-m", "waypost_worker", *MODULES],
    "gateway": ["-m", "waypost_gateway", *MODULES],
}


@pytest.fixture(scope="module")
async def services(
    tmp_path_factory: pytest.TempPathFactory, nats_url: str, postgres: EmbeddedPostgres, postgres_template: str
) -> AsyncIterator[Stack]:
    name = f"forks{uuid.uuid4().hex[:8]}"
    database = await postgres.create_database(name, template=postgres_template)
    async with stack(tmp_path_factory.mktemp("forks"), nats_url=nats_url, postgres_url=database, commands=COMMANDS) as running:
        async with running.client() as client:
            await hosted(client, seconds=60)
        yield running
    await postgres.drop_database(name)


@pytest.fixture
async def client(services: Stack) -> AsyncIterator[Client]:
    async with services.client() as made:
        yield made
