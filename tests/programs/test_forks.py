"""Forks of random programs: the same end, and nothing executed, wherever they are forked and whatever becomes of their workers."""

from __future__ import annotations

import os
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from tests.programs import leaves, making
from tests.programs.forking import check_fork, check_forks, places
from tests.programs.hosts import Here
from tests.programs.tree import Program
from tests.programs.trouble import Crash
from tests.programs.world import World
from waypost_core.tape import Tape

SEED = int(os.environ.get("PROGRAMS_SEED", "1"))
TURNS = st.lists(st.sampled_from([0, 0, *(Crash.AFTER, Crash.TWICE, Crash.WIPE, Crash.ZOMBIE, Crash.BEFORE)]), max_size=12)


@seed(SEED)
@settings(max_examples=25, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(making.programs(), TURNS)
def test_a_fork_of_a_random_program_ends_as_its_source(program: Program, turns: list[int]) -> None:
    assert check_forks(program, turns, [Here()]) > 0


def test_an_answer_in_another_order_would_be_seen() -> None:
    program = Program(main=(leaves.Step(takes=1), leaves.Call("keep", takes=2), leaves.Call("keep", takes=1)))
    source = World(program).live()
    assert len(places(source)) > 2
    check_fork(source, 1)
    with mock.patch.object(Tape, "find", return_value=None), pytest.raises(AssertionError, match="paused"):
        check_fork(source, 1)
