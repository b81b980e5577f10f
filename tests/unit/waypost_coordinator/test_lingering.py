from __future__ import annotations

from tests.unit.waypost_coordinator.rig import Parts
from waypost_coordinator.lingering import Lingering


async def test_what_lies_for_a_worker_that_is_gone_at_two_looks_is_removed(parts: Parts) -> None:
    """CORRECTNESS.md row 22."""
    alive = {"w1", "w2"}
    subjects, bus = parts.ground.subjects, parts.bus
    stream = subjects.stream("WORK")
    for worker in ("w1", "w1", "w2", "any"):
        await bus.publish(subjects.work("clerk", "b1", worker), b"1")
    lingering = Lingering(bus, subjects, alive.__contains__)
    assert [await lingering.look() for _ in range(3)] == [0, 0, 0]
    alive.remove("w1")
    assert await lingering.look() == 0, "another replica may still hear it"
    assert await lingering.look() == 2
    assert await bus.subjects(stream, subjects.all_work()) == {subjects.work("clerk", "b1", "w2"): 1, subjects.work("clerk", "b1"): 1}


async def test_a_worker_that_is_heard_again_keeps_its_messages(parts: Parts) -> None:
    alive: set[str] = set()
    subjects, bus = parts.ground.subjects, parts.bus
    await bus.publish(subjects.work("clerk", "b1", "w1"), b"1")
    lingering = Lingering(bus, subjects, alive.__contains__)
    assert await lingering.look() == 0
    alive.add("w1")
    assert await lingering.look() == 0
    alive.remove("w1")
    assert await lingering.look() == 0, "the looks without it must be in a row"
    assert await lingering.look() == 1
