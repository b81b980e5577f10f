"""Who lets runs go: only one that is much busier than its like, only what is above their mean, and not again before that shows."""

from __future__ import annotations

import pytest

from tests.unit.waypost_coordinator.rig import Parts
from tests.unit.waypost_coordinator.test_posting import run
from waypost_coordinator.balance import PAUSE_SECONDS, Balance, Load
from waypost_coordinator.batch import Batch
from waypost_coordinator.posting import Poster


def loads(like: str = "b1", **busy: int) -> dict[str, Load]:
    return {worker: Load(like, count) for worker, count in busy.items()}


@pytest.mark.parametrize(
    ("busy", "leaving"),
    [
        ({"w1": 40, "w2": 0}, 20),
        ({"w1": 40, "w2": 0, "w3": 20}, 20),
        ({"w1": 40, "w2": 36}, 0),  # near enough
        ({"w1": 3, "w2": 0}, 0),  # not worth a replay
        ({"w1": 40}, 0),  # nobody to go to
        ({"w2": 40}, 0),  # it is leaving, and takes no work anyway
    ],
)
def test_how_many_leave(busy: dict[str, int], leaving: int) -> None:
    balance = Balance()
    assert balance.decide("w1", loads(**busy), share=1.0, now=0.0) == leaving
    assert [balance.lets_go("w1") for _ in range(leaving + 2)] == [True] * leaving + [False, False]


def test_workers_of_other_builds_or_agents_take_nothing_over() -> None:
    balance = Balance()
    found = {**loads("b1", w1=40), **loads("b2", w2=0, w3=0)}
    assert balance.decide("w1", found, share=1.0, now=0.0) == 0
    assert not balance.lets_go("w1")


def test_each_replica_moves_its_part() -> None:
    assert Balance().decide("w1", loads(w1=40, w2=0), share=0.5, now=0.0) == 10
    assert Balance().decide("w1", loads(w1=40, w2=0), share=0.0, now=0.0) == 0


def test_not_again_before_what_was_moved_can_show() -> None:
    balance = Balance()
    assert balance.decide("w1", loads(w1=40, w2=0), share=1.0, now=0.0) == 20
    assert balance.decide("w1", loads(w1=40, w2=0), share=1.0, now=PAUSE_SECONDS / 2) == 0
    assert balance.lets_go("w1"), "the first decision stands meanwhile"
    assert balance.decide("w1", loads(w1=22, w2=18), share=1.0, now=PAUSE_SECONDS) == 0
    assert not balance.lets_go("w1"), "what was not used of it is void"


def test_a_newcomer_gets_its_part_within_a_few_decisions() -> None:
    """Half of what a worker lets go may come back to it: any worker takes it, itself as well."""
    balance, busy = Balance(), {"w1": 40, "w2": 0}
    for number in range(4):
        leaving = balance.decide("w1", loads(**busy), share=1.0, now=number * PAUSE_SECONDS)
        moved = leaving // 2
        busy = {"w1": busy["w1"] - moved, "w2": busy["w2"] + moved}
    assert busy["w2"] >= 14, busy


@pytest.mark.parametrize(("running", "target"), [(0, "any"), (1, "w1")])
def test_a_run_whose_local_effect_is_under_way_stays(parts: Parts, running: int, target: str) -> None:
    poster = Poster(parts.ground, parts.hosts)  # type: ignore[arg-type]
    parts.hosts.balance.decide("w1", loads(w1=40, w2=0), share=1.0, now=0.0)
    batch = Batch(letters=[])
    poster.activate(batch, run(worker="w1", build="b1", running=running), build="b1", epoch=1)
    assert batch.outgoing[0].subject == f"t.work.clerk.b1.{target}"
