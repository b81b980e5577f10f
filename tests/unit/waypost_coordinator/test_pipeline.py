"""Decide, commit, publish, ack: what happens to letters when a commit is refused, unknown, or made by somebody else."""

from __future__ import annotations

import asyncio

import pytest

from tests.unit.waypost_coordinator.rig import Replica, Site, call, complete, new_run, start
from tests.waiting import wait_until
from waypost_coordinator import pipeline
from waypost_proto.mailbox import Pause, Resume, Signal
from waypost_proto.values import RunStatus


async def test_a_run_from_start_to_end_is_four_messages_a_step(desk: Site, replica: Replica) -> None:
    run_id = await replica.start()
    first = await desk.activation(run_id)
    await desk.advance(first, call("look", first))
    await desk.succeed(await desk.call(run_id))
    second = await desk.activation(run_id, 2)
    await desk.advance(second, complete(second))
    await desk.until(run_id, "run_completed")
    assert desk.types(run_id) == ["run_started", "tool_call_requested", "tool_call_completed", "run_completed"]
    assert [len(desk.activations(run_id)), len(desk.calls(run_id))] == [2, 1]
    await wait_until(lambda: desk.published_events(run_id) == [1, 2, 3, 4])
    await wait_until(lambda: desk.on("MAILBOX") == [], message="a letter was not acked")


async def test_nothing_leaves_before_the_commit_and_no_ack_before_the_publish(desk: Site, replica: Replica) -> None:
    """CORRECTNESS.md row 1: the unacknowledged message is the outbox."""
    run_id = await replica.start()
    first = await desk.activation(run_id)
    replica.log.gate.clear()
    replica.bus.held = ".tools."
    await desk.advance(first, call("look", first))
    await wait_until(lambda: replica.log.waiting == 1)
    assert (desk.calls(run_id), desk.confirms, len(desk.on("MAILBOX"))) == ([], [], 1)
    replica.log.gate.set()
    await wait_until(lambda: desk.confirms)
    assert (desk.calls(run_id), len(desk.on("MAILBOX"))) == ([], 1), "acked although its dispatch is not in JetStream"
    replica.bus.gate.set()
    await desk.call(run_id)
    await wait_until(lambda: desk.on("MAILBOX") == [])


async def test_a_duplicate_shares_the_fate_of_the_batch_with_the_first(desk: Site, replica: Replica) -> None:
    """CORRECTNESS.md row 1: the second is judged on what the first has decided and is not acked when that is not committed."""
    run_id = await replica.start()
    given = await desk.activation(run_id)
    replica.log.gate.clear()
    signal = Signal(run_id=run_id, request_id="s1", name="go")
    await desk.mail(signal, kind="control")
    await wait_until(lambda: replica.log.waiting == 1)
    await desk.mail(signal, kind="control")
    await wait_until(lambda: replica.coordinator._pipeline._next is not None)
    replica.store.fail_next_commit("before")
    replica.log.gate.set()
    await desk.until(run_id, "signal_received")
    await wait_until(lambda: desk.on("MAILBOX") == [], message="not acked after the take-over")
    assert desk.types(run_id) == ["run_started", "signal_received"]
    assert given.run_id == run_id


async def test_after_a_large_batch_a_letter_waits_for_company(desk: Site, replica: Replica, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "COMPANY_SECONDS", 0.2)
    run_id = await replica.start()
    await desk.activation(run_id)
    stages, box = replica.coordinator._pipeline, replica.coordinator._pipeline._ground.box

    async def send(*numbers: int) -> None:
        for number in numbers:
            await desk.mail(Signal(run_id=run_id, request_id=f"s{number}", name="go"), kind="control")

    replica.log.gate.clear()
    await send(0)
    await wait_until(lambda: replica.log.waiting == 1)
    await send(1)
    await wait_until(lambda: stages._next is not None)
    await send(*range(2, 2 + pipeline.BUSY_LETTERS))
    await wait_until(lambda: len(box) == pipeline.BUSY_LETTERS)
    replica.log.gate.set()
    await wait_until(lambda: stages._taken == pipeline.BUSY_LETTERS)
    await send(20)
    await wait_until(lambda: len(box) == 1, message="it did not wait")
    await send(21)
    await wait_until(lambda: stages._taken == 2, message="they were not one batch")
    await wait_until(lambda: desk.types(run_id).count("signal_received") == pipeline.BUSY_LETTERS + 4)


