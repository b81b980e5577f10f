"""Who lets runs go: only one that is much busier than its like, only what is above their mean, and not again before that shows."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.waypost_coordinator.rig import Parts
from tests.unit.waypost_coordinator.test_posting import run
from waypost_coordinator.balance import PAUSE_SECONDS, Balance, Load
from waypost_coordinator.batch import Batch
from waypost_coordinator.posting import Poster


def told(balance: Balance, *, share: float = 1.0, now: float = 0.0, like: str = "b1", **busy: int) -> int:
    """Everybody speaks, w1 last; how many may leave w1."""
    for worker in sorted(busy, reverse=True):
        leaving = balance.hear(worker, Load(like, busy[worker]), share=share, now=now)
    return leaving


@pytest.mark.parametrize(
    ("busy", "leaving"),
    [
        ({"w1": 40, "w2": 0}, 20),
        ({"w1": 40, "w2": 0, "w3": 20}, 20),
        ({"w1": 40, "w2": 36}, 0),  # near enough
        ({"w1": 3, "w2": 0}, 0),  # not worth a replay
        ({"w1": 40}, 0),  # nobody to go to
    ],
)
def test_how_many_leave(busy: Any, leaving: int) -> None:
    balance = Balance()
    assert told(balance, **busy) == leaving
    assert [balance.lets_go("w1") for _ in range(leaving + 2)] == [True] * leaving + [False, False]


def test_workers_of_other_builds_or_agents_take_nothing_over() -> None:
    balance = Balance()
    told(balance, like="b2", w2=0, w3=0)
    assert told(balance, w1=40) == 0
    assert not balance.lets_go("w1")
    told(balance, w2=0)  # it hosts what w1 hosts now
    assert told(balance, w1=40) == 20
    balance.forget("w1")
    balance.forget("w1")
    assert not balance.lets_go("w1")
    assert told(balance, w3=40) == 20, "w1 counts no more"


def test_each_replica_moves_its_part() -> None:
    assert told(Balance(), share=0.5, w1=40, w2=0) == 10
    idle = Balance()
    assert told(idle, share=0.0, w1=40, w2=0) == 0
    assert not idle.lets_go("w1")


def test_not_again_before_what_was_moved_can_show() -> None:
    balance = Balance()
    assert told(balance, w1=40, w2=0) == 20
    assert told(balance, w1=40, w2=0, now=PAUSE_SECONDS / 2) == 0
    assert balance.lets_go("w1"), "the first decision stands meanwhile"
    assert told(balance, w1=22, w2=18, now=PAUSE_SECONDS) == 0
    assert not balance.lets_go("w1"), "what was not used of it is void"


def test_a_newcomer_gets_its_part_within_a_few_decisions() -> None:
    """Half of what a worker lets go may come back to it: any worker takes it, itself as well."""
    balance = Balance()
    busy: Any = {"w1": 40, "w2": 0}
    for number in range(4):
        leaving = told(balance, now=number * PAUSE_SECONDS, **busy)
        moved = leaving // 2
        busy = {"w1": busy["w1"] - moved, "w2": busy["w2"] + moved}
    assert busy["w2"] >= 14, busy


@pytest.mark.parametrize(("running", "target"), [(0, "any"), (1, "w1")])
def test_a_run_whose_local_effect_is_under_way_stays(parts: Parts, running: int, target: str) -> None:
    poster = Poster(parts.ground, parts.hosts)  # type: ignore[arg-type]
    told(parts.hosts.balance, w1=40, w2=0)
    batch = Batch(letters=[])
    poster.activate(batch, run(worker="w1", build="b1", running=running), build="b1", epoch=1)
    assert batch.outgoing[0].subject == f"t.work.clerk.b1.{target}"
