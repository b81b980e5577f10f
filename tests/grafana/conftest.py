from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.grafana.scenario import Site, at_work


@pytest.fixture(scope="session")
async def site() -> AsyncIterator[Site]:
    """One deployment for all tests here."""
    async with at_work() as found:
        yield found
