"""The sweep: what nobody reports is noticed, and the work derived again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from typing import Any

import msgspec
import pytest
from msgspec import Raw

from tests.unit.waypost_coordinator.rig import AGENT, LOOK, PARTITIONS, PAY, SUBJECTS, Parts, Replica, Site, call, complete, site
from tests.waiting import wait_until
from waypost_coordinator.letters import Letter, Tally
from waypost_coordinator.sweep import GENERATION, Sweep
from waypost_coordinator.takeover import TakeOver
from waypost_io.bus.ports import StreamMark
from waypost_io.bus.topology import stream_specs
from waypost_io.store.ports import Lease
from waypost_proto import commands as cmd
from waypost_proto.ids import CallId, child_run_id
from waypost_proto.mailbox import Cancel, ChildEnded, Pause, ToolSucceeded
from waypost_proto.registry import Announce
from waypost_proto.values import RunStatus


async def test_after_a_wipe_everything_outstanding_is_dispatched_again_under_new_tokens(desk: Site, replica: Replica) -> None:
    """CORRECTNESS.md rows 2, 13 and 16."""
    waiting, paused = await replica.start(), await replica.start()
    given = await desk.activation(waiting)
    old = await desk.activation(paused)
    await replica.submit(Pause(run_id=paused, request_id="p"))
    await desk.advance(given, call("look", given), call("pay", given, "0:2"))
    await desk.call(waiting, 2)
    desk.broker.wipe()
    again = {(await desk.call(waiting, n)).call_id for n in (1, 2)}
    assert again == {"0:1", "0:2"}
    assert all(asked.emission > 0 for asked in desk.calls(waiting))
    assert desk.activations(paused) == []
    for asked in desk.calls(waiting):
        await desk.succeed(asked)
    second = await desk.activation(waiting)
    assert second.token != given.token
    assert old.run_id == paused
    await desk.advance(second, complete(second))
    await desk.until(waiting, "run_completed")


async def test_a_wipe_while_nobody_owned_the_partition_is_noticed(desk: Site) -> None:
    """CORRECTNESS.md row 16: the marks are kept per partition, and a round must not overwrite them before they were compared."""
    async with desk.replica() as first:
        await desk.hosts()
        run_id = await first.start()
        given = await desk.activation(run_id)
        await desk.advance(given, call("look", given))
        await desk.call(run_id)
        await wait_until(lambda: f"T_TOOLS@{first.ground.partition(run_id)}" in desk.database.streams)
    desk.broker.wipe()
    async with desk.replica() as second:
        await second.start()
        assert (await desk.call(run_id)).call_id == "0:1"


async def test_a_round_leaves_marks_alone_that_were_not_compared_yet(parts: Parts) -> None:
    """CORRECTNESS.md row 16: the sweep's round runs while a partition is being taken over."""
    specs = stream_specs(parts.ground.subjects, partitions=PARTITIONS)
    takeover = TakeOver(parts.ground, None)  # type: ignore[arg-type]
    sweep = Sweep(parts.ground, takeover, specs, 1.0)
    before = {"T_WORK@0": ("another stream", 5)}
    await parts.store.streams.save(before)
    await sweep._round()
    assert await parts.store.streams.load() == before
    await sweep.gained(0)
    await sweep._round()
    assert (await parts.store.streams.load())["T_WORK@0"] != before["T_WORK@0"]


async def test_a_wipe_before_a_partition_was_ever_compared_is_noticed(parts: Parts) -> None:
    """CORRECTNESS.md row 16: its first owner decides for it while JetStream hangs, and the streams that it finds then are others."""
    sweep = watched(parts)
    await sweep.start()
    await sweep.expect(0)
    parts.bus.broker.wipe()
    await sweep.gained(0)
    assert sweep.derived == [0]


async def test_what_is_known_of_a_partitions_streams_stays_when_somebody_else_takes_it_over(parts: Parts) -> None:
    """CORRECTNESS.md row 16: a wipe that its former owner did not live to see."""
    first, second = watched(parts), watched(parts)
    await first.start()
    await first.expect(0)
    await first.gained(0)
    parts.bus.broker.wipe()
    await second.start()
    await second.expect(0)
    await second.gained(0)
    assert (first.derived, second.derived) == ([], [0])


