"""Calls in doubt, counted: by every commit, and by who takes the partition over."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Raw

from tests.conformance.store.rows import new_run_id, run_row
from tests.unit.waypost_coordinator import rig
from tests.unit.waypost_coordinator.rig import Replica, Site
from tests.waiting import wait_until
from waypost_coordinator.doubts import Doubts, of_row, of_state
from waypost_core.state import Call, RunState, encode_state
from waypost_proto.ids import CallId, RunId
from waypost_proto.mailbox import ToolSucceeded, ToolUncertain
from waypost_proto.values import Failure


def counted(replica: Replica) -> Mapping[tuple[str, str, str], int]:
    return replica.coordinator._overview._doubts.count()


async def into_doubt(site: Site, replica: Replica, partition: int) -> RunId:
    """A run whose unsafe call may have taken effect."""
    run_id = await replica.start(partition)
    given = await site.activation(run_id)
    await site.advance(given, rig.call("pay", given))
    call = await site.call(run_id)
    started = await replica.store.ledger.start(
        run_id,
        call.call_id,
        attempt=1,
        args_digest=call.args_digest,
        approval_id=None,
        gateway="g1",
        lease_seconds=60.0,
        hard_seconds=60.0,
    )
    assert started[0], started
    assert await replica.store.ledger.settle(run_id, call.call_id, attempt=1, state="doubt", result=b"{}")
    await site.mail(ToolUncertain(run_id=run_id, call_id=call.call_id, attempt=1, error=Failure(type="Timeout", message="?")))
    await site.until(run_id, "tool_call_in_doubt")
    return run_id


async def test_a_commit_brings_a_call_into_doubt_and_another_out_of_it() -> None:
    async with rig.site() as site, site.replica() as replica:
        await site.hosts()
        run_id = await into_doubt(site, replica, 0)
        await wait_until(lambda: counted(replica) == {("clerk", "pay", "person"): 1}, message=lambda: str(counted(replica)))
        await site.mail(ToolSucceeded(run_id=run_id, call_id=CallId("0:1"), attempt=1, result=Raw(b"1")))
        await site.until(run_id, "tool_call_completed")
        await wait_until(lambda: not counted(replica))


async def test_who_takes_a_partition_over_finds_what_is_in_doubt_there() -> None:
    async with rig.site() as site:
        async with site.replica() as first:
            await site.hosts()
            for partition in (0, 1):
                await into_doubt(site, first, partition)
        async with site.replica() as second:
            await wait_until(lambda: len(second.ground.epochs) == 2)
            doubts = Doubts(second.ground)
            assert not doubts.count()
            await doubts.seed()
            assert doubts.count() == {("clerk", "pay", "person"): 2}
            del second.ground.epochs[1]
            assert doubts.count() == {("clerk", "pay", "person"): 1}, "what is not ours is counted by its owner"


def test_what_settles_a_call_next_is_told_apart() -> None:
    state = RunState(run_id=rig.new_run(), agent="clerk")
    state.calls = {
        CallId("0:1"): Call(kind="tool", seq=2, sent=2, name="pay", stage="doubt"),
        CallId("0:2"): Call(kind="tool", seq=3, sent=3, name="pay", stage="doubt", due_at=12.0),
        CallId("0:3"): Call(kind="tool", seq=4, sent=4, name="look", stage="reconcile"),
        CallId("0:4"): Call(kind="tool", seq=5, sent=5, name="look", stage="sent"),
    }
    expected = {("clerk", "pay", "person"): 1, ("clerk", "pay", "reconcile"): 1, ("clerk", "look", "reconcile"): 1}
    assert of_state(state) == expected
    assert of_row(run_row(new_run_id(), state=encode_state(state))) == expected
    assert not of_row(run_row(new_run_id(), state=b"{"))
