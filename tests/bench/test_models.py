"""The bench of model calls measures what it says; how much is for people to judge (ADR 0181)."""

from __future__ import annotations

import pytest

from tests.bench import models
from tests.bench.page import replaced


@pytest.mark.slow
async def test_it_measures_both_ways_in_turn() -> None:
    found = await models.measure(2, 2, 0.0)
    assert found.calls == 4
    assert found.sdk_p50 > 0
    assert 0 < found.waypost_p50 <= found.waypost_p90
    assert len(found.overheads) == 2
    assert {"worker", "coordinator", "gateway", "nats", "postgres"} == set(found.recorded[0].cpu_ms)
    assert "what Waypost adds" in models.as_text(found)
    text = replaced(models.PAGE.read_text(encoding="utf-8"), models.as_markdown([found]), models.MARKS)
    assert "| 0 s |" in text
