"""Timers: a heap of what is due soon, by the database's clock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest

from tests.unit.waypost_coordinator.rig import Parts, Replica, Site, call, new_run
from tests.waiting import wait_until
from waypost_coordinator.timers import HORIZON_SECONDS, Timers
from waypost_core.messages import TimersDue
from waypost_io.store.ports import TimerRow
from waypost_proto import commands as cmd
from waypost_proto.ids import CallId, RunId
from waypost_proto.mailbox import Pause, Resume, ToolFailed
from waypost_proto.values import Budget, Failure

RUN = new_run(0)


class Ringer:
    """Timers over a standing clock; what they fired is in `fired`."""

    def __init__(self, parts: Parts) -> None:
        self.parts = parts
        self.fired: list[tuple[RunId, tuple[str, ...]]] = []
        self.timers = Timers(parts.store, parts.ground.clock, lambda run_id, _partition, ids: self.fired.append((run_id, ids)))

    def at(self, seconds: float, timer_id: str = "0:1", run_id: RunId = RUN, partition: int = 0) -> TimerRow:
        return TimerRow(run_id, timer_id, partition, self.parts.wall + seconds)

    def after(self, seconds: float) -> list[tuple[RunId, tuple[str, ...]]]:
        """What has fired when so many seconds have passed."""
        self.parts.pass_seconds(seconds)
        self.timers._fire_due()
        fired, self.fired = self.fired, []
        return fired


@pytest.fixture
def ringer(parts: Parts) -> Ringer:
    return Ringer(parts)


def test_a_timer_fires_once_and_not_early(ringer: Ringer) -> None:
    ringer.timers.set(ringer.at(5))
    assert ringer.after(4.9) == []
    assert ringer.after(0.2) == [(RUN, ("0:1",))]
    assert ringer.after(100) == []


def test_a_moved_timer_fires_at_its_new_time_only(ringer: Ringer) -> None:
    ringer.timers.set(ringer.at(5))
    ringer.timers.set(ringer.at(10))
    assert ringer.after(6) == []
    assert ringer.after(5) == [(RUN, ("0:1",))]
    ringer.timers.set(ringer.at(5))
    ringer.timers.set(ringer.at(1))
    assert ringer.after(2) == [(RUN, ("0:1",))]
    assert ringer.after(10) == []


def test_a_cleared_timer_and_those_of_lost_partitions_do_not_fire(ringer: Ringer) -> None:
    ringer.timers.set(ringer.at(1))
    ringer.timers.clear((RUN, "0:1"))
    ringer.timers.set(ringer.at(1, "0:2", new_run(1), partition=1))
    ringer.timers.drop([1])
    assert ringer.after(2) == []


def test_timers_of_one_run_that_are_due_together_fire_together(ringer: Ringer) -> None:
    ringer.timers.set(ringer.at(1, "a"))
    ringer.timers.set(ringer.at(2, "b"))
    assert ringer.after(3) == [(RUN, ("a", "b"))]


async def test_what_is_far_ahead_stays_in_the_database_until_a_look_ahead(ringer: Ringer) -> None:
    far = ringer.at(HORIZON_SECONDS + 10)
    ringer.parts.store.database.timers[RUN, "0:1"] = far
    ringer.timers.set(far)
    assert len(ringer.timers) == 0
    await ringer.timers.load([0])
    assert len(ringer.timers) == 0
    ringer.parts.pass_seconds(60)
    await ringer.timers.load([1])
    assert len(ringer.timers) == 0
    await ringer.timers.load([0])
    assert len(ringer.timers) == 1


async def test_a_near_timer_that_moves_far_is_no_longer_held_here(ringer: Ringer) -> None:
    ringer.timers.set(ringer.at(5))
    ringer.timers.set(ringer.at(HORIZON_SECONDS + 100))
    assert ringer.after(6) == []


async def test_the_due_timers_of_paused_runs_do_not_hide_others(ringer: Ringer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("waypost_coordinator.timers.PAGE", 2)
    for number in range(5):
        ringer.parts.store.database.timers[RUN, f"old{number}"] = ringer.at(-100, f"old{number}")
    ringer.parts.store.database.timers[RUN, "new"] = ringer.at(1, "new")
    await ringer.timers.load([0])
    fired = [timer_id for _, ids in ringer.after(2) for timer_id in ids]
    assert "new" in fired


async def test_a_coordinator_whose_clock_runs_ahead_fires_nothing_early(parts: Parts) -> None:
    """CORRECTNESS.md row 19: wall time is the database's; our own clock only counts seconds."""
    parts.ticks += 3_600.0  # this machine's clock, by itself
    ringer = Ringer(parts)
    parts.ground.clock.set(parts.wall, parts.ticks)  # taken at the renewal
    parts.store.database.timers[RUN, "0:1"] = TimerRow(RUN, "0:1", 0, parts.wall + 30)
    await ringer.timers.load([0])
    ringer.timers._fire_due()
    assert ringer.fired == []
    assert ringer.after(29) == []
    assert ringer.after(2) == [(RUN, ("0:1",))]