@pytest.mark.parametrize("when", ["before", "after"])
async def test_an_ambiguous_commit_loses_nothing_and_does_nothing_twice(desk: Site, replica: Replica, when: str) -> None:
    """CORRECTNESS.md row 1: step down, take over anew, publish what was committed; redelivery brings the rest."""
    run_id = await replica.start()
    given = await desk.activation(run_id)
    replica.store.fail_next_commit(when)  # type: ignore[arg-type]
    epochs = dict(replica.coordinator.leases.epochs)
    await desk.advance(given, call("look", given))
    await desk.succeed(await desk.call(run_id))
    second = await desk.activation(run_id, 2)
    await desk.advance(second, complete(second))
    await desk.until(run_id, "run_completed")
    assert desk.types(run_id) == ["run_started", "tool_call_requested", "tool_call_completed", "run_completed"]
    assert len(desk.calls(run_id)) == 1
    await wait_until(lambda: desk.published_events(run_id) == [1, 2, 3, 4])
    assert all(replica.coordinator.leases.epochs[p] > epoch for p, epoch in epochs.items())


async def test_a_caller_is_told_when_its_commit_is_unknown(desk: Site, replica: Replica) -> None:
    """CORRECTNESS.md row 2: an answer is a promise, and no answer is none."""
    replica.store.fail_next_commit("after")
    run_id = new_run()
    reply = await replica.submit(start(run_id))
    assert (reply.ok, reply.code) == (False, "504")
    await desk.activation(run_id)
    await wait_until(lambda: len(replica.coordinator.leases.epochs) == 2)
    again = await replica.submit(start(run_id))
    assert (again.ok, again.duplicate) == (True, True)


async def test_a_failing_batch_is_halved_until_the_poison_is_alone(desk: Site, replica: Replica) -> None:
    """CORRECTNESS.md row 14: the others of its batch go through, the poison letter is answered and given up."""
    blocker, *runs = [new_run() for _ in range(9)]
    poison = runs[3]
    replica.log.poison.add(poison)
    replica.log.gate.clear()
    first = asyncio.ensure_future(replica.submit(start(blocker)))
    await wait_until(lambda: replica.log.waiting == 1)
    second = asyncio.ensure_future(replica.submit(start(new_run())))  # decided, waits behind the first; the others gather
    await wait_until(lambda: replica.coordinator._pipeline._next is not None)
    answers = [asyncio.ensure_future(replica.submit(start(run_id))) for run_id in runs]
    await asyncio.sleep(0)
    replica.log.gate.set()
    replies = dict(zip(runs, await asyncio.gather(*answers), strict=True))
    assert (await first).ok
    assert (await second).ok
    assert [run_id for run_id, reply in replies.items() if not reply.ok] == [poison]
    assert replies[poison].code == "500"
    assert replica.log.refused == [8, 4, 2, 1]
    assert desk.types(poison) == []


async def test_a_poison_message_is_dead_after_its_tries_and_its_pump_goes_on(desk: Site, replica: Replica) -> None:
    """CORRECTNESS.md row 14."""
    poison, healthy = await replica.start(partition=0), await replica.start(partition=0)
    replica.log.poison.add(poison)
    mail = Signal(run_id=poison, request_id="p", name="x\0y")
    for _ in range(2):
        await replica.store.dead.count_failure("MAILBOX." + ".".join(await _source_of_next_mail(desk)))
    await desk.mail(mail, kind="control", name="run")
    await wait_until(lambda: desk.on("DEAD"))
    await desk.mail(Signal(run_id=healthy, request_id="h", name="go"), kind="control", name="run")
    await desk.until(healthy, "signal_received")
    dead = desk.on("DEAD")[0]
    assert dead.subject == "t.dead.mailbox"
    assert b'"x\\u0000y"' in dead.body
    assert [view.run_id for view in await replica.store.dead.list()] == [poison]
    await wait_until(lambda: desk.on("MAILBOX") == [])


