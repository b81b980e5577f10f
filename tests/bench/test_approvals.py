"""The bench of approvals measures what it says; how much is for people to judge (ADR 0181)."""

from __future__ import annotations

import pytest

from tests.bench import approvals


@pytest.mark.slow
async def test_it_measures_and_the_next_step_comes_after_the_answer() -> None:
    found = await approvals.measure(3)
    assert found.runs == 3
    assert 0 < found.next_step_p50 <= found.next_step_p99
