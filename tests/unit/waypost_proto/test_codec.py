"""JSON in and out, with errors that name the value."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from waypost_proto import codec
from waypost_proto.commands import AnyItem, CallTool, StartTimer
from waypost_proto.errors import BadMessage
from waypost_proto.ids import CallId
from waypost_proto.limits import MAX_NESTING
from waypost_proto.mailbox import AnyMail
from waypost_proto.values import Budget, Retry, Token

JSON = st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda kids: st.lists(kids) | st.dictionaries(st.text(), kids))


def test_raw_bytes_are_kept_as_they_were_sent() -> None:
    body = b'{"type":"call_tool","seen":1,"id":"0:1","tool":"t","args":{"b": 1.50,  "a":2}}'
    item = codec.decode_union(AnyItem, body)
    assert isinstance(item, CallTool)
    assert isinstance(item.args, Raw)
    assert bytes(item.args) == b'{"b": 1.50,  "a":2}'


def test_a_token_is_an_array() -> None:
    assert codec.encode(Token(epoch=3, counter=9)) == b"[3,9]"


def test_defaults_are_left_out() -> None:
    assert codec.encode(StartTimer(seen=0, id=CallId("0:1"), fire_at=0.0)) == b'{"type":"start_timer","seen":0,"id":"0:1","fire_at":0.0}'


@pytest.mark.parametrize(
    "body", [b"{", b'{"type":"unheard_of"}', b'{"type":"cancel"}', b'{"type":"advance","run_id":7}', b"\xff", b"[" * 5000]
)
def test_what_is_not_a_message_says_how_it_begins(body: bytes) -> None:
    with pytest.raises(BadMessage) as raised:
        codec.decode_union(AnyMail, body)
    assert "it begins" in str(raised.value)
    assert len(str(raised.value)) < 400


@given(JSON)
def test_check_text_passes_what_json_makes(value: object) -> None:
    body = codec.encode(value)
    if codec.nesting_of(body) <= MAX_NESTING:
        codec.check_text(body, limit=len(body))


def test_a_budget_is_tightened_where_the_other_says_something() -> None:
    assert Budget(max_steps=5, max_tokens=9).overridden_by(Budget(max_steps=3)) == Budget(max_steps=3, max_tokens=9)
    assert Budget(max_steps=5).overridden_by(None) == Budget(max_steps=5)


@pytest.mark.parametrize("body", [b'{"max_attempts":0}', b'{"factor":0.5}', b'{"jitter":2}', b'{"initial_seconds":0}'])
def test_a_retry_policy_that_cannot_work_is_refused(body: bytes) -> None:
    with pytest.raises(BadMessage):
        codec.decode(Retry, body)
