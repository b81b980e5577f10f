"""Several answers in one message: each counts as if it had come alone, and the message is done with when all of them are."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import Raw

from tests.unit.waypost_coordinator.rig import SUBJECTS, Replica, Site, call, new_run
from tests.waiting import wait_until
from waypost_coordinator.api.dead import as_published
from waypost_proto.codec import encode
from waypost_proto.ids import CallId, RunId
from waypost_proto.mailbox import Advance, Mail, MailFrame, Signal, ToolSucceeded
from waypost_proto.notices import DEAD_ORIGIN_HEADER
from waypost_proto.tools import ToolCall
from waypost_proto.values import Token


def succeeded(of: ToolCall) -> ToolSucceeded:
    return ToolSucceeded(run_id=of.run_id, call_id=of.call_id, attempt=of.attempt, result=Raw(b"2"))


async def asked(desk: Site, replica: Replica, *partitions: int) -> list[ToolCall]:
    """Calls of one run in each of these partitions."""
    runs = [await replica.start(partition=partition) for partition in partitions]
    for run_id in runs:
        given = await desk.activation(run_id)
        await desk.advance(given, call("look", given))
    return [await desk.call(run_id) for run_id in runs]


async def publish(desk: Site, *mail: Mail | bytes, first: RunId, kind: str = "result", name: str = "look") -> None:
    bodies = [Raw(each if isinstance(each, bytes) else encode(each)) for each in mail]
    await desk.bus.publish(SUBJECTS.mail(kind, name, first), encode(MailFrame(mail=bodies)), msg_id=f"frame{new_run()}")


def results(desk: Site, *calls: ToolCall) -> list[int]:
    return [desk.types(each.run_id).count("tool_call_completed") for each in calls]


async def test_every_part_counts_and_the_message_goes_with_the_last(desk: Site, replica: Replica) -> None:
    await desk.hosts()
    calls = await asked(desk, replica, 0, 1, 0, 1)
    await wait_until(lambda: desk.on("MAILBOX") == [])
    replica.log.gate.clear()
    await publish(desk, *map(succeeded, calls[:2]), succeeded(calls[0]), first=calls[0].run_id)
    await wait_until(lambda: replica.log.waiting == 1)
    assert len(desk.on("MAILBOX")) == 1
    replica.log.gate.set()
    await wait_until(lambda: results(desk, *calls) == [1, 1, 0, 0])
    await wait_until(lambda: desk.on("MAILBOX") == [])
    assert desk.on("DEAD") == []


async def test_what_was_sent_says_who_sent_it(desk: Site, replica: Replica) -> None:
    await desk.hosts()
    (one,) = await asked(desk, replica, 0)
    assert one.sender == replica.ground.name != ""
    assert (await desk.activation(one.run_id)).sender == replica.ground.name
    assert replica.coordinator.leases.name.endswith(f".{replica.ground.name}")


async def test_a_frame_that_comes_again_changes_nothing(desk: Site, replica: Replica) -> None:
    await desk.hosts()
    calls = await asked(desk, replica, 0, 1)
    for _ in range(2):
        await publish(desk, *map(succeeded, calls), first=calls[0].run_id)
    await wait_until(lambda: desk.on("MAILBOX") == [])
    assert results(desk, *calls) == [1, 1]


async def test_a_part_for_another_replicas_run_goes_where_it_would_have_come_alone(desk: Site) -> None:
    """CORRECTNESS.md row 9: a partition moved between a call and its answer. Its new owner hears of it, and nobody else decides."""
    async with desk.replica() as first:
        await desk.hosts()
        calls = await asked(desk, first, 0, 1)
        await wait_until(lambda: desk.on("MAILBOX") == [])
        async with desk.replica() as second:
            await wait_until(lambda: len(first.ground.epochs) == len(second.ground.epochs) == 1)
            (kept,) = first.ground.epochs
            mine, other = calls[kept], calls[1 - kept]
            await publish(desk, succeeded(mine), succeeded(other), first=mine.run_id)
            await wait_until(lambda: results(desk, mine, other) == [1, 1])
            await wait_until(lambda: desk.on("MAILBOX") == [])
            assert first.ground.runs.get(other.run_id) is None


async def test_a_part_whose_partition_is_lost_while_it_waits_is_passed_on(desk: Site) -> None:
    async with desk.replica() as first:
        await desk.hosts()
        mine, other = await asked(desk, first, 0, 1)
        await wait_until(lambda: desk.on("MAILBOX") == [])
        first.log.gate.clear()
        await desk.mail(Signal(run_id=mine.run_id, request_id="s", name="go"), kind="control", name="run")
        await wait_until(lambda: first.log.waiting == 1)  # whatever comes now waits
        await publish(desk, succeeded(mine), succeeded(other), first=mine.run_id)
        await wait_until(lambda: len(first.ground.box) == 2 or first.coordinator._pipeline._next is not None)
        first.coordinator.leases.lost([1])
        assert not first.ground.owns(1)
        first.log.gate.set()
        await wait_until(lambda: results(desk, mine, other) == [1, 1])
        await wait_until(lambda: desk.on("MAILBOX") == [])


async def test_a_part_whose_partition_becomes_ours_meanwhile_is_handled_at_once(
    desk: Site, replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a take-over partitions come one by one, and the frames of one have mail for the next. They come again after half a minute."""
    await desk.hosts()
    mine, other = await asked(desk, replica, 0, 1)
    await wait_until(lambda: desk.on("MAILBOX") == [])
    ground, load = replica.ground, replica.ground.runs.load
    epoch = ground.epochs.pop(1)

    async def admitted_meanwhile(run_ids: Any) -> Any:
        found = await load(run_ids)
        ground.epochs[1] = epoch
        return found

    monkeypatch.setattr(ground.runs, "load", admitted_meanwhile)
    await publish(desk, succeeded(mine), succeeded(other), first=mine.run_id)
    await wait_until(lambda: results(desk, mine, other) == [1, 1])
    await wait_until(lambda: desk.on("MAILBOX") == [])
    assert not replica.coordinator._mailroom._forwarding


