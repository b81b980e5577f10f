"""What people send by mistake, on real servers: kept with its bytes and the reason, and the next task runs."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest

from tests.chaos.stack import Stack
from tests.integration.coordinator.outside import Outside
from tests.waiting import wait_until
from waypost.client import Client
from waypost_io.store.postgres import PostgresStore
from waypost_proto.errors import BadInput, Conflict, RunFailed, WaypostError

NESTED = b'{"input": ' + b"[" * 70 + b"]" * 70 + b"}"
BAD_TASKS = [
    pytest.param(b"this is not JSON", "malformed", id="not-json"),
    pytest.param(b"", "truncated", id="empty"),
    pytest.param(b'{"input": 1, "budgt": {"max_steps": 1}}', "budgt", id="unknown-field"),
    pytest.param(b'{"input": 1, "budget": {"max_steps": 0}}', "max_steps", id="bad-budget"),
    pytest.param(b'{"input": 1, "budget": {"max_step": 1}}', "max_step", id="unknown-limit"),
    pytest.param(b'{"input": 1, "budget": {"max_cost_usd": 1e200000}}', "max_cost_usd", id="number-out-of-range"),
    pytest.param(b'{"input": 1, "deadline": "next week"}', "next week", id="bad-deadline"),
    pytest.param(b'{"input": 1, "deadline": "P9999999999W"}', "9999", id="endless-deadline"),
    pytest.param(b'{"input": 1, "run_id": "mine"}', "UUIDv7", id="bad-run-id"),
    pytest.param(NESTED, "nested 71 deep", id="nested-too-deep"),
    pytest.param(b'{"input": "' + b"x" * 600_000 + b'"}', "the limit is", id="too-large"),
    pytest.param(b'{"input": 1, "idempotency_key": "a\\u0000b"}', "cannot hold", id="nul-in-key"),
    pytest.param(b'{"input": 1, "correlation_id": "\\ud800"}', "not a valid Task", id="lone-surrogate"),
    pytest.param(b'{"input": 1, "correlation_id": "\xff\xfe"}', "UTF-8", id="not-utf-8"),
]


async def healthy(outside: Outside) -> None:
    """The next task runs to its end."""
    key = uuid.uuid4().hex
    await outside.task("walker", {"input": 1, "correlation_id": key})
    await outside.finished(await outside.run_of(key))


@pytest.mark.parametrize(("body", "reason"), BAD_TASKS)
async def test_a_bad_task_is_a_dead_letter_and_the_next_one_runs(
    services: Stack, outside: Outside, store: PostgresStore, body: bytes, reason: str
) -> None:
    """CORRECTNESS.md rows 2 and 14."""
    sequence = await outside.task("walker", body, traceparent="00-aa-bb-01")
    dead = await outside.dead_letter(sequence)
    headers = dead.headers or {}
    assert dead.subject == f"{outside.prefix}.dead.tasks"
    assert headers["Waypost-Origin-Subject"] == f"{outside.prefix}.tasks.walker"
    assert reason in headers["Waypost-Reason"]
    assert dead.data == body
    view, subject, kept, sent = await store.dead.get(int(headers["Waypost-Dead-Id"]))
    assert (subject, kept, sent["traceparent"]) == (f"{outside.prefix}.tasks.walker", body, "00-aa-bb-01")
    assert reason in view.reason
    await healthy(outside)


@pytest.mark.parametrize("agent", ["Walker", "walker.extra", "*", "walker_1", "x" * 64])
async def test_an_illegal_agent_token_is_a_dead_letter(services: Stack, outside: Outside, store: PostgresStore, agent: str) -> None:
    """Subjects with a literal `*` or more tokens are stored like any other."""
    sequence = await outside.task(agent, {"input": 1})
    dead = await outside.dead_letter(sequence)
    assert (dead.headers or {})["Waypost-Origin-Subject"] == f"{outside.prefix}.tasks.{agent}"
    assert "not allowed" in (dead.headers or {})["Waypost-Reason"]
    assert dead.data == b'{"input": 1}'
    await healthy(outside)


@pytest.mark.parametrize(("given", "says"), [("three", "int"), (None, "int"), ([1], "int")])
async def test_input_that_does_not_fit_fails_the_run_with_path_and_value(
    services: Stack, outside: Outside, client: Client, given: Any, says: str
) -> None:
    key = uuid.uuid4().hex
    await outside.task("walker", {"input": given, "correlation_id": key})
    run_id = await outside.run_of(key)
    last = json.loads((await outside.finished(run_id))[-1].data)
    assert last["type"] == "run_failed"
    message = last["data"]["error"]["message"]
    assert says in message
    assert "$" in message, f"no path in {message!r}"
    with pytest.raises(RunFailed):
        await client.result(run_id)


@pytest.mark.parametrize("given", [b'"a\\u0000b"', b'"\\ud800"', b"1e200000", b'{"a": -1e999999}'])
async def test_odd_but_readable_input_harms_nobody(services: Stack, outside: Outside, given: bytes) -> None:
    """CORRECTNESS.md row 14: what jsonb could not hold is a run like any other; it fails if its agent cannot take it."""
    key = uuid.uuid4().hex
    sequence = await outside.task("helper", b'{"input": ' + given + b', "correlation_id": "' + key.encode() + b'"}')

    def settled() -> bool:
        run = any(json.loads(m.data)["correlation_id"] == key and m.subject.endswith(("completed", "failed")) for m in outside.events)
        return run or any((m.headers or {}).get("Waypost-Origin-Sequence") == str(sequence) for m in outside.dead)

    await wait_until(settled, seconds=30, message=lambda: f"{[m.subject for m in outside.events]}")
    await healthy(outside)


async def test_the_same_key_is_the_first_run_and_another_input_a_conflict(services: Stack, outside: Outside, client: Client) -> None:
    """CORRECTNESS.md row 8, by the API and by plain publish."""
    key = uuid.uuid4().hex
    first = await client.start("walker", 2, idempotency_key=key)
    again = await client.start("walker", 2, idempotency_key=key)
    assert again.run_id == first.run_id
    with pytest.raises(Conflict, match=key):
        await client.start("walker", 3, idempotency_key=key)
    await outside.task("walker", {"input": 2, "idempotency_key": key})
    dead = await outside.dead_letter(await outside.task("walker", {"input": 9, "idempotency_key": key}))
    assert key in (dead.headers or {})["Waypost-Reason"]
    assert await client.result(first.run_id, timeout=30) == 2
    types = [json.loads(message.data)["type"] for message in await outside.finished(first.run_id)]
    assert types.count("run_started") == 1


async def test_a_chosen_run_id_twice_is_one_run(services: Stack, outside: Outside, client: Client) -> None:
    from waypost_proto.ids import uuid7

    run_id = uuid7(1_800_000_000_000, uuid.uuid4().bytes)
    for _ in range(2):
        await outside.task("walker", {"input": 2, "run_id": run_id})
    dead = await outside.dead_letter(await outside.task("walker", {"input": 3, "run_id": run_id}))
    assert run_id in (dead.headers or {})["Waypost-Reason"]
    assert await client.result(run_id, timeout=30) == 2
    with pytest.raises(WaypostError, match="another agent or input"):
        await client.start("walker", 4, run_id=run_id)


async def test_the_api_refuses_what_intake_refuses(services: Stack, client: Client) -> None:
    for agent in ("Walker", "walker.x", "*"):
        with pytest.raises(BadInput):
            await client.start(agent, 1)
    with pytest.raises(WaypostError, match="deadline"):
        await client.start("walker", 1, deadline="soon")
