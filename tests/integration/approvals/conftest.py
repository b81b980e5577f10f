"""One deployment whose callers are authenticated: two coordinators, so that decisions also travel between replicas."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.integration.approvals.platform import Platform, platform

PEOPLE = {
    "sam": ["submitter", "officer"],
    "ann": ["officer"],
    "bob": ["officer"],
    "dora": ["director"],
    "olga": ["operator"],
    "clara": ["clerk"],
}


@pytest.fixture(scope="module")
async def desk(tmp_path_factory: pytest.TempPathFactory, nats_url: str, postgres_url: str) -> AsyncIterator[Platform]:
    path = tmp_path_factory.mktemp("approvals")
    async with platform(path, nats_url=nats_url, postgres_url=postgres_url, people=PEOPLE, coordinators=2) as running:
        yield running
