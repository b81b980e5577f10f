"""A history of a million characters does not make a turn of a reasoning run dearer: shown, not judged by the clock of a busy machine."""

from __future__ import annotations

from tests.bench.reasoning import Liver, measured, table


def test_the_cost_of_a_turn_along_a_million_characters() -> None:
    """Target: a ratio near 1 from the first line to the last."""
    points = measured()
    print(table(points))
    assert points[-1].history_chars >= 1_000_000
    assert max(point.context_chars for point in points) < 450_000, "the window bounds what a model is shown"


def test_what_is_held_is_bounded_by_the_window() -> None:
    liver = Liver()
    for _ in range(1_000):
        liver.turn()
    state = liver.execution.state
    assert liver.compactions >= 4
    assert len(state.dialogue.messages) < 450
    assert len(state.chosen) == 1
    assert state.notes == []
