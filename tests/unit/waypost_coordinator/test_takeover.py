"""Taking over: what lies above the published position goes out again under its old ids, and nothing else."""

from __future__ import annotations

from msgspec import Raw

from tests.unit.waypost_coordinator.rig import Parts, Replica, Site, call, new_run
from tests.waiting import wait_until
from waypost_coordinator.takeover import TakeOver
from waypost_io.store.ports import InboxRow
from waypost_io.store.ports import Lease as PartitionLease
from waypost_proto import commands as cmd
from waypost_proto.codec import encode
from waypost_proto.ids import CallId, RunId, child_run_id
from waypost_proto.mailbox import AskLease, ChildEnded, GrantLease, Mail, Pause, RecallLease, Resume, ReturnLease, Signal, StartRun
from waypost_proto.usage import Lease, Usage
from waypost_proto.values import RunStatus


async def test_what_was_published_is_not_dispatched_again(desk: Site) -> None:
    """CORRECTNESS.md row 13: model calls in progress are not paid twice because a coordinator died."""
    async with desk.replica() as first:
        await desk.hosts()
        run_id = await first.start(partition=0)
        given = await desk.activation(run_id)
        await desk.advance(given, call("look", given))
        await desk.call(run_id)
        await settled(first, run_id)
        await first.start(partition=0)  # whose commit stores the position
    async with desk.replica() as second:
        await desk.hosts()
        await wait_until(lambda: len(second.coordinator.leases.epochs) == 2)
        await second.submit(Signal(run_id=run_id, request_id="s", name="go"))
        await desk.until(run_id, "signal_received")
        assert len(desk.calls(run_id)) == 1


async def settled(replica: Replica, run_id: RunId) -> None:
    partition = replica.ground.partition(run_id)
    await wait_until(lambda: replica.ground.published[partition] == desk_position(replica, partition))


def desk_position(replica: Replica, partition: int) -> int:
    return replica.site.database.partitions[partition].position


async def test_what_was_committed_and_not_published_goes_out_under_its_ids(desk: Site) -> None:
    """CORRECTNESS.md rows 11 and 12: killed between commit and publish."""
    async with desk.replica() as first:
        await desk.hosts()
        run_id = await first.start(partition=0)
        given = await desk.activation(run_id)
        first.bus.held = "t."
        await desk.advance(given, call("look", given))
        await desk.until(run_id, "tool_call_requested")
        await wait_until(lambda: any("tools" in subject for subject, _ in first.bus.published))
        lost = [msg_id for subject, msg_id in first.bus.published if "tools" in subject]
    assert desk.calls(run_id) == []
    async with desk.replica() as second:
        await desk.hosts()
        await desk.call(run_id)
        assert [msg_id for subject, msg_id in second.bus.published if "tools" in subject] == lost
        await wait_until(lambda: desk.published_events(run_id) == [1, 2])


async def test_an_event_that_reached_the_stream_is_not_there_twice(desk: Site) -> None:
    async with desk.replica() as first:
        await desk.hosts()
        run_id = await first.start(partition=0)
        await wait_until(lambda: desk.published_events(run_id) == [1])
    assert desk.database.partitions[0].published == 0, "the position was not stored: the take-over publishes it again"
    async with desk.replica() as second:
        await wait_until(lambda: any("events" in subject for subject, _ in second.bus.published))
        assert desk.published_events(run_id) == [1]
        assert len(desk.activations(run_id)) == 1


async def test_mail_between_runs_that_nobody_received_is_delivered(desk: Site) -> None:
    """CORRECTNESS.md row 2: the child's start is a row until the child has recorded it."""
    async with desk.replica() as first:
        await desk.hosts()
        run_id = await first.start()
        given = await desk.activation(run_id)
        child = child_run_id(run_id, CallId("0:1"))
        first.ground.box.put, put = (lambda letter: None if letter.run_id == child else put(letter)), first.ground.box.put  # type: ignore[method-assign]
        await desk.advance(given, cmd.StartChild(seen=given.upto, id=CallId("0:1"), agent="clerk", input=Raw(b"1")))
        await desk.until(run_id, "child_requested")
        await wait_until(lambda: desk.database.inbox)
    assert desk.types(child) == []
    async with desk.replica():
        await desk.until(child, "run_started")
        assert desk.database.inbox == {}


