"""What a refused start means, and when a call in doubt may be reconciled: every state of a row, on both sides of every deadline."""

from __future__ import annotations

from typing import Any

import pytest

from waypost_gateway.ledger_rules import (
    Ask,
    CannotTell,
    DeclareDoubt,
    Ignore,
    Refuse,
    Repeat,
    StillInDoubt,
    TakeOver,
    Wait,
    after_refusal,
    before_reconcile,
    quiet_at,
)
from waypost_io.store.ports import LedgerState
from waypost_proto.ids import CallId, RunId

NOW = 1_000.0


def row(state: str, **more: Any) -> LedgerState:
    fields: dict[str, Any] = {"attempt": 2, "state": state, **more}
    return LedgerState(run_id=RunId("r"), call_id=CallId("0:1"), **fields)


@pytest.mark.parametrize("may_repeat", [True, False])
@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (None, Refuse),
        (row("permitted"), Refuse),
        (row("permitted", attempt=1), Refuse),
        (row("permitted", attempt=3), Ignore),
        (row("revoked"), Ignore),
        (row("done", result=b"x"), Repeat),
        (row("done", attempt=1, result=b"x"), Repeat),
        (row("failed", result=b"x"), Repeat),
        (row("failed", attempt=1, result=b"x"), Refuse),
        (row("failed", attempt=3, result=b"x"), Ignore),
        (row("doubt"), StillInDoubt),
        (row("doubt", attempt=3), Ignore),
        (row("started", lease_until=NOW + 0.1, hard_deadline=NOW + 5), Wait),
        (row("started", lease_until=NOW + 0.1, hard_deadline=NOW - 5), Wait),
    ],
)
def test_a_row_that_cannot_be_started(found: LedgerState | None, expected: type, may_repeat: bool) -> None:
    assert type(after_refusal(found, attempt=2, may_repeat=may_repeat, now=NOW)) is expected


def test_a_lapsed_lease_lets_a_repeatable_call_be_taken_over_before_its_hard_deadline() -> None:
    found = row("started", lease_until=NOW - 0.1, hard_deadline=NOW + 60)
    assert after_refusal(found, attempt=2, may_repeat=True, now=NOW) == TakeOver(2)
    assert isinstance(after_refusal(found, attempt=2, may_repeat=False, now=NOW), Wait)


def test_an_unsafe_call_is_in_doubt_only_after_lease_and_hard_deadline() -> None:
    found = row("started", attempt=1, lease_until=NOW - 20, hard_deadline=NOW)
    assert after_refusal(found, attempt=2, may_repeat=False, now=NOW) == DeclareDoubt(1)
    assert isinstance(after_refusal(found, attempt=2, may_repeat=False, now=NOW - 0.01), Wait)


@pytest.mark.parametrize("state", ["started", "doubt"])
def test_the_hook_is_asked_only_after_lease_hard_deadline_and_settle_time(state: str) -> None:
    found = row(state, attempt=2, lease_until=NOW + 1, hard_deadline=NOW + 2)
    assert quiet_at(found, settle_seconds=3.0) == NOW + 5
    for now in (NOW + 1.5, NOW + 2.5, NOW + 4.99):
        assert isinstance(before_reconcile(found, attempt=2, settle_seconds=3.0, now=now), Wait)
    assert before_reconcile(found, attempt=2, settle_seconds=3.0, now=NOW + 5) == Ask(2)


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (None, CannotTell),
        (row("permitted"), CannotTell),
        (row("revoked"), CannotTell),
        (row("permitted", attempt=3), Ignore),
        (row("done", result=b"x"), Repeat),
        (row("failed", result=b"x"), Repeat),
        (row("done"), CannotTell),
    ],
)
def test_what_is_not_in_doubt_is_not_reconciled(found: LedgerState | None, expected: type) -> None:
    assert type(before_reconcile(found, attempt=2, settle_seconds=0.0, now=NOW)) is expected
