"""Whatever a run goes through, it can be told: at every moment, the same each time, with nothing open once it has ended."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import json

from tests.unit.waypost_core.machine import RUN
from tests.unit.waypost_core.tracing.test_properties import MORE, history
from waypost_core.chronicle import Chronicle, markdown, tell

NOW = datetime(2026, 11, 22, tzinfo=UTC)


@settings(max_examples=200)
@given(st.lists(MORE, max_size=40))
def test_every_log_can_be_told(actions: list[tuple[str, object, object]]) -> None:
    run = history(actions)
    first, second = Chronicle(RUN), Chronicle(RUN)
    for event in run.log:
        first.feed(event)
        second.feed(event)
        told = first.account()
        assert (told.ended_at is None) == (event.type not in ("run_completed", "run_failed", "run_cancelled"))
        assert all(entry.ended is not None for entry in told.entries) or not told.ended_at
        assert not (told.ended_at and told.pending)
        assert tell(told, NOW)
    account = first.account()
    assert json.encode(account) == json.encode(second.account())
    assert markdown(account, NOW)
    calls = {call_id for call_id, call in run.the.calls.items() if not call.abandoned}
    assert run.the.terminal or calls <= {entry.call_id for entry in first.open.values()}, "what the machine waits for is open here too"
    assert account.status == "ending" or run.the.paused == (account.status == "paused")
    if run.the.terminal:
        assert account.status == str(run.the.status)
    else:
        assert not calls or account.pending, "a run that waits says for what"
