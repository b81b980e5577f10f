"""The bench of breakers measures what it says; how much is for people to judge (ADR 0181)."""

from __future__ import annotations

import pytest

from tests.bench import breaker


@pytest.mark.slow
async def test_it_finds_the_failure_that_tripped_and_what_began_after_it() -> None:
    found = await breaker.measure(1)
    assert len(found.same) == len(found.others_ms) == 1
    assert found.same[0] < breaker.RUNS, "every run tried again: nothing was stopped"
    assert found.others_ms[0] >= 0
