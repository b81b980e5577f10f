"""Databases and services for crash tests: partitions and leases must not be shared with other tests' services."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator

import pytest

from tests.chaos.stack import Stack, hosted, stack
from waypost.client import Client
from waypost_io.servers import EmbeddedPostgres


@pytest.fixture
async def database(postgres: EmbeddedPostgres, postgres_template: str) -> AsyncIterator[str]:
    """URL of a migrated database of this test."""
    name = f"c{uuid.uuid4().hex[:12]}"
    yield await postgres.create_database(name, template=postgres_template)
    await postgres.drop_database(name)


@pytest.fixture(scope="module")
async def _services_of_the_module(tmp_path_factory: pytest.TempPathFactory, nats_url: str, postgres_url: str) -> AsyncIterator[Stack]:
    async with stack(tmp_path_factory.mktemp("services"), nats_url=nats_url, postgres_url=postgres_url) as made:
        yield made


@pytest.fixture
async def services(_services_of_the_module: Stack) -> Stack:
    """All three services, kept for the next test of the module: a kill costs the start of one process, not of three.

    Each test finds all of them running. Runs of the tests before are in the database, and have ended unless their test failed.
    """
    await _services_of_the_module.renew()
    return _services_of_the_module


@pytest.fixture
async def client(services: Stack) -> AsyncIterator[Client]:
    """A client of them; a worker and a gateway are known."""
    async with services.client() as made:
        await hosted(made)
        yield made
