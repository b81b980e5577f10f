"""The mailbox pumps: one consumer per partition and lease epoch; the old ones go."""

from __future__ import annotations

from tests.unit.waypost_coordinator.rig import Replica, Site, new_run
from tests.waiting import wait_until
from waypost_proto.mailbox import Pause, Resume, Signal


def consumers(desk: Site) -> set[str]:
    return set(desk.broker.streams["T_MAILBOX"].consumers)


async def test_a_new_epoch_has_a_consumer_of_its_own_and_the_old_one_is_gone(desk: Site, replica: Replica) -> None:
    """CORRECTNESS.md row 9."""
    await wait_until(lambda: consumers(desk) == {"mailbox-0-1", "mailbox-1-1"})
    replica.coordinator.leases.step_down("a test says so")
    await wait_until(lambda: consumers(desk) == {"mailbox-0-2", "mailbox-1-2"})


async def test_after_a_take_over_everything_unacked_comes_again_in_order(desk: Site) -> None:
    """CORRECTNESS.md row 9: pause, resume, pause; killed with all of them in hand."""
    async with desk.replica() as first:
        await desk.hosts()
        run_id = await first.start()
        first.log.gate.clear()
        for mail in (Pause(run_id=run_id, request_id="1"), Resume(run_id=run_id, request_id="2"), Pause(run_id=run_id, request_id="3")):
            await desk.mail(mail, kind="control", name="run")
        await wait_until(lambda: first.log.waiting == 1)
    async with desk.replica():
        await desk.until(run_id, "run_paused", 2)
        assert desk.types(run_id) == ["run_started", "run_paused", "run_resumed", "run_paused"]
        await wait_until(lambda: desk.on("MAILBOX") == [])


async def test_a_zombies_late_ack_removes_nothing(desk: Site) -> None:
    """CORRECTNESS.md row 9: what the old owner had in hand belongs to the new one's consumer."""
    async with desk.replica() as zombie:
        await desk.hosts()
        run_id = await zombie.start(partition=0)
        letters, put = [], zombie.ground.box.put
        zombie.ground.box.put = lambda letter: (letters.append(letter), put(letter))[1]  # type: ignore[method-assign]
        zombie.log.gate.clear()
        await desk.mail(Signal(run_id=run_id, request_id="s", name="go"), kind="control", name="run")
        await wait_until(lambda: zombie.log.waiting == 1)
        for record in desk.database.partitions.values():
            record.expires_at = 0.0
        async with desk.replica(committing=False) as heir:
            await wait_until(lambda: heir.log.waiting == 1)
            zombie.log.gate.set()
            await wait_until(lambda: not zombie.ground.owns(0))
            assert desk.types(run_id) == ["run_started"]
            for letter in letters:
                if letter.done is not None:
                    letter.done()
            assert len(desk.on("MAILBOX")) == 1
            heir.log.gate.set()
            await desk.until(run_id, "signal_received")
            assert desk.types(run_id) == ["run_started", "signal_received"]


async def test_a_consumer_from_long_ago_does_not_keep_the_mailbox_closed(desk: Site) -> None:
    """Epochs went by without a pump while the broker was away; the last pump's consumer overlaps with ours."""
    async with desk.replica():
        await wait_until(lambda: consumers(desk) == {"mailbox-0-1", "mailbox-1-1"})
    for record in desk.database.partitions.values():
        record.epoch, record.expires_at = 40, 0.0
    async with desk.replica() as replica:
        run_id = await replica.start(partition=0)
        await desk.mail(Signal(run_id=run_id, request_id="s", name="go"), kind="control", name="run")
        await desk.until(run_id, "signal_received")
        await wait_until(lambda: consumers(desk) == {"mailbox-0-41", "mailbox-1-41"})


async def test_mail_that_is_no_message_of_ours_is_dead_and_the_next_is_read(desk: Site, replica: Replica) -> None:
    """CORRECTNESS.md row 14."""
    run_id = await replica.start(partition=0)
    subject = f"t.mailbox.control.run.{run_id}"
    bodies = [b"", b"{", b"\xff", b'{"type":"no such thing"}', b'{"type":"signal","run_id":1}', b"[" * 100_000]
    for number, body in enumerate(bodies):
        await desk.bus.publish(subject, body, msg_id=f"bad{number}")
    await desk.mail(Signal(run_id=run_id, request_id="s", name="go"), kind="control", name="run")
    await desk.until(run_id, "signal_received")
    await wait_until(lambda: len(desk.on("DEAD")) == len(bodies))
    assert {message.body for message in desk.on("DEAD")} == set(bodies)
    assert len(await replica.store.dead.list()) == len(bodies)


async def test_every_message_twice_late_or_for_nobody_has_no_effect(desk: Site, replica: Replica) -> None:
    run_id = await replica.start()
    for _ in range(2):
        await desk.mail(Signal(run_id=run_id, request_id="s", name="go"), kind="control", name="run")
        await desk.mail(Signal(run_id=new_run(), request_id="s", name="go"), kind="control", name="run")
    await wait_until(lambda: desk.on("MAILBOX") == [])
    assert desk.types(run_id) == ["run_started", "signal_received"]
    assert list(desk.database.runs) == [run_id]
