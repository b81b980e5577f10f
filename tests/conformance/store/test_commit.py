"""The group commit: all of it or nothing, and never under a lease that is gone."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from tests.conformance.store.conftest import World
from tests.conformance.store.rows import (
    AT,
    CALL,
    PARTITIONS,
    Owner,
    approval_row,
    inbox_row,
    new_run_id,
    notice_row,
    permit_row,
    run_row,
    timer_row,
)
from waypost_io.store.ports import BlobRow, Commit
from waypost_proto.errors import BadMessage, ContractError, NotFound, SequenceTaken
from waypost_proto.ids import CallId, digest_of


async def test_what_was_committed_is_read_back(me: Owner) -> None:
    run_id, parent = new_run_id(), new_run_id()
    event = me.event(run_id, type="run_started", cause="task-1", body=b'{"any":"\\u0000 \xff bytes"}')
    row = run_row(
        run_id,
        labels={"case": "4711", "ß": "\N{SNOWMAN}"},
        parent=parent,
        deadline_at=AT + 0.000001,
        outcome=b"\x00",
        worker="w",
        held=True,
    )
    result = await me.commit(event, runs=[row])
    assert result.lost == frozenset()
    assert result.revoked == ()
    assert await me.store.log.load_events(run_id) == [event]
    assert await me.store.log.load_runs([run_id, parent]) == {run_id: row}
    assert await me.store.reads.get(run_id) == row


async def test_a_later_run_row_replaces_what_changes(me: Owner) -> None:
    run_id = await me.run(labels={"a": "b"}, correlation_id="c")
    event = me.event(run_id)
    later = run_row(run_id, 2, status="completed", open=False, outcome=b"{}", worker="w2", build="b2", state=b"new", state_version=2)
    await me.commit(event, runs=[run_row(run_id, 2, state=b"overwritten in the same batch"), later])
    assert await me.store.reads.get(run_id) == replace(later, labels={"a": "b"}, correlation_id="c")


async def test_a_run_row_never_goes_back(me: Owner) -> None:
    run_id = await me.run()
    await me.commit(me.event(run_id), runs=[run_row(run_id, 2, state=b"two")])
    await me.commit(runs=[run_row(run_id, 1, state=b"one")])
    found = await me.store.reads.get(run_id)
    assert found is not None
    assert found.state == b"two"


async def test_a_lost_partition_is_left_out_and_nothing_else(world: World) -> None:
    """Every kind of row, once for a partition that is lost and once for one that is held."""
    me = await world.owner(at_most=2, lease_seconds=-1)
    lost, kept = await me.run(0), await me.run(1)
    before = {0: me.positions[0], 1: me.positions[1]}
    thief = await world.owner("thief", at_most=1)
    assert list(thief.leases) == [0]
    runs = (lost, kept)
    result = await me.commit(
        *(me.event(run_id) for run_id in runs),
        set_timers=[timer_row(run_id) for run_id in runs],
        permits=[permit_row(run_id) for run_id in runs],
        approvals=[approval_row(run_id, run_id) for run_id in runs],
        notices=[notice_row(run_id, run_id) for run_id in runs],
        inbox_add=[inbox_row(kept, f"to-{run_id}", sender=run_id) for run_id in runs],
    )
    assert result.lost == {0}
    read = me.store
    assert [len(await read.log.load_events(run_id)) for run_id in runs] == [1, 2]
    assert [run.seq for run in (await read.log.load_runs(runs)).values()] in ([1, 2], [2, 1])
    assert [timer.run_id for timer in await read.timers.due([0, 1], before=AT + 1, limit=10)] == [kept]
    assert [await read.ledger.get(run_id, CALL) is not None for run_id in runs] == [False, True]
    assert [row.run_id for row in await read.approvals.list(state="open")] == [kept]
    assert [len(await read.reads.notices(run_id)) for run_id in runs] == [0, 1]
    assert [row.message_id for row in await read.log.inbox(1)] == [f"to-{kept}"]
    positions = {lease.partition: lease.position for lease in await read.leases.owners()}
    assert (positions[0], positions[1]) == (before[0], before[1] + 1)


async def test_rows_without_a_partition_follow_the_stored_run(world: World) -> None:
    me = await world.owner(at_most=2, lease_seconds=-1)
    lost, kept = await me.run(0), await me.run(1)
    runs = (lost, kept)
    await me.commit(
        permits=[permit_row(run_id) for run_id in runs],
        set_timers=[timer_row(run_id) for run_id in runs],
        inbox_add=[inbox_row(run_id, f"to-{run_id}", sender=run_id) for run_id in runs],
        runs=[run_row(run_id) for run_id in runs],
    )
    await world.owner("thief", at_most=1)
    result = await me.commit(
        revoke_runs=list(runs), clear_timers=[(run_id, "0:1") for run_id in runs], inbox_remove=[f"to-{run_id}" for run_id in runs]
    )
    assert result.lost == {0}
    assert [(row.run_id, row.state) for row in result.revoked] == [(kept, "revoked")]
    assert [timer.run_id for timer in await me.store.timers.due([0, 1], before=AT + 1, limit=10)] == [lost]
    assert [[row.message_id for row in await me.store.log.inbox(n)] for n in (0, 1)] == [[f"to-{lost}"], []]


async def test_a_zombie_writes_nothing(world: World) -> None:
    zombie = await world.owner(lease_seconds=-1)
    run_id = await zombie.run()
    await world.owner("heir")
    zombie_batch = zombie.batch(zombie.event(run_id), permits=[permit_row(run_id)], revoke_runs=[run_id])
    result = await zombie.store.log.commit(zombie_batch)
    assert result.lost == set(range(PARTITIONS))
    assert result.revoked == ()
    assert len(await zombie.store.log.load_events(run_id)) == 1
    assert await zombie.store.ledger.get(run_id, CALL) is None


async def test_an_epoch_of_our_own_past_writes_nothing(world: World) -> None:
    old = await world.owner(lease_seconds=-1)
    again = await world.owner("me")
    run_id = new_run_id()
    assert len((await old.commit(old.event(run_id))).lost) == PARTITIONS
    assert await again.store.reads.get(run_id) is None


async def test_an_expired_lease_that_nobody_took_still_commits(world: World) -> None:
    me = await world.owner(lease_seconds=-1)
    run_id = await me.run()
    assert await me.store.reads.get(run_id) is not None


@pytest.mark.parametrize("change", ["seq", "cause"])
async def test_a_taken_number_or_cause_writes_nothing(me: Owner, change: str) -> None:
    run_id, bystander = new_run_id(1), new_run_id(2)
    first = me.event(run_id, cause="task-1")
    await me.commit(first)
    second = me.event(run_id, cause="task-2")
    second = replace(second, seq=1) if change == "seq" else replace(second, cause="task-1")
    with pytest.raises(SequenceTaken):
        await me.commit(second, me.event(bystander), set_timers=[timer_row(bystander)])
    assert await me.store.log.load_events(run_id) == [first]
    assert await me.store.reads.get(bystander) is None
    assert await me.store.timers.due([2], before=AT + 1, limit=10) == []
    assert (await me.store.leases.owners())[2].position == 0


async def test_the_empty_cause_and_the_cause_of_another_run_are_free(me: Owner) -> None:
    one, two = new_run_id(), new_run_id()
    await me.commit(me.event(one, cause="same"), me.event(two, cause="same"), me.event(one), me.event(one))
    assert await me.store.log.cause_seen(one, "same") == 1
    assert await me.store.log.cause_seen(one, "other") is None
    assert await me.store.log.cause_seen(one, "") is None


async def test_a_commit_that_arrives_after_its_successor_is_refused(me: Owner) -> None:
    """It was given up as lost; its sender has read the log, and another commit has taken its positions."""
    late = me.batch(me.event(new_run_id(1)), permits=[permit_row(new_run_id(1))])
    me.positions[1] -= 1
    await me.run(1)
    with pytest.raises(SequenceTaken, match="partition 1"):
        await me.store.log.commit(late)
    assert [lease.position for lease in await me.store.leases.owners()] == [0, 1, 0, 0]


async def test_positions_and_the_published_mark_move(me: Owner) -> None:
    run_id = new_run_id(3)
    await me.commit(me.event(run_id), me.event(run_id))
    await me.commit(published=1)
    assert [(lease.position, lease.published) for lease in await me.store.leases.owners()][3] == (2, 1)


async def test_rows_of_a_partition_without_a_lease_are_our_bug(me: Owner) -> None:
    run_id = new_run_id(1)
    with pytest.raises(ContractError, match=r"\[1\]"):
        await me.store.log.commit(Commit(owner="me", leases=[(0, 1, 0, 0)], events=[me.event(run_id)]))


@pytest.mark.parametrize("bad", ["a\0b", "a\ud800b"])
@pytest.mark.parametrize("where", ["cause", "label", "timer", "worker"])
async def test_text_that_cannot_be_stored_poisons_only_its_own_commit(me: Owner, bad: str, where: str) -> None:
    run_id = new_run_id()
    positions = dict(me.positions)
    event = me.event(run_id, cause=bad if where == "cause" else "")
    row = run_row(run_id, labels={"k": bad} if where == "label" else {}, worker=bad if where == "worker" else "")
    with pytest.raises(BadMessage):
        await me.commit(event, runs=[row], set_timers=[timer_row(run_id, bad)] if where == "timer" else [])
    assert await me.store.reads.get(run_id) is None
    me.positions = positions
    await me.run()


async def test_a_timer_moves_and_is_cleared(me: Owner) -> None:
    one, two = await me.run(), await me.run()
    await me.commit(set_timers=[timer_row(one, "a", AT + 1), timer_row(one, "b", AT + 3), timer_row(two, "a", AT + 2)])
    await me.commit(set_timers=[timer_row(one, "a", AT + 4), timer_row(one, "a", AT + 5)], clear_timers=[(two, "a"), (two, "unknown")])
    due = await me.store.timers.due(range(PARTITIONS), before=AT + 9, limit=10)
    assert [(timer.run_id, timer.timer_id, timer.due_at) for timer in due] == [(one, "b", AT + 3), (one, "a", AT + 5)]
    assert await me.store.timers.due(range(PARTITIONS), before=AT + 3, limit=10) == []
    assert len(await me.store.timers.due(range(PARTITIONS), before=AT + 9, limit=1)) == 1
    assert await me.store.timers.due([], before=AT + 9, limit=10) == []


async def test_a_timer_cleared_and_set_in_one_commit_is_set(me: Owner) -> None:
    run_id = await me.run()
    await me.commit(set_timers=[timer_row(run_id)], clear_timers=[(run_id, "0:1")])
    assert len(await me.store.timers.due(range(PARTITIONS), before=AT + 9, limit=10)) == 1


async def test_messages_between_runs_stay_until_the_receiver_has_them(me: Owner) -> None:
    sender, receiver = await me.run(0), await me.run(1)
    mail = [inbox_row(receiver, name, sender=sender) for name in ("b", "a")]
    await me.commit(me.event(sender), inbox_add=mail)
    await me.commit(me.event(sender), inbox_add=mail)
    assert [row.message_id for row in await me.store.log.inbox(1)] == ["a", "b"]
    assert (await me.store.log.inbox(1, after="a", limit=1)) == [mail[0]]
    await me.commit(me.event(receiver), inbox_remove=["a", "unknown"])
    assert [row.message_id for row in await me.store.log.inbox(1)] == ["b"]


async def test_a_message_that_names_no_sender_leaves_only_when_no_lease_is_lost(world: World) -> None:
    me = await world.owner(lease_seconds=-1)
    receiver = await me.run(1)
    await me.commit(inbox_add=[inbox_row(receiver, "a")])
    await world.owner("thief", at_most=1)
    result = await me.commit(me.event(receiver), inbox_add=[inbox_row(receiver, "b")])
    assert result.lost == set(range(PARTITIONS))
    assert [row.message_id for row in await me.store.log.inbox(1)] == ["a"]
    assert len(await me.store.log.load_events(receiver)) == 1


async def test_blobs_and_notices_are_written_with_the_events(me: Owner) -> None:
    run_id = new_run_id()
    data = bytes(range(256)) * 3_000
    blob = BlobRow(digest_of(data), data)
    notices = [notice_row(run_id, "n2", at=AT + 1), notice_row(run_id, "n1")]
    await me.commit(me.event(run_id), blobs=[blob, blob], notices=notices)
    await me.commit(me.event(run_id), blobs=[blob], notices=notices)
    assert await me.store.blobs.get(blob.sha256) == data
    assert await me.store.reads.notices(run_id) == notices[::-1]
    with pytest.raises(NotFound):
        await me.store.blobs.get(digest_of(b"other"))


async def test_an_approval_is_decided_once(me: Owner) -> None:
    run_id = await me.run()
    opened = approval_row(run_id)
    await me.commit(me.event(run_id), approvals=[opened])
    decided = replace(opened, state="granted", decided_by="ann", decided_at=AT + 5, decision_reason="fine")
    await me.commit(me.event(run_id), approvals=[replace(decided, args=b"other", role="other")])
    assert await me.store.approvals.get("approval-1") == decided
    await me.commit(permits=[permit_row(run_id, approval_id="approval-1")], runs=[run_row(run_id, 3)])
    started, _ = await me.store.ledger.start(
        run_id, CALL, attempt=1, args_digest="digest", approval_id="approval-1", gateway="gw", lease_seconds=1, hard_seconds=1
    )
    assert started
    await me.commit(me.event(run_id), approvals=[decided])
    found = await me.store.approvals.get("approval-1")
    assert found is not None
    assert found.state == "used"


async def test_commits_apply_in_the_order_of_the_calls(me: Owner) -> None:
    run_ids = [new_run_id(0) for _ in range(30)]
    batches = [me.batch(me.event(run_id)) for run_id in run_ids]
    tasks = [asyncio.create_task(me.store.log.commit(batch)) for batch in batches]
    results = await asyncio.gather(*tasks)
    assert all(not result.lost for result in results)
    assert [event.run_id for event in await me.store.log.events_after(0, 0, limit=100)] == run_ids


async def test_an_empty_commit_is_allowed(me: Owner) -> None:
    result = await me.store.log.commit(Commit(owner="me"))
    assert result.lost == frozenset()


async def test_revoking_one_call_leaves_the_others(me: Owner) -> None:
    run_id = await me.run()
    other = CallId("0:2")
    await me.commit(me.event(run_id), permits=[permit_row(run_id), permit_row(run_id, other)])
    result = await me.commit(me.event(run_id), revoke_calls=[(run_id, other), (run_id, CallId("0:9"))])
    assert [(row.call_id, row.state) for row in result.revoked] == [(other, "revoked")]
    kept = await me.store.ledger.get(run_id, CALL)
    assert kept is not None
    assert kept.state == "permitted"
