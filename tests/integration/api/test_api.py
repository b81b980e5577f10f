"""The API over a real server: services, errors, sizes, live events, concurrency."""

from __future__ import annotations

import asyncio
import json

import nats
import pytest
from msgspec import Raw

from tests.unit.waypost_coordinator.api.rig import Desk, new_id
from tests.waiting import wait_until
from waypost.client import Client
from waypost_coordinator.api.table import OPERATIONS
from waypost_proto import events as ev
from waypost_proto.api import DeadRef, DeadView, EventPage, RunRef
from waypost_proto.errors import BadInput, Conflict, NotFound, RunFailed, Unreachable
from waypost_proto.ids import CallId
from waypost_proto.limits import CLAIM_CHECK_BYTES
from waypost_proto.values import Mark


def mark(digest: str = "d") -> Mark:
    return Mark(digest=digest, seen=1, worker="w-1", build="b1")


def step(number: int, size: int = 1) -> ev.StepCompleted:
    result = Raw(b'"' + b"x" * size + b'"')
    return ev.StepCompleted(call_id=CallId(f"0:{number}"), name="think", at=1.0, result=result, seen=1, mark=mark(f"d-{number}"))


async def test_nats_itself_lists_the_service(nats_url: str, desk: Desk) -> None:
    connection = await nats.connect(nats_url)
    try:
        answer = json.loads((await connection.request("$SRV.INFO.waypost", b"", timeout=5)).data)
    finally:
        await connection.close()
    prefix = desk.subjects.prefix
    assert {endpoint["subject"] for endpoint in answer["endpoints"]} == {f"{prefix}.api.{name}" for name in OPERATIONS}
    assert {endpoint["name"] for endpoint in answer["endpoints"]} == {name.replace(".", "-") for name in OPERATIONS}


async def test_a_plain_nats_client_starts_a_run_and_reads_an_error(nats_url: str, desk: Desk) -> None:
    connection = await nats.connect(nats_url)
    try:
        subject = desk.subjects.api("runs", "start")
        answer = await connection.request(subject, b'{"agent":"desk","input":{"id":1}}', timeout=5)
        assert json.loads(answer.data)["status"] == "pending"
        answer = await connection.request(subject, '{"agent":"désk","input":1}'.encode(), timeout=5)
        assert answer.headers is not None
        assert answer.headers["Nats-Service-Error-Code"] == "400"
        problem = json.loads(answer.data)
        assert (problem["status"], problem["title"]) == (400, "BadInput")
        assert "agent name 'désk'" in problem["detail"]
    finally:
        await connection.close()


async def test_from_start_to_result(client: Client, desk: Desk) -> None:
    run = await client.start("desk", {"id": "c-1"}, idempotency_key="c-1")
    waiting = asyncio.create_task(client.result(run.run_id, type=str))
    seen: list[str] = []

    async def follow() -> None:
        async for event in client.events(run.run_id, follow=True):
            seen.append(event.type)  # noqa: PERF401 - watched while it grows

    following = asyncio.create_task(follow())
    await wait_until(lambda: seen == ["run_started"])
    await desk.play(desk.submitted[0].run_id, step(1))
    await wait_until(lambda: seen[-1] == "step_completed")
    await desk.play(desk.submitted[0].run_id, ev.RunCompleted(result=Raw(b'"fine"'), seen=1, mark=mark()))
    assert await waiting == "fine"
    await following
    assert seen == ["run_started", "step_completed", "run_completed"]


async def test_errors_keep_their_class_and_their_words(client: Client, desk: Desk) -> None:
    with pytest.raises(NotFound, match="no run"):
        await client.get(new_id())
    with pytest.raises(BadInput, match="deadline 'soon'"):
        await client.start("desk", deadline="soon")
    run_id = await desk.started()
    await client.cancel(run_id)
    with pytest.raises(Conflict, match="already been cancelled"):
        await client.signal(run_id, "go")
    with pytest.raises(RunFailed, match="cancelled"):
        await client.result(run_id)


async def test_values_far_past_a_message_travel_both_ways(client: Client, desk: Desk) -> None:
    value = ["z" * 1000] * 3000
    run = await client.start("desk", value)
    [mail] = desk.submitted
    assert (await desk.store.blobs.get(mail.input_ref.sha256)) == json.dumps(value, separators=(",", ":")).encode()  # type: ignore[union-attr]
    await desk.play(mail.run_id, ev.RunCompleted(result_ref=mail.input_ref, seen=1, mark=mark()))  # type: ignore[union-attr]
    assert await client.result(run.run_id, type=list[str]) == value


async def test_a_long_history_of_large_events_arrives_whole(client: Client, desk: Desk) -> None:
    run_id = await desk.started()
    await desk.play(run_id, *(step(number, CLAIM_CHECK_BYTES - 10) for number in range(1, 9)))
    assert [event.seq async for event in client.events(run_id)] == list(range(1, 10))
    page = await client.call("runs.events", RunRef(run_id=run_id), EventPage)
    assert len(page.events) < 9


async def test_a_dead_task_goes_back_to_its_stream(client: Client, desk: Desk) -> None:
    dead_id = await desk.store.dead.add(
        origin="tasks", subject=desk.subjects.task("desk"), reason="bad", body=b"{bad", headers={"A": "b"}, source="s:1", run_id=None
    )
    await client.call("dead.redrive", DeadRef(dead_id=dead_id), DeadView)
    mark_ = await desk.bus.stream_mark(desk.subjects.stream("TASKS"))
    assert mark_ is not None
    assert mark_.last_seq == 1
    with pytest.raises(NotFound):
        await client.call("dead.redrive", DeadRef(dead_id=dead_id), DeadView)


async def test_many_requests_at_once(client: Client, desk: Desk) -> None:
    answers = await asyncio.gather(*(client.start("desk", number) for number in range(200)))
    assert len({answer.run_id for answer in answers}) == 200
    assert len(desk.submitted) == 200


async def test_without_a_coordinator_one_error_says_so(nats_url: str, prefix: str) -> None:
    async with Client(nats_url, prefix=prefix, patience_seconds=0.3) as client:
        with pytest.raises(Unreachable, match="no coordinator answers"):
            await client.list()


async def test_a_client_outlives_a_restart_of_the_server(own_nats, prefix: str) -> None:
    from waypost_io.bus.jetstream import JetStreamBus

    async with JetStreamBus(own_nats.url, name="desk") as bus, Desk(bus, prefix) as desk:
        desk.publish = False
        async with Client(own_nats.url, prefix=prefix, patience_seconds=20.0) as client:
            run_id = await desk.started()
            waiting = asyncio.create_task(client.result(run_id))
            await wait_until(lambda: client._tails)
            await own_nats.kill()
            await own_nats.start()
            await desk.play(run_id, ev.RunCompleted(result=Raw(b"7"), seen=1, mark=mark()))
            assert (await client.get(run_id)).status == "completed"
            assert await waiting == 7
