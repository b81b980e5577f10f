"""The gauges of the whole system, over a bus and a store in memory with scripted peers."""

from __future__ import annotations

import pytest

from tests.unit.waypost_coordinator import rig
from tests.unit.waypost_coordinator.rig import Replica
from tests.waiting import wait_until
from waypost_coordinator import overview
from waypost_coordinator.overview import SystemOverview, waiting_in
from waypost_io.bus.ports import ConsumerLoad, StreamLoad
from waypost_io.metrics import Metrics
from waypost_proto.subjects import Subjects


def watching(replica: Replica) -> tuple[SystemOverview, Metrics]:
    """A second set of gauges beside the replica's own, which looks when it is told to."""
    metrics = Metrics()
    return SystemOverview(replica.ground, replica.coordinator._registry, metrics), metrics


def shown(metrics: Metrics, *names: str) -> dict[tuple[str, ...], float]:
    return {
        (family.name, *values): series.value  # type: ignore[union-attr]
        for family in metrics.families()
        if not names or family.name in names
        for values, series in family.series()
    }


async def test_runs_and_queues_are_shown_and_go_again() -> None:
    async with rig.site() as site, site.replica() as replica:
        await site.hosts()
        seen, metrics = watching(replica)
        runs = [await replica.start(partition) for partition in (0, 1)]
        await site.activation(runs[0])
        await wait_until(lambda: runs[1] in replica.ground.runs._runs)
        await seen.look()
        found = shown(metrics)
        assert sum(value for key, value in found.items() if key[:2] == ("waypost_runs", "clerk")) == 2
        assert found["waypost_stream_messages", "WORK"] >= 1
        assert found["waypost_queue_pending", "MAILBOX", "0"] == 0
        assert found["waypost_stream_max_bytes", "MAILBOX"] > 1e6
        assert found["waypost_peers", "worker"] == 1
        assert found["waypost_overview_timestamp_seconds",] > 1e9


async def test_a_replica_counts_its_own_partitions_and_one_of_them_the_queues() -> None:
    async with rig.site() as site, site.replica() as first:
        await site.hosts()
        for partition in (0, 1):
            await first.start(partition)
        async with site.replica() as second:
            await wait_until(lambda: len(first.ground.epochs) == len(second.ground.epochs) == 1)
            both = [watching(replica) for replica in (first, second)]
            for seen, _ in both:
                await seen.look()
            counts = [shown(metrics, "waypost_runs") for _, metrics in both]
            assert [sum(count.values()) for count in counts] == [1, 1]
            assert [bool(shown(metrics, "waypost_queue_pending")) for _, metrics in both].count(True) == 1


async def test_looks_become_rare_when_they_take_long(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    now = 0.0

    class Stop(Exception):
        pass

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            raise Stop

    async with rig.site() as site, site.replica() as replica:
        seen, _ = watching(replica)
        took = iter((0.001, 0.05, 2.0))

        async def look() -> None:
            nonlocal now
            now += next(took)

        monkeypatch.setattr(overview.asyncio, "sleep", sleep)
        monkeypatch.setattr(seen, "look", look)
        monkeypatch.setattr(replica.ground.clock, "monotonic", lambda: now)
        try:
            with pytest.raises(Stop):
                await seen.run()
        finally:
            monkeypatch.undo()
    assert slept == [10.0, 10.0, pytest.approx(200.0)]


def test_queues_are_named_after_what_waits_in_them() -> None:
    subjects = Subjects("t")
    filters = [
        subjects.work("clerk", "b1"),
        subjects.work("clerk", "b2"),
        subjects.work("*", "*", "w1"),
        subjects.work("*", "*", "w2"),
        subjects.tool("pay"),
        subjects.mail_partition(3),
        subjects.all_tasks(),
    ]
    consumers = tuple(ConsumerLoad(name=f"c{n}", filter_subject=each, pending=n, unacked=1) for n, each in enumerate(filters))
    load = StreamLoad(name="X", messages=0, bytes=0, max_bytes=0, consumers=consumers)
    assert waiting_in(subjects, load) == {"clerk": (1, 2), "sticky": (5, 2), "pay": (4, 1), "3": (5, 1), "c6": (6, 1)}
