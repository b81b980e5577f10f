"""A storm's checks notice what is wrong: each is shown a good story, and then a bad one."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.storm import checks
from tests.chaos.storm.clocks import Clocks
from tests.chaos.storm.customers import Hold, Order
from tests.chaos.storm.observer import Observer
from tests.chaos.storm.provider import Effect
from waypost_core.evolve import fold
from waypost_core.state import encode_state
from waypost_io.store.postgres import PostgresStore
from waypost_proto import events as ev
from waypost_proto.codec import encode
from waypost_proto.values import Failure

RUN = "0192f0c1-7a3e-7c21-8f00-3b1d6a9c4e55"
KEY = f"{RUN}/0:1"
STORY: list[Any] = [
    ev.RunStarted(input=encode(4)),
    ev.ToolCallRequested(call_id="0:1", tool="pay", args=encode([4]), args_digest="d", idempotency_key=KEY, effect="unsafe"),
    ev.ToolCallCompleted(call_id="0:1", tool="pay", attempt=1, result=encode("pay 4")),
    ev.RunCompleted(result=encode("pay 4")),
]


def event(seq: int, data: Any, at: str | None = None) -> ev.Event:
    tag = type(data).__struct_config__.tag
    at = at or f"2026-01-01T00:00:{seq:02d}.000000Z"
    return ev.Event(run_id=RUN, seq=seq, type=tag, agent="wirer", correlation_id=RUN, recorded_at=at, data=encode(data))


def story(*data: Any) -> list[ev.Event]:
    return [event(seq, each) for seq, each in enumerate(data, 1)]


def log(events: list[ev.Event], state: bytes | None = None) -> str:
    return "\n".join(checks.log_of(RUN, events, encode_state(fold(events)) if state is None else state))


def test_a_log_with_a_gap_a_second_end_a_second_result_or_another_state_is_noticed() -> None:
    good = story(*STORY)
    assert log(good) == ""
    assert "has the seqs [1, 2, 4]" in log([good[0], good[1], good[3]], b"")
    assert "events after the end" in log(story(*STORY, STORY[2]))
    assert "2 results of call 0:1" in log(story(*STORY[:3], STORY[2], STORY[3]))
    assert "runs backwards" in log([*good[:3], event(4, STORY[3], at="2026-01-01T00:00:01.000000Z")])
    assert "not the fold" in log(good, encode_state(fold(good[:3])))


def test_an_order_that_is_lost_open_cancelled_failed_or_wrong_is_noticed() -> None:
    order = Order(key="1", agent="wirer", number=4, starts_at=0, by_task=False, run_id=RUN)
    row = {"open": False, "status": "completed", "outcome": b'{"result":"pay 4"}'}
    assert list(checks.order_of(order, row)) == []
    for bad, words in (
        (None, "is lost"),
        (row | {"open": True, "status": "waiting"}, "has not ended: waiting"),
        (row | {"status": "cancelled"}, "nobody asked for it"),
        (row | {"status": "failed", "outcome": b"why"}, "failed: b'why'"),
        (row | {"outcome": b'{"result":"pay 5"}'}, "instead of 'pay 4'"),
    ):
        assert words in "\n".join(checks.order_of(order, bad))


def test_a_doubt_that_nobody_settled_is_noticed() -> None:
    row = {"run_id": RUN, "call_id": "0:1"}
    assert list(checks.doubts_of([row], {RUN: story(*STORY)})) == []
    assert "0:1 is in doubt" in "\n".join(checks.doubts_of([row], {RUN: story(*STORY[:2], STORY[3])}))
    error = Failure(type="ConnectionError", message="hung up")
    doubt = ev.ToolCallInDoubt(call_id="0:1", tool="pay", attempt=1, error=error)
    not_done = ev.ToolAttemptFailed(call_id="0:1", tool="pay", attempt=1, max_attempts=3, error=error)
    cancelled = ev.RunCancelled()
    assert "0:1 is in doubt" in "\n".join(checks.doubts_of([row], {RUN: story(*STORY[:2], doubt, cancelled)}))
    assert list(checks.doubts_of([row], {RUN: story(*STORY[:2], doubt, not_done, cancelled)})) == []
    again = ev.ToolCallInDoubt(call_id="0:1", tool="pay", attempt=2, error=error)
    assert "0:1 is in doubt" in "\n".join(checks.doubts_of([row], {RUN: story(*STORY[:2], doubt, not_done, again, cancelled)}))


def effect(at: float, key: str = KEY) -> Effect:
    return Effect(at=at, op="pay", key=key, run=RUN)


def test_effects_that_are_repeated_missing_or_late_are_noticed() -> None:
    logs = {RUN: story(*STORY)}
    assert list(checks.effects_of([effect(5.0)], logs, {RUN: 9.0})) == []
    assert "2 effects" in "\n".join(checks.effects_of([effect(5.0), effect(6.0)], logs, {RUN: 9.0}))
    assert "recorded as made, and made 0 times" in "\n".join(checks.effects_of([], logs, {RUN: 9.0}))
    assert "completed without knowing of it" in "\n".join(checks.effects_of([effect(5.0)], {RUN: story(*STORY[:2], STORY[3])}, {}))
    assert "1.00 s after the run's end" in "\n".join(checks.effects_of([effect(10.0)], logs, {RUN: 9.0}))


def test_effects_after_a_confirmed_pause_are_noticed() -> None:
    hold = Hold(run_id=RUN, verb="pause", since=5.0, until=8.0, started=frozenset())
    assert list(checks.holds_of([hold], [effect(4.9), effect(8.1), effect(6.0, key="other") | {"run": "other"}])) == []
    assert "1.00 s after pause was confirmed" in "\n".join(checks.holds_of([hold], [effect(6.0)]))
    hold.started = frozenset({KEY})
    assert list(checks.holds_of([hold], [effect(6.0)])) == []


OPEN_RUN = "1, now(), now(), null, null, 3, 1, true, false, 'default', 'wirer', '', 'waiting', '', '', null, '{{}}', ''"
PERMIT = "(run_id, attempt, call_id, tool, args_digest, effect, idempotency_key, state)"
EVENT = "(run_id, seq, position, recorded_at, partition, type, data)"
DEAD = "(source, origin, subject, reason, headers, body)"
SABOTAGE = {
    "is open: waiting": f"runs values ('{{run}}', {OPEN_RUN})",
    "its call 0:1 is permitted": f"tool_ledger {PERMIT} values ('{{run}}', 1, '0:1', 'pay', '', 'unsafe', 'k', 'permitted')",
    "message m": "inbox (message_id, run_id, partition, subject, body) values ('m', '{run}', 3, 's', '')",
    "timer 0:1#retry": "timers values ('{run}', now() - interval '1 minute', 3, '0:1#retry')",
    "from tasks: bad": f"dead {DEAD} values ('s', 'tasks', 's', 'bad', '', '')",
    "audit: 1 leaves, 0 in spans, the log says 0": "audit_leaves values (0, 1, sha256(''))",
    "audit: the leaf of position 1 of partition 4": "audit_spans values (4, 1, 0, 1, now(), now())",
    "partition 3: 1 events, positions 2 to 2, 0 in its row": f"events {EVENT} values ('{{run}}', 1, 2, now(), 3, 'x', '')",
}


@pytest.mark.parametrize("words", SABOTAGE)
async def test_what_is_wrong_in_the_tables_is_noticed(words: str, database: str) -> None:
    async with PostgresStore(database) as store, Observer(database) as observer:
        await store.leases.ensure_partitions(8)

        async def found() -> str:
            rows = [(text, await observer.fetch(query)) for text, query in checks.QUERIES.items()]
            return "\n".join(line for text, each in rows for line in checks.rows_of(text, each))

        assert await found() == ""
        await observer.fetch("insert into " + SABOTAGE[words].format(run=RUN))
        assert words in await found()


def test_a_clock_is_an_hour_off_while_the_process_runs(tmp_path: Path) -> None:
    clocks = Clocks(tmp_path)
    if clocks.reason:
        pytest.skip(clocks.reason)
    script = "import datetime, sys, time\nfor _ in sys.stdin: print(time.time(), datetime.datetime.now().timestamp(), flush=True)"
    command = [sys.executable, "-S", "-c", script]
    with subprocess.Popen(command, env=clocks.environment("x"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for shift in (0, 3600, -3600):
            clocks.shift("x", shift)
            process.stdin.write("\n")
            process.stdin.flush()
            for each in process.stdout.readline().split():
                assert abs(float(each) - time.time() - shift) < 60
        process.stdin.close()
