"""The gateway's idea of the database's time, while its own wall clock is set to something else."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from waypost_gateway.clock import DatabaseClock
from waypost_io.store.ports import Leases
from waypost_proto.errors import Unreachable


class Machine:
    """A machine with a wall clock that can be set, and a database elsewhere; each answer takes two seconds."""

    def __init__(self) -> None:
        self.passed, self.wall_error, self.down = 0.0, -500.0, False

    def wall(self) -> float:
        return 1_000.0 + self.passed + self.wall_error

    def monotonic(self) -> float:
        return self.passed

    async def now(self) -> float:
        if self.down:
            raise Unreachable("no database")
        self.passed += 1.0
        answer = 1_000.0 + self.passed
        self.passed += 1.0
        return answer


async def test_it_shows_the_databases_time_whatever_happens_to_the_wall_clock() -> None:
    machine = Machine()
    clock = DatabaseClock(cast("Leases", cast("Any", SimpleNamespace(now=machine.now))), wall=machine.wall, monotonic=machine.monotonic)
    assert clock.now() == 500.0  # nothing better is known yet
    await clock.sync()
    assert clock.now() == 1_002.0
    machine.wall_error += 3_600
    machine.passed += 5
    assert clock.now() == 1_007.0
    machine.down = True
    with pytest.raises(Unreachable):
        await clock.sync()
    assert clock.now() == 1_007.0