@pytest.fixture
async def running(parts: Parts) -> AsyncIterator[Ringer]:
    ringer = Ringer(parts)
    task = asyncio.ensure_future(ringer.timers.run(lambda: [0]))
    yield ringer
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def test_the_loop_wakes_for_a_timer_that_is_set_while_it_waits(running: Ringer) -> None:
    await asyncio.sleep(0)
    running.timers.set(running.at(-1))
    await wait_until(lambda: running.fired == [(RUN, ("0:1",))])


async def test_sleeps_and_deadlines_end_up_as_events(desk: Site, replica: Replica) -> None:
    run_id = await replica.start(deadline="PT0.3S")
    given = await desk.activation(run_id)
    fire_at = desk.database.clock() + 0.05
    await desk.advance(given, cmd.StartTimer(seen=given.upto, id=CallId("0:1"), fire_at=fire_at))
    await desk.until(run_id, "timer_fired")
    assert desk.events(run_id)[-1].recorded_at >= fire_at
    await desk.until(run_id, "run_failed")
    await wait_until(lambda: desk.database.timers == {}, message="a timer of a run that has ended is left")


async def test_wall_time_is_the_databases_also_in_the_log(desk: Site) -> None:
    """CORRECTNESS.md row 19."""
    desk.ahead = -3_600.0  # the database's clock is an hour behind ours
    async with desk.replica() as replica:
        await desk.hosts()
        run_id = await replica.start(deadline="PT60S")
        assert abs(desk.events(run_id)[0].recorded_at - desk.database.clock()) < 5
        desk.ahead = -7_200.0
        await wait_until(lambda: abs(replica.ground.clock.now() - desk.database.clock()) < 5, message="the offset is taken again")
        await replica.submit(Pause(run_id=run_id, request_id="p"))
        first, second = desk.events(run_id)
        assert second.recorded_at >= first.recorded_at, "recorded_at ran backwards"


async def test_a_timer_that_was_moved_while_its_letter_was_under_way_is_kept(desk: Site, replica: Replica) -> None:
    """A raised limit moves `max_seconds`; the old one's letter comes after the resume and must not clear the new one."""
    run_id = await replica.start(budget=Budget(max_seconds=0.2))
    await desk.until(run_id, "run_paused")
    assert (await replica.submit(Resume(run_id=run_id, request_id="r", budget=Budget(max_seconds=500)))).ok
    replica.coordinator._fire(run_id, replica.ground.partition(run_id), ("max_seconds",))
    replica.coordinator._fire(run_id, replica.ground.partition(run_id), ("nothing",))
    await wait_until(lambda: len(replica.ground.box) == 0 and not replica.log.waiting)
    assert (run_id, "max_seconds") in desk.database.timers
    assert desk.types(run_id)[-1] == "run_resumed"


async def test_a_retry_timer_that_comes_early_does_not_shorten_the_wait(desk: Site, replica: Replica) -> None:
    run_id = await replica.start()
    given = await desk.activation(run_id)
    await desk.advance(given, call("look", given))
    asked = await desk.call(run_id)
    error = Failure(type="Busy", message="later")
    await desk.mail(ToolFailed(run_id=run_id, call_id=asked.call_id, attempt=1, error=error, retry_after_seconds=300))
    await desk.until(run_id, "tool_attempt_failed")
    replica.ground.box.put(letter_of(replica, run_id, "0:1#retry"))
    await wait_until(lambda: len(replica.ground.box) == 0)
    await replica.submit(Pause(run_id=run_id, request_id="p"))
    assert "tool_call_dispatched" not in desk.types(run_id)
    assert (run_id, "0:1#retry") in desk.database.timers


def letter_of(replica: Replica, run_id: RunId, timer_id: str):  # type: ignore[no-untyped-def]
    from waypost_coordinator.letters import Letter

    return Letter(mail=TimersDue((timer_id,)), run_id=run_id, partition=replica.ground.partition(run_id))