async def _source_of_next_mail(desk: Site) -> tuple[str, str]:
    """Time stands still for the broker, so that the name of the message to come is known."""
    from waypost_io.bus._memory_store import Time

    stream = desk.broker.streams["T_MAILBOX"]
    stream._time = Time(lambda: 7.0, stream._time.call_later)
    return "7.0", str(stream.mark().last_seq + 1)


async def test_a_cause_that_is_in_the_log_is_a_repeat(desk: Site, replica: Replica) -> None:
    """The memory of causes is bounded; the log's unique cause is the backstop (CORRECTNESS.md row 20)."""
    run_id = await replica.start()
    first = Signal(run_id=run_id, request_id="first", name="go")
    assert (await replica.submit(first)).ok
    for number in range(40):
        await replica.submit(Signal(run_id=run_id, request_id=f"r{number}", name="go"))
    before = desk.types(run_id)
    again = await replica.submit(first)
    assert (again.ok, again.duplicate) == (True, True)
    assert desk.types(run_id) == before
    assert (await replica.submit(Signal(run_id=run_id, request_id="next", name="go"))).ok


async def test_what_a_refused_commit_puts_back_stays_before_what_came_later(desk: Site, replica: Replica) -> None:
    """CORRECTNESS.md row 9: never a pause after its resume."""
    run_id, poison = await replica.start(), new_run()
    replica.log.poison.add(poison)
    replica.log.gate.clear()
    blocked = asyncio.ensure_future(replica.submit(Signal(run_id=run_id, request_id="s", name="go")))
    await wait_until(lambda: replica.log.waiting == 1)
    letters = [
        asyncio.ensure_future(replica.submit(mail))
        for mail in (start(poison), Pause(run_id=run_id, request_id="p"), Resume(run_id=run_id, request_id="r"))
    ]
    for _ in range(5):
        await asyncio.sleep(0)
    replica.log.gate.set()
    replies = await asyncio.gather(*letters)
    assert (await blocked).ok
    assert [reply.ok for reply in replies] == [False, True, True]
    assert desk.types(run_id) == ["run_started", "signal_received", "run_paused", "run_resumed"]


async def test_a_zombie_writes_nothing_and_gives_up(desk: Site, replica: Replica) -> None:
    """CORRECTNESS.md row 10: somebody else has the leases; the epoch in every transaction says so."""
    run_id = await replica.start()
    for record in desk.database.partitions.values():
        record.epoch += 1
        record.owner = "another"
        record.expires_at = desk.database.clock() + 0.5
    reply = await replica.submit(Signal(run_id=run_id, request_id="s", name="go"))
    assert not reply.ok
    assert desk.types(run_id) == ["run_started"]
    await wait_until(lambda: len(replica.coordinator.leases.epochs) == 2, message="it does not take over what the other one left")
    assert (await replica.submit(Signal(run_id=run_id, request_id="s", name="go"))).ok


async def test_a_zombie_does_not_answer_from_its_memory(desk: Site, replica: Replica) -> None:
    """CORRECTNESS.md row 10: also what needs no commit (a repeat) is not answered by whoever's lease has run out."""
    run_id = await replica.start()
    leases = replica.coordinator.leases
    leases._until.update(dict.fromkeys(leases._until, 0.0))  # it was stopped for longer than its lease
    reply = await replica.submit(Resume(run_id=run_id, request_id="r"))
    assert (reply.ok, reply.code) == (False, "503")


async def test_a_small_cache_never_confuses_runs_that_are_being_committed(desk: Site) -> None:
    """CORRECTNESS.md row 20: flat while cached, a miss costs one load; never a decision on an older state."""
    async with desk_with_cache(1) as small, small.replica() as replica:
        await small.hosts()
        runs = [await replica.start() for _ in range(12)]
        requests = [Signal(run_id=run_id, request_id=f"s{n}", name="go") for n in range(3) for run_id in runs]
        replies = await asyncio.gather(*(replica.submit(request) for request in requests))
        assert all(reply.ok and not reply.duplicate for reply in replies), [reply for reply in replies if not reply.ok]
        for run_id in runs:
            assert small.types(run_id) == ["run_started"] + ["signal_received"] * 3
        assert len(replica.ground.runs) < len(runs) + 1


