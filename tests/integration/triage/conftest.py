"""A database of its own for the triage example."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator

import pytest

from waypost_io.servers import EmbeddedPostgres


@pytest.fixture
async def database(postgres: EmbeddedPostgres, postgres_template: str) -> AsyncIterator[str]:
    """URL of a migrated database of this test."""
    name = f"c{uuid.uuid4().hex[:12]}"
    yield await postgres.create_database(name, template=postgres_template)
    await postgres.drop_database(name)
