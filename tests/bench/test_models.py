"""The bench of model calls measures what it says; how much is for people to judge (ADR 0181)."""

from __future__ import annotations

from tests.bench import models


async def test_it_measures_both_ways() -> None:
    found = await models.measure(3, 0.0)
    assert found.calls == 3
    assert found.sdk_p50 > 0
    assert 0 < found.waypost_p50 <= found.waypost_p90