SOME_RUN = RunId("0192f0c1-7a3e-7c21-8f00-3b1d6a9c4e55")
ADVANCE = Advance(run_id=SOME_RUN, agent="clerk", worker="w1", build="b1", token=Token(1, 1), base="", seen=0, items=Raw(b"[]"))
BAD = {
    "no message at all": b"7",
    "what no frame may carry": encode(Signal(run_id=SOME_RUN, request_id="s", name="go")),
    "a frame in a frame": encode(MailFrame(mail=[])),
    "an advance among results": encode(ADVANCE),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
async def test_a_part_that_is_none_of_ours_is_dead_alone(bad: bytes, desk: Site, replica: Replica) -> None:
    """CORRECTNESS.md row 14. Two of them are two dead letters, each with its own bytes."""
    await desk.hosts()
    calls = await asked(desk, replica, 0, 1)
    await publish(desk, bad, succeeded(calls[0]), bad, succeeded(calls[1]), first=calls[0].run_id)
    await wait_until(lambda: results(desk, *calls) == [1, 1])
    await wait_until(lambda: len(desk.on("DEAD")) == 2 and desk.on("MAILBOX") == [])
    assert {message.body for message in desk.on("DEAD")} == {bad}
    assert len(await replica.store.dead.list()) == 2


async def test_a_part_that_cannot_be_handled_is_dead_in_the_end_and_can_be_published_again(
    desk: Site, replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    await desk.hosts()
    healthy, poison = await asked(desk, replica, 0, 1)
    decider = replica.coordinator._pipeline._decider
    whole = decider._one

    def one(batch: Any, letter: Any, *more: Any) -> None:
        if letter.run_id == poison.run_id and isinstance(letter.mail, ToolSucceeded):
            raise RuntimeError("a test says so")
        whole(batch, letter, *more)

    monkeypatch.setattr(decider, "_one", one)
    monkeypatch.setattr("waypost_coordinator.dead.TRIES", 1)
    await publish(desk, succeeded(healthy), succeeded(poison), first=healthy.run_id)
    await wait_until(lambda: len(desk.on("DEAD")) == 1 and desk.on("MAILBOX") == [])
    assert results(desk, healthy, poison) == [1, 0]
    (dead,) = desk.on("DEAD")
    assert dead.body == encode(succeeded(poison))
    origin = as_published(SUBJECTS, dead.headers[DEAD_ORIGIN_HEADER])
    assert origin == SUBJECTS.mail("result", "look", poison.run_id), "not the frame's, which names another run"
    monkeypatch.undo()
    await desk.bus.publish(origin, dead.body, msg_id="again")
    await wait_until(lambda: results(desk, healthy, poison) == [1, 1])


async def test_a_frame_without_mail_is_dead(desk: Site, replica: Replica) -> None:
    await publish(desk, first=new_run(0))
    await wait_until(lambda: len(desk.on("DEAD")) == 1 and desk.on("MAILBOX") == [])
    assert "without mail" in (await replica.store.dead.list())[0].reason


ELSEWHERE = [("advance", "clerk"), ("result", "look"), ("control", "run")]


@pytest.mark.parametrize(("kind", "name"), ELSEWHERE)
async def test_mail_that_is_not_what_its_subject_says_is_refused(kind: str, name: str, desk: Site, replica: Replica) -> None:
    """Permissions go by subjects: who may send results must not be able to pause a run, or to speak for a worker."""
    await desk.hosts()
    run_id = await replica.start(partition=0)
    given = await desk.activation(run_id)
    mail: dict[str, Mail] = {
        "advance": await desk.advance(given, call("look", given)),
        "result": ToolSucceeded(run_id=run_id, call_id=CallId("0:1"), attempt=1),
        "control": Signal(run_id=run_id, request_id="s", name="go"),
    }
    await wait_until(lambda: desk.on("MAILBOX") == [])
    before = desk.types(run_id)
    for other in mail.keys() - {kind}:
        await desk.mail(mail[other], kind=kind, name=name)
    another = new_run(0)
    await desk.bus.publish(SUBJECTS.mail(kind, name, another), encode(mail[kind]), msg_id="for another run")
    if kind == "advance":
        await desk.mail(mail["advance"], kind="advance", name="other")
    await wait_until(lambda: len(desk.on("DEAD")) == (4 if kind == "advance" else 3) and desk.on("MAILBOX") == [])
    assert desk.types(run_id) == before
    reasons = {dead.reason for dead in await replica.store.dead.list()}
    assert all(name in reason or str(another) in reason or "other" in reason for reason in reasons), reasons