async def test_every_kind_of_mail_between_runs_can_be_read(parts: Parts) -> None:
    """A row that cannot be read would end every coordinator that takes the partition over."""
    run_id, child = new_run(0), new_run(0)
    mail: list[Mail] = [
        StartRun(run_id=run_id, agent="clerk", input=Raw(b"1")),
        Pause(run_id=run_id, request_id="p"),
        ChildEnded(run_id=run_id, call_id=CallId("0:1"), child=child, status=RunStatus.COMPLETED),
        GrantLease(run_id=run_id, lease=Lease()),
        RecallLease(run_id=run_id, number=1),
        AskLease(run_id=run_id, call_id=CallId("0:1"), child=child, need=Usage(), spent=Usage(), number=1),
        ReturnLease(run_id=run_id, call_id=CallId("0:1"), child=child, returned=Usage(), spent=Usage(), number=1),
    ]
    for number, each in enumerate(mail):
        parts.store.leases._db.inbox[str(number)] = InboxRow(str(number), run_id, 0, "t.mailbox.x", encode(each), child)
    letters = await TakeOver(parts.ground, None).unreceived(0)  # type: ignore[arg-type]
    assert [letter.mail for letter in letters] == mail


async def test_mail_for_another_replicas_run_arrives_although_its_sender_died_before_sending_it(desk: Site) -> None:
    """CORRECTNESS.md row 2: nobody takes the receiver's partition over, so its owner looks for what lies there."""
    async with desk.replica() as heir:
        await desk.hosts()
        heir.store.leases.acquire = _none  # type: ignore[method-assign]
        run_id = await heir.start(partition=0)
        given = await desk.activation(run_id)
        number = next(n for n in range(1, 100) if heir.ground.partition(child_run_id(run_id, CallId(f"0:{n}"))) == 1)
        child = child_run_id(run_id, CallId(f"0:{number}"))
        heir.coordinator.leases.lost([0])
        desk.database.partitions[0].expires_at = 0.0
        async with desk.replica() as sender:
            await wait_until(lambda: sender.ground.owns(0))
            sender.bus.held = "t.mailbox"
            await desk.advance(given, cmd.StartChild(seen=given.upto, id=CallId(f"0:{number}"), agent="clerk", input=Raw(b"1")))
            await desk.until(run_id, "child_requested")
            assert desk.types(child) == []
        await desk.until(child, "run_started")
        await wait_until(lambda: desk.database.inbox == {})
        assert not heir.ground.owns(0)


async def _none(*_args: object, **_more: object) -> list[PartitionLease]:
    return []


async def test_nothing_is_decided_in_a_partition_before_its_take_over_is_queued(desk: Site) -> None:
    """CORRECTNESS.md row 12: else the published position could pass what the take-over has still to publish."""
    async with desk.replica() as first:
        await desk.hosts()
        run_id = await first.start(partition=0)
        given = await desk.activation(run_id)
        first.bus.held = "t."
        await desk.advance(given, call("look", given))
        await desk.until(run_id, "tool_call_requested")
    seen: list[bool] = []
    async with desk.replica() as second:
        await desk.hosts()
        take_over = second.coordinator._takeover.take_over

        async def watched(lease):  # type: ignore[no-untyped-def]
            seen.append(second.ground.owns(lease.partition))
            letters = await take_over(lease)
            seen.append(second.ground.owns(lease.partition))
            return letters

        second.coordinator._takeover.take_over = watched  # type: ignore[method-assign]
        second.coordinator.leases.step_down("a test says so")
        await wait_until(lambda: len(seen) >= 4)
        await desk.call(run_id)
    assert not any(seen)


async def test_a_take_over_that_is_interrupted_is_done_again(desk: Site) -> None:
    """NATS or Postgres goes away in the middle: the partition is given back, not kept without a mailbox."""
    from waypost_proto.errors import Unreachable

    async with desk.replica() as replica:
        await desk.hosts()
        run_id = await replica.start()
        gained, fails = replica.coordinator._sweep.gained, [1, 2]

        async def interrupted(partition: int) -> None:
            if fails:
                fails.pop()
                raise Unreachable("a test said so")
            await gained(partition)

        replica.coordinator._sweep.gained = interrupted  # type: ignore[method-assign]
        replica.coordinator.leases.step_down("a test says so")
        await wait_until(lambda: not fails and len(replica.coordinator.leases.epochs) == 2)
        await desk.mail(Signal(run_id=run_id, request_id="s", name="go"), kind="control", name="run")
        await desk.until(run_id, "signal_received")


async def test_a_resume_whose_activation_was_never_sent_wakes_the_run_at_the_take_over(desk: Site) -> None:
    """Nothing outside is new after a resume, so the events alone would not tell that the run wants its worker."""
    async with desk.replica(held="t.work") as first:
        await desk.hosts()
        run_id = await first.start(partition=0)
        await first.submit(Pause(run_id=run_id, request_id="p"))
        await first.submit(Resume(run_id=run_id, request_id="r"))
        assert desk.activations(run_id) == []
    async with desk.replica():
        await desk.hosts()
        await wait_until(lambda: desk.activations(run_id))
