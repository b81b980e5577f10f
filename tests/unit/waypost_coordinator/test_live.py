"""Runs in memory: loaded from their row, folded anew where the row is of another version, trimmed, and never confused."""

from __future__ import annotations

import gc
import sys
from dataclasses import replace

import pytest

from tests.unit.waypost_coordinator.rig import Parts, Replica, Site, new_run
from waypost_coordinator.live import LiveRun, Runs
from waypost_core.state import RunState
from waypost_proto import commands as cmd
from waypost_proto.errors import Unreachable
from waypost_proto.ids import CallId, RunId
from waypost_proto.mailbox import Signal
from waypost_proto.values import RunStatus


def live(run_id: RunId, *, seen: int = 0, outside: int = 0, delivered: int = 0) -> LiveRun:
    return LiveRun(state=RunState(run_id=run_id, agent="clerk", seen=seen, outside=outside), partition=0, delivered=delivered)


async def signalled(replica: Replica, times: int = 3) -> RunId:
    run_id = await replica.start()
    for number in range(times):
        await replica.submit(Signal(run_id=run_id, request_id=f"s{number}", name="go"))
    return run_id


async def test_a_run_comes_back_as_it_was(desk: Site, replica: Replica) -> None:
    run_id = await signalled(replica)
    before = replica.ground.runs.get(run_id)
    assert before is not None
    runs = Runs(replica.store, 10)
    assert await runs.load([run_id, new_run()]) == {}
    after = runs.get(run_id)
    assert after is not None
    assert after.state == before.state
    assert [entry.seq for entry in after.unread] == [entry.seq for entry in before.unread] == [1, 2, 3, 4]
    assert (after.delivered, after.sure) == (4, False)


async def test_a_state_of_another_version_is_folded_from_the_log(desk: Site, replica: Replica) -> None:
    run_id = await signalled(replica)
    row = desk.database.runs[run_id]
    for stale in (replace(row, state_version=row.state_version + 1), replace(row, state=b"[]"), replace(row, seq=row.seq + 1)):
        desk.database.runs[run_id] = stale
        runs = Runs(replica.store, 10)
        assert await runs.load([run_id]) == {}
        found, cached = runs.get(run_id), replica.ground.runs.get(run_id)
        assert found is not None
        assert cached is not None
        assert (found.state.signals, found.state.seq, found.state.outside) == ({"go": 3}, 4, 4)
        assert found.state.input_digest == cached.state.input_digest


async def test_a_run_that_cannot_be_read_is_named_and_the_others_are_loaded(desk: Site, replica: Replica) -> None:
    broken, healthy = await signalled(replica), await signalled(replica)
    desk.database.runs[broken] = replace(desk.database.runs[broken], state=b"{")
    desk.database.events[broken] = {}
    runs = Runs(replica.store, 10)
    assert list(await runs.load([broken, healthy])) == [broken]
    assert runs.get(broken) is None
    assert runs.get(healthy) is not None


async def test_without_the_database_nothing_is_loaded(parts: Parts) -> None:
    parts.store.database.down = True
    with pytest.raises(Unreachable):
        await parts.ground.runs.load([new_run()])


def test_trimming_drops_the_longest_unused_but_nothing_that_is_needed(parts: Parts) -> None:
    runs = Runs(parts.store, 2)
    waiting_its_turn = live(new_run(), outside=5, delivered=3)
    delivered = live(new_run(), outside=5, delivered=5)
    uncommitted, idle = live(new_run()), live(new_run())
    for each in (waiting_its_turn, delivered, uncommitted, idle):
        runs.add(each)
    runs.trim(keep={uncommitted.state.run_id})
    assert runs.get(waiting_its_turn.state.run_id) is waiting_its_turn
    assert runs.get(uncommitted.state.run_id) is uncommitted
    assert runs.get(delivered.state.run_id) is None
    assert len(runs) == 2


async def test_a_cached_run_that_is_used_again_is_the_last_to_go(parts: Parts) -> None:
    runs = Runs(parts.store, 1)
    first, second = live(new_run()), live(new_run())
    runs.add(first)
    runs.add(second)
    await runs.load([first.state.run_id])
    runs.trim()
    assert runs.get(first.state.run_id) is first
    assert runs.get(second.state.run_id) is None


def test_what_the_worker_has_read_is_forgotten(parts: Parts) -> None:
    from msgspec import Raw

    from waypost_proto.work import Entry

    run = live(new_run())
    run.unread = [Entry(seq=seq, type="x", at=0.0, data=Raw(b"{}")) for seq in (1, 3, 4)]
    run.read_up_to(3)
    assert [entry.seq for entry in run.unread] == [4]
    run.read_up_to(2)
    assert [entry.seq for entry in run.unread] == [4]


def test_the_runs_of_lost_partitions_are_forgotten(parts: Parts) -> None:
    runs = Runs(parts.store, 10)
    ours, theirs = live(new_run()), live(new_run())
    theirs.partition = 1
    runs.add(ours)
    runs.add(theirs)
    runs.drop_partitions([1])
    assert runs.get(ours.state.run_id) is ours
    assert runs.get(theirs.state.run_id) is None


def _own(live: LiveRun, common: dict[int, object]) -> dict[int, object]:
    """What is reachable from a run and not in `common`, by identity."""
    found: dict[int, object] = {}
    left: list[object] = [live]
    while left:
        each = left.pop()
        if (
            id(each) in common
            or id(each) in found
            or each is None
            or isinstance(each, type | bool)
            or (isinstance(each, int) and each < 257)
        ):
            continue
        found[id(each)] = each
        left.extend(gc.get_referents(each))
    return found


async def test_a_run_that_waits_takes_less_memory_than_two_kibibytes(desk: Site, replica: Replica) -> None:
    """A coordinator holds tens of thousands of them. What is common to many runs is held once."""
    await desk.hosts()
    run_ids = [await replica.start(), await replica.start()]
    for run_id in run_ids:
        given = await desk.activation(run_id)
        await desk.advance(given, cmd.AwaitSignal(seen=given.upto, id=CallId("0:1"), name="go-on-please"))
        await desk.until(run_id, "signal_awaited")
    other, run = (replica.ground.runs.get(run_id) for run_id in run_ids)
    assert other is not None
    assert run is not None
    assert run.state.status == RunStatus.WAITING
    sizes = [(sys.getsizeof(each), type(each).__name__, repr(each)[:40]) for each in _own(run, _own(other, {})).values()]
    assert 1_000 < sum(size for size, *_ in sizes) < 1_800, sorted(
        sizes
    )  # with the cache's entry and what an allocator rounds up to, under two
