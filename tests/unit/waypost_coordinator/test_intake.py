"""Intake: raw tasks become runs at once; what cannot be a run is a dead letter, and intake goes on."""

from __future__ import annotations

import json
import os
import time

import pytest

from tests.unit.waypost_coordinator.rig import Replica, Site, new_run
from tests.waiting import wait_until
from waypost_proto.ids import RunId, uuid7
from waypost_proto.notices import DEAD_ORIGIN_HEADER, DEAD_REASON_HEADER, DEAD_SEQUENCE_HEADER, DEAD_STREAM_HEADER


async def publish(desk: Site, body: bytes, subject: str = "t.tasks.clerk", **more: str) -> None:
    await desk.bus.publish(subject, body, msg_id=more.pop("msg_id", None), headers=more or None)


async def task(desk: Site, **fields: object) -> None:
    await publish(desk, json.dumps({"input": 1, **fields}).encode())


def runs(desk: Site) -> list[RunId]:
    return list(desk.database.runs)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"{", "truncated"),
        (b"not json", "malformed"),
        (b'"text"', "Expected `object`"),
        (b'{"input": 1, "budgt": {}}', "budgt"),
        (b"{}", "input"),
        (b'{"input": 1, "budget": {"max_steps": 0}}', "max_steps"),
        (b'{"input": 1, "budget": {"max_stepz": 1}}', "max_stepz"),
        (b'{"input": 1, "budget": {"max_cost_usd": 1e200000}}', "max_cost_usd"),
        (b'{"input": 1, "deadline": "tomorrow"}', "tomorrow"),
        (b'{"input": 1, "deadline": "2026-12-01T17:00:00"}', "time zone"),
        (b'{"input": 1, "deadline": "P999999999W"}', "9999"),
        (b'{"input": 1, "run_id": "7"}', "UUIDv7"),
        (b'{"input": 1, "idempotency_key": "a\\u0000b"}', "cannot hold"),
        (b'{"input": 1, "idempotency_key": "\\ud800"}', "not a valid Task"),
        (b'{"input": 1, "correlation_id": "\xff"}', "UTF-8"),
        (b'{"input": ' + b"[" * 70 + b"]" * 70 + b"}", "nested 71 deep"),
        (b"", "truncated"),
    ],
)
async def test_a_malformed_task_is_kept_with_its_reason_and_intake_goes_on(desk: Site, replica: Replica, body: bytes, reason: str) -> None:
    """CORRECTNESS.md rows 2 and 14."""
    await publish(desk, body, traceparent="00-abc-def-01")
    await task(desk)
    await wait_until(lambda: len(runs(desk)) == 1 and desk.on("TASKS") == [])
    (dead,) = desk.on("DEAD")
    assert (dead.subject, dead.body) == ("t.dead.tasks", body)
    assert reason in dead.headers[DEAD_REASON_HEADER]
    assert dead.headers[DEAD_ORIGIN_HEADER] == "t.tasks.clerk"
    assert (dead.headers[DEAD_STREAM_HEADER], dead.headers[DEAD_SEQUENCE_HEADER]) == ("T_TASKS", "1")
    view, subject, kept, headers = await replica.store.dead.get(1)
    assert (subject, kept, headers["traceparent"]) == ("t.tasks.clerk", body, "00-abc-def-01")
    assert reason in view.reason


@pytest.mark.parametrize("agent", ["Clerk", "a.b", "*", "clerk_1", "x" * 64, "ä"])
async def test_an_illegal_agent_token_is_a_dead_letter(desk: Site, replica: Replica, agent: str) -> None:
    """A subject with a literal `*` or further tokens is stored like any other."""
    stream = desk.broker.streams["T_TASKS"]
    stream.store(f"t.tasks.{agent}", b'{"input": 1}', {}, None)  # past the bus's own check, as any client can
    await wait_until(lambda: desk.on("DEAD"))
    assert runs(desk) == []
    _, subject, body, _ = await replica.store.dead.get(1)
    assert (subject, body) == (f"t.tasks.{agent}", b'{"input": 1}')
    assert repr(agent) in (await replica.store.dead.list())[0].reason


async def test_the_run_id_follows_from_the_stored_message(desk: Site) -> None:
    """CORRECTNESS.md row 8: committed, the ack is lost, delivered again: the same run."""
    async with desk.replica() as first:
        first.bus.held = "t.work"
        await desk.hosts()
        await task(desk)
        await wait_until(lambda: runs(desk))
        assert len(desk.on("TASKS")) == 1, "acked before its first dispatch is out"
    desk.broker.streams["T_TASKS"].consumers["intake"].give_back([1])
    async with desk.replica():
        await wait_until(lambda: desk.on("TASKS") == [])
    (run_id,) = runs(desk)
    assert desk.types(run_id) == ["run_started"]


async def test_the_same_task_on_another_stream_is_another_run(desk: Site, replica: Replica) -> None:
    """CORRECTNESS.md row 8: after a wipe sequences begin again; the stream's identity is part of the run id."""
    await task(desk)
    await wait_until(lambda: len(runs(desk)) == 1)
    desk.broker.wipe()
    await wait_until(lambda: "T_TASKS" in desk.broker.streams)
    await task(desk)
    await wait_until(lambda: len(runs(desk)) == 2)


async def test_the_same_idempotency_key_is_the_same_run_and_another_input_a_dead_letter(desk: Site, replica: Replica) -> None:
    await task(desk, idempotency_key="k")
    await task(desk, idempotency_key="k")
    await task(desk, idempotency_key="k", input=2)
    await wait_until(lambda: desk.on("TASKS") == [] and desk.on("DEAD"))
    (run_id,) = runs(desk)
    assert desk.types(run_id) == ["run_started"]
    assert "'k'" in desk.on("DEAD")[0].headers[DEAD_REASON_HEADER]