def desk_with_cache(runs: int):  # type: ignore[no-untyped-def]
    from tests.unit.waypost_coordinator.rig import site

    return site(WAYPOST_COORDINATOR_CACHE_RUNS=str(runs), WAYPOST_COORDINATOR_BATCH_MAX="4")


async def test_a_small_cache_keeps_what_is_decided_and_not_committed() -> None:
    """CORRECTNESS.md row 1: a resume judged on the state before its pause would be taken for a repeat, and lost."""
    async with desk_with_cache(1) as small, small.replica() as replica:
        await small.hosts()
        paused, other, third = [await replica.start() for _ in range(3)]
        replica.log.gate.clear()
        blocker = asyncio.ensure_future(replica.submit(Signal(run_id=third, request_id="b", name="go")))
        await wait_until(lambda: replica.log.waiting == 1)
        batch = [Pause(run_id=paused, request_id="p"), Signal(run_id=other, request_id="s", name="go")]
        requests = [asyncio.ensure_future(replica.submit(mail)) for mail in batch]
        await wait_until(lambda: replica.coordinator._pipeline._next is not None)
        resumed = asyncio.ensure_future(replica.submit(Resume(run_id=paused, request_id="r")))
        await wait_until(lambda: len(replica.ground.box) == 1)
        replica.log.gate.set()
        replies = await asyncio.gather(blocker, *requests, resumed)
        assert [(reply.ok, reply.duplicate) for reply in replies] == [(True, False)] * 4
        assert small.types(paused) == ["run_started", "run_paused", "run_resumed"]


async def test_runs_of_a_lost_partition_are_loaded_anew(desk: Site, replica: Replica) -> None:
    """CORRECTNESS.md row 10: another owner may have gone on with them; those of other partitions stay."""
    lost, kept = await replica.start(partition=0), await replica.start(partition=1)
    replica.coordinator.leases.lost([0])
    await wait_until(lambda: replica.ground.runs.get(lost) is None)
    assert replica.ground.runs.get(kept) is not None


async def test_a_commit_that_is_answered_after_its_partition_was_gained_again(desk: Site, replica: Replica) -> None:
    """CORRECTNESS.md row 10: where the log ends is what the new lease says, not what the old answer says."""
    run_id = await replica.start(partition=0)
    replica.log.told.clear()
    request = asyncio.ensure_future(replica.submit(Signal(run_id=run_id, request_id="s", name="go")))
    await wait_until(lambda: "signal_received" in desk.types(run_id))
    pipeline = replica.coordinator._pipeline
    pipeline.gained(0, 17)
    replica.log.told.set()
    await request
    pipeline._forget_states()
    assert pipeline._decider.positions[0] == 17


async def test_a_run_that_cannot_be_read_does_not_stop_the_others(desk: Site, replica: Replica) -> None:
    """CORRECTNESS.md row 14: its letters are answered; the process lives."""
    from dataclasses import replace

    broken, healthy = await replica.start(), await replica.start()
    row = desk.database.runs[broken]
    desk.database.runs[broken] = replace(row, state=b"{", state_version=row.state_version)
    desk.database.events[broken] = {}
    replica.ground.runs.clear()
    refused, taken = await asyncio.gather(
        replica.submit(Signal(run_id=broken, request_id="b", name="go")), replica.submit(Signal(run_id=healthy, request_id="h", name="go"))
    )
    assert (refused.code, taken.ok) == ("500", True)


async def test_states_that_cannot_be_loaded_are_not_decided_without(desk: Site, replica: Replica) -> None:
    run_id = await replica.start()
    await desk.activation(run_id)
    replica.ground.runs.clear()
    desk.database.down = True
    reply = await replica.submit(Signal(run_id=run_id, request_id="s", name="go"))
    assert (reply.ok, reply.code) == (False, "504")
    desk.database.down = False
    await wait_until(lambda: len(replica.coordinator.leases.epochs) == 2)
    assert (await replica.submit(Signal(run_id=run_id, request_id="s", name="go"))).ok
    assert (await replica.store.reads.get(run_id)).status == RunStatus.PENDING  # type: ignore[union-attr]
