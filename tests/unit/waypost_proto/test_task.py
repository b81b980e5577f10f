"""Tasks come from people: what is wrong with one is said, with the value."""

from __future__ import annotations

import tracemalloc

import pytest

from waypost_proto.codec import nesting_of
from waypost_proto.errors import BadInput, BadMessage, TooLarge, WaypostError
from waypost_proto.limits import MAX_NESTING
from waypost_proto.task import format_time, parse_deadline, parse_task, parse_time

NESTED = b'{"input":' + b"[" * (MAX_NESTING + 1) + b"]" * (MAX_NESTING + 1) + b"}"


def test_a_full_task() -> None:
    task = parse_task(
        b'{"input":{"id":1},"run_id":"0192f0c1-7a3e-7c21-8f00-3b1d6a9c4e55","idempotency_key":"k","correlation_id":"c",'
        b'"budget":{"max_steps":3,"max_cost_usd":0.5},"deadline":"PT30M","labels":{"a":"b"}}'
    )
    assert bytes(task.input) == b'{"id":1}'
    assert task.budget is not None
    assert task.budget.limits().max_steps == 3
    assert task.labels == {"a": "b"}


@pytest.mark.parametrize("body", [b'{"input":null}', b'{"input":0}', b'{"input":"\\u0000"}', b'{"input":[[],{}]}', b'{"input":1e5}'])
def test_any_json_is_an_input(body: bytes) -> None:
    assert parse_task(body)


@pytest.mark.parametrize(
    ("body", "kind", "says"),
    [
        (b"", BadMessage, "Task"),
        (b"nonsense", BadMessage, "nonsense"),
        (b"[]", BadMessage, "object"),
        (b"{}", BadMessage, "input"),
        (b'{"input":1,"budgt":{}}', BadMessage, "budgt"),
        (b'{"input":1,"budget":{"max_step":3}}', BadMessage, "max_step"),
        (b'{"input":1,"budget":{"max_steps":0}}', BadMessage, "max_steps"),
        (b'{"input":1,"budget":{"max_steps":1.5}}', BadMessage, "max_steps"),
        (b'{"input":1,"budget":{"max_cost_usd":-1}}', BadMessage, "max_cost_usd"),
        (b'{"input":1,"budget":7}', BadMessage, "budget"),
        (b'{"input":1,"deadline":"soon"}', BadInput, "soon"),
        (b'{"input":1,"deadline":"P1Y"}', BadInput, "P1Y"),
        (b'{"input":1,"deadline":"PT"}', BadInput, "PT"),
        (b'{"input":1,"deadline":"2026-12-01T17:00:00"}', BadInput, "time zone"),
        (b'{"input":1,"run_id":"7"}', BadInput, "UUIDv7"),
        (b'{"input":1,"idempotency_key":""}', BadMessage, "idempotency_key"),
        (b'{"input":1,"idempotency_key":"' + b"k" * 257 + b'"}', BadMessage, "idempotency_key"),
        (b'{"input":1,"labels":{"a":1}}', BadMessage, "labels"),
        (b'{"input":1,"labels":{' + b",".join(b'"%d":""' % n for n in range(33)) + b"}}", BadMessage, "labels"),
        (b'{"input":"\xff"}', BadMessage, "UTF-8"),
        (b'{"input":"\\ud800"}', BadMessage, "Task"),
        (NESTED, BadMessage, "nested"),
    ],
)
def test_a_bad_task_is_refused_with_the_reason(body: bytes, kind: type[WaypostError], says: str) -> None:
    with pytest.raises(kind) as raised:
        parse_task(body)
    assert says in str(raised.value)


def test_a_task_past_the_limit_is_too_large() -> None:
    with pytest.raises(TooLarge, match="40 bytes"):
        parse_task(b'{"input":"' + b"x" * 28 + b'"}', limit=39)


def test_nesting_ignores_brackets_in_strings() -> None:
    deep = b"[" * 70 + b"]" * 70
    assert nesting_of(deep) == 70
    assert nesting_of(b'"' + deep + b'"') == 0
    assert nesting_of(b'"\\"' + deep + b'"') == 0
    assert nesting_of(b'"\\\\"' + deep) == 70


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("PT30M", 1800), ("PT1.5S", 1.5), ("P1D", 86_400), ("P1W", 604_800), ("P1DT2H3M4S", 93_784), ("PT0S", 0)],
)
def test_a_duration_counts_from_now(text: str, seconds: float) -> None:
    assert parse_deadline(text, now=1000.0) == 1000.0 + seconds


@pytest.mark.parametrize("text", ["2026-12-01T17:00:00Z", "2026-12-01T18:00:00+01:00", "2026-12-01 17:00:00+00:00"])
def test_a_time_is_what_it_says(text: str) -> None:
    assert parse_deadline(text, now=5.0) == 1796144400.0


def test_times_survive_formatting() -> None:
    assert format_time(1796144400.25) == "2026-12-01T17:00:00.250000Z"
    assert parse_time(format_time(1796144400.25)) == 1796144400.25


def test_nesting_of_malformed_text_is_counted_and_a_long_string_costs_no_memory() -> None:
    assert nesting_of(b"[" * 100) == 100
    assert nesting_of(b"]" * 3 + b"[" * 70) == 67
    assert nesting_of(b'["open' + b"[" * 100) == 1
    long = b"[" * 70 + b'"' + b'x\\"' * 300_000 + b'"' + b"]" * 70
    tracemalloc.start()
    try:
        assert nesting_of(long) == 70
        assert tracemalloc.get_traced_memory()[1] < 2 * len(long)
    finally:
        tracemalloc.stop()
