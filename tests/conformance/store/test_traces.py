"""What the projection of traces reads, how far it has come, and how a search finds runs."""

from __future__ import annotations

import pytest

from tests.conformance.store.conftest import World
from tests.conformance.store.rows import Owner, new_run_id
from waypost_io.store.traces import RunsInTime, floor_of
from waypost_proto.errors import ConcurrencyError
from waypost_proto.ids import unix_ms_of


async def test_events_behind_the_cursors_come_in_order_and_bounded(me: Owner) -> None:
    traces = me.store.traces
    assert await traces.pending(10, 1_000_000) == []
    one, two = new_run_id(1), new_run_id(2)
    events = [me.event(one), me.event(one), me.event(two)]
    await me.commit(*events)
    assert await traces.behind() == {1: 2, 2: 1}
    found = await traces.pending(10, 1_000_000)
    assert [(e.partition, e.position, e.run_id, e.seq, e.type, e.body) for e in found] == [
        (e.partition, e.position, e.run_id, e.seq, e.type, e.body) for e in events
    ]
    assert [e.at_us for e in found] == [round(e.recorded_at * 1e6) for e in events]
    assert [e.position for e in await traces.pending(1, 1_000_000)] == [1, 1], "so many of each partition"
    assert [e.position for e in await traces.pending(10, 1)] == [1, 1], "the first is always taken, however large"


async def test_a_cursor_moves_only_from_where_it_is_believed_to_be(me: Owner, world: World) -> None:
    await me.commit(me.event(new_run_id(1)), me.event(new_run_id(2)))
    traces, other = me.store.traces, (await world.store()).traces
    await traces.move({1: (0, 1)})
    with pytest.raises(ConcurrencyError):
        await other.move({1: (0, 1), 2: (0, 1)})
    assert await other.cursors() == {1: 1}, "a refused move moves nothing"
    await other.move({2: (0, 1)})
    assert await traces.behind() == {}


async def test_skipping_begins_at_what_is_committed_and_keeps_what_was_begun(me: Owner) -> None:
    await me.commit(me.event(new_run_id(1)), me.event(new_run_id(2)))
    traces = me.store.traces
    await traces.move({1: (0, 0)})
    await traces.skip()
    assert await traces.cursors() == {0: 0, 1: 0, 2: 1, 3: 0}
    assert [e.partition for e in await traces.pending(10, 1_000_000)] == [1]


async def test_runs_are_found_by_time_and_open_ones_from_before(me: Owner) -> None:
    old_open, old_done = await me.run(partition=1), await me.run(partition=2, open=False, status="completed")
    started = unix_ms_of(old_done) / 1000
    traces = me.store.traces
    assert {run.run_id for run in await traces.runs(RunsInTime())} == {old_open, old_done}
    assert {run.run_id for run in await traces.runs(RunsInTime(started_from=started + 3_600))} == {old_open}
    assert await traces.runs(RunsInTime(started_until=started - 3_600)) == []
    assert {run.run_id for run in await traces.runs(RunsInTime(statuses=["completed"]))} == {old_done}
    assert len(await traces.runs(RunsInTime(limit=1))) == 1
    found = (await traces.runs(RunsInTime(agent="compliance", tenant="default")))[0]
    assert await traces.runs(RunsInTime(agent=found.agent + "x")) == []
    assert await traces.runs(RunsInTime(tenant="elsewhere")) == []


async def test_histories_of_several_runs_come_at_once(me: Owner) -> None:
    one, two = new_run_id(1), new_run_id(2)
    await me.commit(me.event(one), me.event(one), me.event(one), me.event(two))
    found = await me.store.traces.events_of([two, one], after=0, upto=2)
    assert [(e.run_id, e.seq) for e in found] == [(run, seq) for run in sorted((one, two)) for seq in ((1, 2) if run == one else (1,))]
    assert [(e.run_id, e.seq) for e in await me.store.traces.events_of([one], after=2, upto=9)] == [(one, 3)]


def test_floors_are_run_ids_of_their_moment() -> None:
    assert floor_of(1_700_000_000.123) == "018bcfe5-687b-0000-0000-000000000000"
    assert floor_of(-5) == "00000000-0000-0000-0000-000000000000"