async def test_marks_are_stored_before_anything_is_published_for_a_partition(desk: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    found: dict[int, set[str]] = {}
    take_over = TakeOver.take_over

    async def noted(self: TakeOver, lease: Lease) -> list[Letter]:
        found[lease.partition] = {name for name in desk.database.streams if name.endswith(f"@{lease.partition}")}
        return await take_over(self, lease)

    monkeypatch.setattr(TakeOver, "take_over", noted)
    async with desk.replica():
        pass
    names = [GENERATION, *(spec.name for spec in stream_specs(SUBJECTS, partitions=PARTITIONS))]
    assert found == {partition: {f"{name}@{partition}" for name in names} for partition in range(PARTITIONS)}


async def test_a_stream_restored_from_an_old_copy_is_noticed(desk: Site, replica: Replica) -> None:
    """CORRECTNESS.md row 16: the same creation time, a smaller last sequence."""
    run_id = await replica.start()
    await desk.activation(run_id)
    partition = replica.ground.partition(run_id)
    await wait_until(lambda: desk.database.streams.get(f"T_WORK@{partition}", ("", 0))[1] == 1)
    stream = desk.broker.streams["T_WORK"]
    stream.purge(None)
    stream._last_seq = 0
    stream._ids.clear()
    await desk.activation(run_id)


async def test_a_stream_that_lost_only_what_was_stored_since_the_last_round_is_noticed(parts: Parts) -> None:
    """CORRECTNESS.md row 16: its last sequence is above the mark, and below what it has confirmed to us."""
    sweep = await swept(parts)
    parts.bus.broker.streams["T_WORK"]._last_seq = 7
    await sweep._round()
    parts.ground.stored["T_WORK"] = 12
    parts.bus.broker.streams["T_WORK"]._last_seq = 9
    await sweep._round()
    assert (await parts.store.streams.load()).get(GENERATION) is not None
    assert sweep.derived == [0]


async def test_a_stream_that_has_grown_past_the_marks_again_is_noticed_by_all_once_one_replica_has_seen_it(parts: Parts) -> None:
    """CORRECTNESS.md row 16: what the one that noticed it derives takes the stream past the marks of the others."""
    sweep = await swept(parts)
    await parts.store.streams.save({GENERATION: ("of the replica that saw it", 0)})
    await sweep._round()
    assert sweep.derived == [0]
    await sweep._round()
    await sweep._round()
    assert sweep.derived == [0], "once"


async def test_a_partition_that_comes_during_a_round_is_not_taken_for_a_wipe(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its former owner saved marks that are newer than those that the round has just asked for."""
    sweep = await swept(parts)
    parts.ground.epochs[1] = 1
    await sweep.gained(1)
    ask, asked, go_on = parts.bus.stream_mark, asyncio.Event(), asyncio.Event()

    async def answered_late(name: str) -> StreamMark | None:
        found = await ask(name)
        if name == SUBJECTS.stream("WORK") and not asked.is_set():
            asked.set()
            await go_on.wait()
        return found

    monkeypatch.setattr(parts.bus, "stream_mark", answered_late)
    round_ = asyncio.ensure_future(sweep._round())
    await asked.wait()
    await parts.bus.publish(SUBJECTS.work("clerk", "b1", "any"), b"{}")
    marks = {spec.name: await ask(spec.name) for spec in sweep._specs}
    await parts.store.streams.save({f"{name}@1": (mark.created, mark.last_seq) for name, mark in marks.items() if mark is not None})
    gained = asyncio.ensure_future(sweep.gained(1))
    for _ in range(100):  # everything is in memory: so many turns are enough for it to have seen the newer marks
        await asyncio.sleep(0)
    go_on.set()
    await asyncio.gather(round_, gained)
    assert sweep.derived == []


class WatchedSweep(Sweep):
    """Notes which partitions it derives again."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.derived: list[int] = []

    async def _derive(self, partitions: Iterable[int], tally: Tally | None = None) -> int:
        self.derived += partitions
        return 0


def watched(parts: Parts) -> WatchedSweep:
    specs = stream_specs(parts.ground.subjects, partitions=PARTITIONS)
    return WatchedSweep(parts.ground, TakeOver(parts.ground, None), specs, 1.0)  # type: ignore[arg-type]


async def swept(parts: Parts) -> WatchedSweep:
    """A sweep that owns one partition and has compared its marks."""
    del parts.ground.epochs[1]
    sweep = watched(parts)
    await sweep.gained(0)
    await sweep._round()
    return sweep


async def test_a_lost_workers_runs_go_to_whoever_comes_first(desk: Site, replica: Replica) -> None:
    """CORRECTNESS.md row 22: the run is given out again under a new token. What lies on the worker's own subject is left to its
    lifetime: it may be for runs whose owner still hears the worker."""
    await desk.hosts(worker="w2")
    run_id = await replica.start()
    given = await desk.activation(run_id)
    await desk.advance(given, cmd.RequestStep(seen=given.upto, id=CallId("0:1"), name="think"), worker="w1")
    second = await desk.activation(run_id, 2)
    assert [m.subject for m in desk.on("WORK")][-1] == "t.work.clerk.b1.w1"
    await desk.stopped("w1")
    await wait_until(lambda: [m.subject for m in desk.on("WORK")][-1] == "t.work.clerk.b1.any")
    third = desk.activations(run_id)[-1]
    assert third.token != second.token


async def test_what_a_leaving_worker_did_and_is_not_committed_yet_goes_elsewhere_too(desk: Site, replica: Replica) -> None:
    """Its first answer and the tool's are decided, and the activation for its own subject waits for the commit, when it is gone: the
    table does not know yet that the run is its, and nobody would ever read that activation (CORRECTNESS.md row 22)."""
    await desk.hosts(worker="w2")
    await desk.announce(Announce(peer="g1", kind="gateway", build="b1", tools=[msgspec.structs.replace(LOOK, answers_digest=True)]))
    run_id = await replica.start()
    given = await desk.activation(run_id)
    replica.log.gate.clear()
    await desk.advance(given, call("look", given), worker="w2")
    asked = await desk.call(run_id)
    await wait_until(lambda: replica.log.waiting == 1)
    await desk.mail(ToolSucceeded(run_id=run_id, call_id=asked.call_id, attempt=1, call_digest=asked.args_digest, result=Raw(b"2")))
    await wait_until(lambda: replica.coordinator._pipeline._next is not None)
    await desk.stopped("w2")
    await wait_until(lambda: not replica.coordinator._registry.worker_alive("w2") and not replica.coordinator._sweep._lost)
    replica.log.gate.set()
    await wait_until(lambda: [m.subject for m in desk.on("WORK")][-1] == "t.work.clerk.b1.any" and len(desk.on("WORK")) > 1)
    assert [m.subject for m in desk.on("WORK")][1] == "t.work.clerk.b1.w2"
    again = desk.activations(run_id)[-1]
    await desk.advance(again, complete(again), worker="w1")
    await desk.until(run_id, "run_completed")


async def test_a_silent_worker_is_lost_after_the_time_that_the_settings_say(desk: Site) -> None:
    async with site(WAYPOST_COORDINATOR_HEARTBEAT_SECONDS="1") as quick, quick.replica() as replica:
        assert replica.coordinator._registry._peers._lost_after == 1.0
        await quick.hosts()
        assert replica.coordinator._registry.worker_alive("w1")
        await wait_until(lambda: not replica.coordinator._registry.worker_alive("w1"))


async def test_a_run_without_a_host_is_held_and_starts_when_one_comes(desk: Site) -> None:
    async with desk.replica() as replica:
        run_id = await replica.start()
        row = desk.database.runs[run_id]
        assert (row.status, row.held) == (RunStatus.PENDING, True)
        await desk.hosts()
        given = await desk.activation(run_id)
        assert desk.database.runs[run_id].held, "cleared with the next event, so that a crash before the activation is out looks again"
        await desk.advance(given)
        await wait_until(lambda: not desk.database.runs[run_id].held)


async def test_a_call_that_nobody_hosts_is_held_and_sent_when_a_gateway_comes(desk: Site) -> None:
    async with desk.replica() as replica:
        await desk.announce(Announce(peer="w1", kind="worker", build="b1", agents=[AGENT]))
        run_id = await replica.start()
        given = await desk.activation(run_id)
        await desk.advance(given, call("pay", given))
        await desk.until(run_id, "tool_call_requested")
        assert desk.database.runs[run_id].held
        await desk.announce(Announce(peer="g1", kind="gateway", build="b1", tools=[LOOK, PAY]))
        asked = await desk.call(run_id)
        assert (asked.permit, asked.effect) == (True, "unsafe")
        assert desk.database.ledger[run_id, CallId("0:1")].state == "permitted"


async def test_what_nobody_hosts_is_waited_for_until_the_deadline(desk: Site) -> None:
    async with desk.replica() as replica:
        await desk.announce(Announce(peer="w1", kind="worker", build="b1", agents=[AGENT]))
        run_id = await replica.start(deadline="PT0.3S")
        given = await desk.activation(run_id)
        await desk.advance(given, call("pay", given))
        await desk.until(run_id, "run_failed")
        failure = json.loads(desk.events(run_id)[-1].body)["data"]["error"]
        assert failure["type"] == "DeadlineExceeded"
        assert "pay (held)" in failure["message"]
        unhosted = await replica.start(deadline="PT0.2S", agent="nobody")
        await desk.until(unhosted, "run_failed")


async def test_a_finished_child_that_is_started_again_sends_its_outcome_again(desk: Site, replica: Replica) -> None:
    """CORRECTNESS.md row 2: the message between runs was lost with the broker; the parent's start brings the answer."""
    run_id = await replica.start()
    given = await desk.activation(run_id)
    child = child_run_id(run_id, CallId("0:1"))
    put = replica.ground.box.put
    swallowed: list[str] = []

    def without_the_end(letter) -> None:  # type: ignore[no-untyped-def]
        if isinstance(letter.mail, ChildEnded) and not swallowed:
            swallowed.append(letter.inbox_id)
            desk.database.inbox.pop(letter.inbox_id)
        else:
            put(letter)

    replica.ground.box.put = without_the_end  # type: ignore[method-assign]
    await desk.advance(given, cmd.StartChild(seen=given.upto, id=CallId("0:1"), agent="clerk", input=Raw(b"1")))
    await desk.until(child, "run_started")
    assert (await replica.submit(Cancel(run_id=child, request_id="c"))).ok
    await wait_until(lambda: swallowed)
    assert "child_failed" not in desk.types(run_id)
    await replica.coordinator._front.redispatch(run_id)
    await desk.until(run_id, "child_failed")
    await wait_until(lambda: desk.database.inbox == {})


async def test_redispatching_everything_counts_the_open_runs(desk: Site, replica: Replica) -> None:
    open_runs = [await replica.start() for _ in range(3)]
    ended = await replica.start()
    await replica.submit(Cancel(run_id=ended, request_id="c"))
    answer = await replica.coordinator._front.redispatch(None)
    assert answer.runs == 3
    for run_id in open_runs:
        await desk.activation(run_id, 2)


async def test_what_nobody_took_up_moves_when_its_build_ends(desk: Site, replica: Replica) -> None:
    """Its first activation lies where no worker of another build looks; a run that has a build that lives stays."""
    waiting = await replica.start()
    await desk.activation(waiting)
    await desk.hosts(worker="w2", agents=(msgspec.structs.replace(AGENT, build="b2"),), build="b2")
    begun = await replica.start()
    given = await desk.activation(begun)
    assert given.build == "b2"
    await desk.advance(given, call("look", given), worker="w2")
    await desk.until(begun, "tool_call_requested")
    await desk.stopped("w1")
    moved = await desk.activation(waiting, 2)
    assert moved.build == "b2"
    assert len(desk.activations(begun)) == 1