async def test_a_chosen_run_id_twice_is_one_run_and_with_other_input_a_dead_letter(desk: Site, replica: Replica) -> None:
    run_id = new_run()
    await task(desk, run_id=run_id)
    await task(desk, run_id=run_id.upper())
    await task(desk, run_id=run_id, input=2)
    await wait_until(lambda: desk.on("TASKS") == [] and desk.on("DEAD"))
    assert runs(desk) == [run_id]
    assert "another agent or input" in desk.on("DEAD")[0].headers[DEAD_REASON_HEADER]


async def test_the_run_of_a_task_that_nobody_can_have_seen_is_not_looked_for(desk: Site, replica: Replica) -> None:
    await task(desk)
    await task(desk, run_id=new_run())
    await wait_until(lambda: len(runs(desk)) == 2)
    assert replica.log.sought == []


@pytest.mark.parametrize("why", ["an old run id", "an idempotency key", "a second delivery", "another consumer"])
async def test_the_run_of_a_task_that_somebody_may_have_begun_is_looked_for(desk: Site, replica: Replica, why: str) -> None:
    if why == "an old run id":
        await task(desk, run_id=uuid7(int((time.time() - 60) * 1000), os.urandom(10)))
    elif why == "an idempotency key":
        await task(desk, idempotency_key="k")
    elif why == "another consumer":  # before the one that brings it
        desk.broker.streams["T_TASKS"].consumers["intake"].since = time.time() + 60
        await task(desk)
    else:
        replica.bus.held = "t.work"  # its first dispatch is not out, so it is not acked
        await desk.hosts()
        await task(desk)
        await wait_until(lambda: runs(desk))
        replica.ground.runs.clear()
        desk.broker.streams["T_TASKS"].consumers["intake"].give_back([1])
        replica.bus.gate.set()
    await wait_until(lambda: replica.log.sought)
    await wait_until(lambda: desk.on("TASKS") == [])
    assert replica.log.sought[0] == runs(desk)[0]
    assert replica.log.refused == [], "nor is it tried"
    assert len(runs(desk)) == 1
    assert desk.types(runs(desk)[0]).count("run_started") == 1


async def test_a_run_that_nobody_could_know_of_is_found_when_the_commit_is_refused(desk: Site, replica: Replica) -> None:
    """A producer publishes a task twice under a run id that it made just now, and not under one message id."""
    run_id, other = new_run(), new_run()
    await task(desk, run_id=run_id)
    await wait_until(lambda: desk.on("TASKS") == [] and runs(desk) == [run_id])
    replica.ground.runs.clear()
    replica.log.gate.clear()
    await task(desk)  # holds the commit, so that the next ones are one batch
    await wait_until(lambda: replica.log.waiting)
    await task(desk, run_id=run_id)
    await task(desk, run_id=other)
    await wait_until(lambda: len(desk.on("TASKS")) == 3)
    replica.log.gate.set()
    await wait_until(lambda: desk.on("TASKS") == [])
    assert desk.types(run_id) == ["run_started"], "once"
    assert desk.types(other) == ["run_started"], "its company is committed all the same"
    assert run_id in replica.log.sought
    assert len(replica.log.refused) == 1
    assert desk.on("DEAD") == []


async def test_a_task_for_a_partition_of_another_replica_goes_through_the_mailbox(desk: Site, replica: Replica) -> None:
    run_id = new_run(1)
    leases = replica.coordinator.leases
    await replica.coordinator._mailroom.close(1)
    epoch, published = leases.epochs.pop(1), leases.published.pop(1)
    until = leases._until.pop(1)
    desk.database.partitions[1].expires_at += 100
    await task(desk, run_id=run_id)
    await wait_until(lambda: desk.on("TASKS") == [] and desk.on("MAILBOX"))
    assert desk.on("MAILBOX")[0].subject == f"t.mailbox.1.control.clerk.{run_id}"
    leases._until[1], leases.epochs[1], leases.published[1] = until + 100, epoch, published
    await replica.coordinator._mailroom.open(1, epoch, replica.coordinator._group)  # type: ignore[arg-type]
    await desk.until(run_id, "run_started")


async def test_a_large_input_travels_as_a_reference(desk: Site, replica: Replica) -> None:
    """CORRECTNESS.md row 3: a row in Postgres, not an object in a broker."""
    text = "x" * 300_000
    await task(desk, input=text)
    await wait_until(lambda: runs(desk))
    event = json.loads(desk.events(runs(desk)[0])[0].body)
    assert "input" not in event["data"]
    ref = event["data"]["input_ref"]
    assert await replica.store.blobs.get(ref["sha256"]) == json.dumps(text).encode()


async def test_intake_waits_for_the_database_and_loses_nothing(desk: Site, replica: Replica) -> None:
    desk.broker.streams["T_TASKS"].consumers["intake"].spec = _quick(desk)
    desk.database.down = True
    await task(desk, idempotency_key="k")
    await wait_until(lambda: desk.broker.streams["T_TASKS"].consumers["intake"]._out)
    desk.database.down = False
    await wait_until(lambda: runs(desk))
    await wait_until(lambda: desk.on("TASKS") == [])
    assert desk.on("DEAD") == []


def _quick(desk: Site):  # type: ignore[no-untyped-def]
    from dataclasses import replace

    return replace(desk.broker.streams["T_TASKS"].consumers["intake"].spec, ack_wait_seconds=0.2)
