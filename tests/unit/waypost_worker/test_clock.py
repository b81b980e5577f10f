"""The worker's time is the database's, however wrong its own wall clock is (CORRECTNESS.md row 19, for workers)."""

from __future__ import annotations

from waypost_worker.clock import DatabaseTime


class Ticks:
    def __init__(self) -> None:
        self.at = 50.0

    def __call__(self) -> float:
        return self.at


def test_a_wrong_wall_clock_does_not_matter_once_something_was_learned() -> None:
    ticks = Ticks()
    clock = DatabaseTime(ticks, wall=lambda: 9_999_999.0)
    assert clock() == 9_999_999.0
    clock.learn(1_000.0)
    ticks.at += 5
    assert clock() == 1_005.0


def test_what_waited_in_a_queue_does_not_set_the_clock_back_and_nothing_sets_it_ahead() -> None:
    ticks = Ticks()
    clock = DatabaseTime(ticks)
    clock.learn(1_000.0)
    ticks.at += 60
    clock.learn(1_010.0)  # it lay in the stream for 50 seconds
    assert clock() == 1_060.0
    clock.learn(0.0)  # a coordinator that does not say
    assert clock() == 1_060.0
