"""A provider on loopback, and rules under which tools may reach it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.unit.waypost.http.provider import Provider
from waypost.http import Egress

LOOPBACK = Egress(allow=["127.0.0.0/8"])


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    async with Provider() as server:
        yield server
