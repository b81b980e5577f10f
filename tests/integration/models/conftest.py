"""A provider on loopback, and the services with agents that ask it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.fake_provider import FakeProvider
from tests.integration.approvals.platform import Platform, platform
from waypost.client import Client

MODULE = Path(__file__).with_name("models_module.py")


@pytest.fixture(scope="module")
async def provider() -> AsyncIterator[FakeProvider]:
    async with FakeProvider() as running:
        yield running


@pytest.fixture(scope="module")
async def desk(
    provider: FakeProvider, tmp_path_factory: pytest.TempPathFactory, nats_url: str, postgres_url: str
) -> AsyncIterator[Platform]:
    path = tmp_path_factory.mktemp("models")
    urls = {"nats_url": nats_url, "postgres_url": postgres_url}
    async with platform(path, module=MODULE, FAKE_PROVIDER_URL=provider.url, **urls) as running:
        yield running


@pytest.fixture
async def client(desk: Platform) -> AsyncIterator[Client]:
    async with desk.client() as made:
        yield made
