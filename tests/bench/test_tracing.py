"""The bench of tracing measures what it says, in every mode; how much is for people to judge (ADR 0181)."""

from __future__ import annotations

import pytest

from tests.bench.tracing import MODES, Cost, as_text, measure


def test_the_table_says_what_each_mode_adds_and_where() -> None:
    parts = {"neither": {"worker": 0.6}, "audit": {"worker": 0.6, "audit": 0.06}, "audit and traces": {"worker": 0.6, "audit": 0.12}}
    found = [Cost(mode=mode, cpu_ms=parts[mode]) for mode in MODES]
    head, neither, audit, both = as_text(found).splitlines()
    assert head.split()[-2:] == ["audit", "worker"]
    assert neither.split() == ["neither", "0.600", "0.0%", "0.000", "0.600"]
    assert audit.split()[-4:] == ["0.660", "10.0%", "0.060", "0.600"]
    assert both.split()[-4:] == ["0.720", "20.0%", "0.120", "0.600"]


@pytest.mark.slow
async def test_every_mode_runs_and_is_attributed() -> None:
    said: list[str] = []
    found = await measure(rounds=1, runs=4, in_flight=4, steps=2, on_progress=said.append)
    assert [cost.mode for cost in found] == list(MODES)
    assert len(said) == len(MODES)
    assert ["audit" in cost.cpu_ms for cost in found] == [False, True, True]
    assert all(cost.total > 0 for cost in found)
