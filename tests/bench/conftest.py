"""The platform once for all tests of the bench: starting it takes seconds."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.bench.driver import Driver
from tests.bench.measuring import MEASURED
from tests.bench.platform import Waypost, waypost


@pytest.fixture(scope="session")
async def platform(server_dir: Path) -> AsyncIterator[Waypost]:
    async with waypost(server_dir / "bench", MEASURED) as running:
        yield running


@pytest.fixture(scope="session")
async def driver(platform: Waypost) -> AsyncIterator[Driver]:
    async with Driver(platform.nats.url, platform.side.prefix) as connected:
        yield connected
