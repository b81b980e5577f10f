"""The front desk: a request reaches its run wherever that is owned, and is answered after the commit."""

from __future__ import annotations

import asyncio

import pytest
from msgspec import Raw

from tests.unit.waypost_coordinator.rig import Replica, Site, new_run, start
from tests.waiting import wait_until
from waypost_coordinator import front
from waypost_io.store.ports import Lease
from waypost_proto.errors import NotConfirmed, NotFound
from waypost_proto.mailbox import Cancel, Pause, Signal


async def shared_out(one: Replica, two: Replica) -> None:
    """The second replica gets partition 1."""

    async def nothing(*_args: object, **_more: object) -> list[Lease]:
        return []

    one.store.leases.acquire = nothing  # type: ignore[method-assign]
    one.coordinator.leases.lost([1])
    one.site.database.partitions[1].expires_at = 0.0
    await wait_until(lambda: two.ground.owns(1) and list(one.coordinator.leases.epochs) == [0])


async def test_an_answer_means_that_it_is_committed(desk: Site, replica: Replica) -> None:
    """CORRECTNESS.md row 2."""
    replica.log.gate.clear()
    run_id = new_run()
    answer = asyncio.ensure_future(replica.submit(start(run_id)))
    await wait_until(lambda: replica.log.waiting == 1)
    assert not answer.done()
    replica.log.gate.set()
    assert (await answer).ok
    assert desk.types(run_id) == ["run_started"]


async def test_the_same_key_is_the_first_run_and_another_input_a_conflict(desk: Site, replica: Replica) -> None:
    """CORRECTNESS.md row 8."""
    first, second, third = new_run(0), new_run(1), new_run(0)
    one = await replica.submit(start(first, idempotency_key="k"))
    two = await replica.submit(start(second, idempotency_key="k"))
    three = await replica.submit(start(third, idempotency_key="k", tenant="other"))
    assert (one.run_id, one.duplicate) == (first, False)
    assert (two.run_id, two.duplicate) == (first, True)
    assert (three.run_id, three.duplicate) == (third, False)
    conflict = await replica.submit(start(new_run(), idempotency_key="k", input=Raw(b"2")))
    assert (conflict.ok, conflict.code, conflict.run_id) == (False, "409", first)
    assert "'k'" in conflict.message


async def test_many_starts_under_one_key_at_once_are_one_run(desk: Site, replica: Replica) -> None:
    """CORRECTNESS.md row 8."""
    replies = await asyncio.gather(*(replica.submit(start(new_run(), idempotency_key="k")) for _ in range(20)))
    assert len({reply.run_id for reply in replies}) == 1
    assert all(reply.ok for reply in replies)
    assert sum(not reply.duplicate for reply in replies) == 1
    assert len(desk.database.runs) == 1


async def test_an_unknown_run_is_said_so(replica: Replica) -> None:
    reply = await replica.submit(Pause(run_id=new_run(), request_id="p"))
    assert (reply.ok, reply.code) == (False, "404")
    with pytest.raises(NotFound):
        await replica.coordinator._front.redispatch(new_run())


async def test_a_request_for_another_replicas_run_goes_through_the_mailbox_and_the_answer_comes_back(desk: Site, replica: Replica) -> None:
    async with desk.replica() as other:
        await shared_out(replica, other)
        run_id = await replica.start(partition=1)
        assert desk.types(run_id) == ["run_started"]
        assert (await replica.submit(Cancel(run_id=run_id, request_id="c"))).ok
        assert (await replica.submit(Signal(run_id=run_id, request_id="s", name="go"))).code == "409"
        assert replica.coordinator._front._waiting == {}
        assert [event.partition for event in desk.events(run_id)] == [1, 1]


async def test_redispatching_another_replicas_run_is_done_there(desk: Site, replica: Replica) -> None:
    async with desk.replica() as other:
        await shared_out(replica, other)
        await desk.beat()
        await wait_until(lambda: other.coordinator._registry.live_workers("clerk", "b1"))
        run_id = await replica.start(partition=1)
        await desk.activation(run_id)
        assert (await replica.coordinator._front.redispatch(run_id)).runs == 1
        await desk.activation(run_id, 2)


async def test_redispatching_everything_reaches_every_replica(desk: Site, replica: Replica) -> None:
    async with desk.replica() as other:
        await shared_out(replica, other)
        await desk.beat()
        await wait_until(lambda: other.coordinator._registry.live_workers("clerk", "b1"))
        runs = [await replica.start(partition=partition) for partition in (0, 1)]
        for run_id in runs:
            await desk.activation(run_id)
        assert (await replica.coordinator._front.redispatch(None)).runs == 2
        for run_id in runs:
            await desk.activation(run_id, 2)


async def test_no_answer_in_time_is_not_confirmed(desk: Site, replica: Replica, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front, "CONFIRM_SECONDS", 0.05)
    replica.log.gate.clear()
    run_id = new_run()
    with pytest.raises(NotConfirmed, match="asking again is safe"):
        await replica.submit(start(run_id))
    replica.log.gate.set()
    await desk.until(run_id, "run_started")
    assert (await replica.submit(start(run_id))).duplicate


async def test_a_request_whose_mailbox_is_gone_leaves_nothing_behind(desk: Site, replica: Replica) -> None:
    leases = replica.coordinator.leases
    desk.database.partitions[1].expires_at += 100
    desk.database.partitions[1].owner = "another"
    leases.lost([1])
    del desk.broker.streams["T_MAILBOX"]
    with pytest.raises(NotConfirmed, match="ask again"):  # the stream is made again at once: not for good
        await replica.submit(start(new_run(1)))
    assert replica.coordinator._front._waiting == {}
