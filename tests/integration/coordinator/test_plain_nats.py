"""Waypost from outside, without a line of it: tasks by plain nats-py, progress from `waypost.events.>`."""

from __future__ import annotations

import json
import re
import uuid

import pytest

from tests.chaos.stack import Stack
from tests.integration.coordinator.outside import Outside
from waypost_io.store.postgres import PostgresStore
from waypost_proto.ids import uuid7

SNAKE_CASE = re.compile(r"[a-z]+(_[a-z]+)*")


async def test_tasks_by_plain_publish_and_their_events_as_they_are_recorded(
    services: Stack, outside: Outside, store: PostgresStore
) -> None:
    keys = [uuid.uuid4().hex for _ in range(5)]
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    for key in keys:
        await outside.task("walker", {"input": 3, "correlation_id": key}, traceparent=trace)
    for key in keys:
        run_id = await outside.run_of(key)
        messages = await outside.finished(run_id)
        recorded = await store.log.load_events(run_id)
        assert [message.data for message in messages] == [row.body for row in recorded], "the published bytes are the recorded bytes"
        events = [json.loads(message.data) for message in messages]
        assert [event["seq"] for event in events] == list(range(1, len(events) + 1)), "a gap, or another order than the log's"
        assert (events[0]["type"], events[-1]["type"]) == ("run_started", "run_completed")
        for message, event in zip(messages, events, strict=True):
            assert SNAKE_CASE.fullmatch(event["type"])
            assert message.subject == f"{outside.prefix}.events.walker.{run_id}.{event['type']}"
            assert (event["run_id"], event["agent"], event["correlation_id"]) == (run_id, "walker", key)
            assert event["recorded_at"].endswith("Z")
            headers = message.headers or {}
            assert headers["ce-specversion"] == "1.0"
            assert headers["ce-id"] == headers["Nats-Msg-Id"] == f"{run_id}.{event['seq']}"
            assert headers["ce-type"] == f"{outside.prefix}.{event['type']}"
            assert headers["ce-source"] == f"/{outside.prefix}/walker"
            assert headers["ce-subject"] == run_id
        assert events[0]["data"]["input"] == 3
        assert events[0]["data"]["trace"] == trace
        assert events[-1]["data"]["result"] == 3


async def test_every_field_of_a_task_arrives(services: Stack, outside: Outside, store: PostgresStore) -> None:
    key = uuid.uuid4().hex
    task = {
        "input": 1,
        "idempotency_key": key,
        "correlation_id": key,
        "budget": {"max_steps": 7, "max_tokens": 1000, "max_cost_usd": 1.5, "max_seconds": 60, "max_repeats": 3},
        "deadline": "PT1H",
        "labels": {"case": "42"},
    }
    await outside.task("walker", task)
    run_id = await outside.run_of(key)
    await outside.finished(run_id)
    started = json.loads((await store.log.load_events(run_id))[0].body)
    assert started["data"]["budget"] == task["budget"]
    assert started["data"]["labels"] == {"case": "42"}
    row = await store.reads.get(run_id)
    assert row is not None
    assert (row.idempotency_key, row.correlation_id, dict(row.labels)) == (key, key, {"case": "42"})
    assert row.deadline_at is not None
    assert abs(row.deadline_at - row.created_at - 3_600) < 1


@pytest.mark.parametrize("unix_seconds", [0, 3_000_000_000, 250_000_000_000])
async def test_a_run_id_of_any_time_has_a_place(services: Stack, outside: Outside, store: PostgresStore, unix_seconds: int) -> None:
    """CORRECTNESS.md row 17: a client whose clock is wrong by decades."""
    run_id = uuid7(unix_seconds * 1000, uuid.uuid4().bytes)
    await outside.task("walker", {"input": 2, "run_id": run_id})
    messages = await outside.finished(run_id)
    assert [message.data for message in messages] == [row.body for row in await store.log.load_events(run_id)]
