"""Databases that nobody has migrated yet."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator

import pytest

from waypost_io.servers import EmbeddedPostgres


@pytest.fixture
async def empty_url(postgres: EmbeddedPostgres) -> AsyncIterator[str]:
    """URL of an empty database of this test."""
    name = f"e{uuid.uuid4().hex[:12]}"
    yield await postgres.create_database(name)
    await postgres.drop_database(name)


@pytest.fixture
async def other_empty_url(postgres: EmbeddedPostgres) -> AsyncIterator[str]:
    """URL of a second empty database."""
    name = f"e{uuid.uuid4().hex[:12]}"
    yield await postgres.create_database(name)
    await postgres.drop_database(name)
