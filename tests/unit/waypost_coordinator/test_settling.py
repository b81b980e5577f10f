"""After the commit: publishes in order, the published position, acks, and what revocations found."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest
from msgspec import Raw

from tests.unit.waypost_coordinator.rig import Parts, Replica, Site, call, complete, new_run
from tests.waiting import wait_until
from waypost_coordinator.batch import Batch
from waypost_coordinator.letters import Letter, Rederive
from waypost_coordinator.settling import Settler, _Settling
from waypost_coordinator.timers import Timers
from waypost_proto.ids import CallId, RunId
from waypost_proto.mailbox import Cancel, Pause, Resume, Signal, ToolSucceeded


def published(replica: Replica, run_id: RunId) -> int:
    return replica.ground.published[replica.ground.partition(run_id)]


async def test_the_published_position_is_a_contiguous_prefix(desk: Site, replica: Replica) -> None:
    """CORRECTNESS.md row 12: a later event that is confirmed first does not move it past an earlier one."""
    slow, quick = await replica.start(partition=0), await replica.start(partition=0)
    await desk.activation(quick)
    await wait_until(lambda: published(replica, slow) == 2)
    replica.bus.held = slow
    await replica.submit(Signal(run_id=slow, request_id="a", name="go"))
    await replica.submit(Signal(run_id=quick, request_id="b", name="go"))
    await wait_until(lambda: desk.published_events(quick) == [1, 2])
    assert published(replica, slow) == 2
    replica.bus.gate.set()
    await wait_until(lambda: published(replica, slow) == 4)


async def test_the_published_position_is_stored_with_a_later_commit(desk: Site, replica: Replica) -> None:
    """CORRECTNESS.md row 12: it rides in the next batch, whichever run that is of."""
    one = await replica.start(partition=0)
    await wait_until(lambda: published(replica, one) == 1)
    assert desk.database.partitions[0].published == 0
    await replica.start(partition=0)
    assert desk.database.partitions[0].published == 1


async def test_a_publish_that_is_not_confirmed_is_repeated_under_its_id(desk: Site, replica: Replica) -> None:
    """CORRECTNESS.md row 11."""
    replica.bus.time_out = 2
    run_id = await replica.start()
    await wait_until(lambda: published(replica, run_id) == 1)
    ids = [msg_id for _, msg_id in replica.bus.published]
    assert len(ids) == 4
    assert len(set(ids)) == 2
    assert desk.published_events(run_id) == [1]
    assert len(desk.activations(run_id)) == 1


async def test_what_failed_while_the_server_was_away_is_repeated_without_a_pause_each(
    desk: Site, replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("waypost_coordinator.settling.AGAIN_SECONDS", 1_000.0)
    replica.bus.time_out = 2  # both of what the start of a run publishes, before either is waited for
    run_id = await replica.start()
    await wait_until(lambda: published(replica, run_id) == 1, seconds=5)


async def test_a_stream_that_is_gone_is_made_again_and_the_publish_arrives(desk: Site, replica: Replica) -> None:
    del desk.broker.streams["T_EVENTS"]
    run_id = await replica.start()
    await wait_until(lambda: desk.published_events(run_id) == [1])
    assert "T_EVENTS" in desk.broker.streams


async def paid(desk: Site, replica: Replica) -> tuple[RunId, CallId]:
    """A run with an unsafe call that no gateway has started."""
    run_id = await replica.start()
    given = await desk.activation(run_id)
    await desk.advance(given, call("pay", given))
    return run_id, (await desk.call(run_id)).call_id


async def test_a_cancel_revokes_the_permit_and_ends_the_run(desk: Site, replica: Replica) -> None:
    """CORRECTNESS.md row 7."""
    run_id, call_id = await paid(desk, replica)
    assert (await replica.submit(Cancel(run_id=run_id, request_id="c"))).ok
    assert desk.database.ledger[run_id, call_id].state == "revoked"
    await desk.until(run_id, "run_cancelled")
    assert desk.types(run_id)[-3:] == ["run_ending", "tool_call_cancelled", "run_cancelled"]


async def test_a_permit_that_was_never_written_counts_as_revoked(desk: Site, replica: Replica) -> None:
    """CORRECTNESS.md row 7: asked for and cancelled in one batch; the gateway will find no permit."""
    run_id = await replica.start()
    given = await desk.activation(run_id)
    other = await replica.start()
    replica.log.gate.clear()
    blocker = asyncio.ensure_future(replica.submit(Signal(run_id=other, request_id="s", name="go")))
    await wait_until(lambda: replica.log.waiting == 1)
    second = asyncio.ensure_future(replica.submit(Signal(run_id=other, request_id="t", name="go")))
    await wait_until(lambda: replica.coordinator._pipeline._next is not None)
    await desk.advance(given, call("pay", given))
    await wait_until(lambda: len(replica.ground.box) == 1)
    cancelled = asyncio.ensure_future(replica.submit(Cancel(run_id=run_id, request_id="c")))
    await asyncio.sleep(0)
    replica.log.gate.set()
    assert (await cancelled).ok
    await desk.until(run_id, "run_cancelled")
    assert desk.database.ledger == {}
    assert (await blocker).ok
    assert (await second).ok


async def test_a_started_call_is_awaited_before_the_run_ends(desk: Site, replica: Replica) -> None:
    """CORRECTNESS.md row 7: no terminal event while a started call that may have an effect is unsettled."""
    run_id, call_id = await paid(desk, replica)
    asked = desk.calls(run_id)[0]
    started, _ = await replica.store.ledger.start(
        run_id, call_id, attempt=1, args_digest=asked.args_digest, approval_id=None, gateway="g1", lease_seconds=9, hard_seconds=9
    )
    assert started
    await replica.submit(Cancel(run_id=run_id, request_id="c"))
    await replica.submit(Signal(run_id=run_id, request_id="s", name="go"))
    assert "run_cancelled" not in desk.types(run_id)
    await desk.mail(ToolSucceeded(run_id=run_id, call_id=call_id, attempt=1))
    await desk.until(run_id, "run_cancelled")


async def test_a_follow_up_that_is_lost_with_its_partition_stalls_nobody(desk: Site, replica: Replica) -> None:
    """A cancel is committed, and while its follow-up waits the replica steps down: the take-over derives the follow-up again."""
    run_id, _ = await paid(desk, replica)
    await desk.mail(Cancel(run_id=run_id, request_id="c"), kind="control", name="run")
    put = replica.ground.box.put
    lost = []

    def lose_the_follow_up(letter) -> None:  # type: ignore[no-untyped-def]
        if type(letter.mail).__name__ == "PermitsRevoked" and not lost:
            lost.append(letter)
            put(letter)
            replica.coordinator.leases.step_down("a test says so")
        else:
            put(letter)

    replica.ground.box.put = lose_the_follow_up  # type: ignore[method-assign]
    await desk.until(run_id, "run_cancelled")
    assert lost
    other = await replica_start_when_owned(replica)
    await wait_until(lambda: desk.published_events(other) == [1])
    await wait_until(lambda: desk.on("MAILBOX") == [], message="the settler stands still: nothing is acked any more")


async def test_a_lost_follow_up_keeps_the_position_and_the_acks_of_its_partition_alone(parts: Parts) -> None:
    """CORRECTNESS.md row 12: the take-over starts at the published position, so it must not pass what is to be derived again."""
    settler = Settler(parts.ground, Timers(parts.store, parts.ground.clock, lambda *_: None))
    acked: list[int] = []
    letters = [Letter(mail=Rederive(), run_id=new_run(p), partition=p, done=lambda p=p: acked.append(p)) for p in (0, 1)]  # type: ignore[misc]
    told: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    await settler._queue.put(_Settling(Batch(letters=letters, positions={0: 7, 1: 9}), [], [(0, told)]))
    running = asyncio.ensure_future(settler.run())
    for _ in range(5):
        await asyncio.sleep(0)
    assert acked == []
    told.set_result(False)
    await settler.idle()
    assert acked == [1]
    assert parts.ground.published == {0: 0, 1: 9}
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


async def replica_start_when_owned(replica: Replica) -> RunId:
    await wait_until(lambda: len(replica.coordinator.leases.epochs) == 2)
    return await replica.start()


async def test_pause_holds_back_and_resume_sends_under_a_fresh_permit(desk: Site, replica: Replica) -> None:
    """CORRECTNESS.md row 7: what arrives while paused is recorded and its dispatches are held back."""
    run_id, call_id = await paid(desk, replica)
    await replica.submit(Pause(run_id=run_id, request_id="p"))
    assert desk.database.ledger[run_id, call_id].state == "revoked"
    await replica.submit(Signal(run_id=run_id, request_id="s", name="go"))
    assert len(desk.activations(run_id)) == 1
    await replica.submit(Resume(run_id=run_id, request_id="r"))
    assert desk.database.ledger[run_id, call_id].state == "permitted"
    await desk.call(run_id, 2)
    await desk.activation(run_id, 2)


async def test_arguments_that_cannot_be_read_after_the_commit_are_published_by_the_take_over(desk: Site, replica: Replica) -> None:
    """The database goes away between a commit and the reading of large arguments for its dispatch; the process must live."""
    run_id = await replica.start()
    given = await desk.activation(run_id)
    await desk.advance(given, call("look", given, args=Raw(b'"' + b"x" * 5_000 + b'"')))
    await desk.call(run_id)
    replica.ground.runs.clear()
    inner, fails = replica.log.load_events, [1]

    async def load_events(*args, **more):  # type: ignore[no-untyped-def]
        if fails and more.get("limit") == 1:
            fails.pop()
            replica.store.database.down = True
            try:
                return await inner(*args, **more)
            finally:
                replica.store.database.down = False
        return await inner(*args, **more)

    replica.log.load_events = load_events  # type: ignore[attr-defined]
    await replica.submit(Pause(run_id=run_id, request_id="p"))
    await replica.submit(Resume(run_id=run_id, request_id="r"))
    assert (await desk.call(run_id, 2)).args
    assert fails == []


async def test_a_worker_is_told_after_the_commit_and_once_more_for_a_repeat(desk: Site, replica: Replica) -> None:
    """CORRECTNESS.md row 15: the confirmation on which a worker lets go of what was paid for."""
    run_id = await replica.start()
    given = await desk.activation(run_id)
    sent = await desk.advance(given, complete(given))
    await wait_until(lambda: len(desk.confirms) == 1)
    await desk.mail(sent, kind="advance", name="clerk")
    await wait_until(lambda: len(desk.confirms) == 2)
    first, second = (confirm.accepted[0] for confirm in desk.confirms)
    assert first.digest == second.digest
    assert desk.types(run_id) == ["run_started", "run_completed"]
