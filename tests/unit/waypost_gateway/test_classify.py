"""The table of `classify`, row by row: what an ending means for each effect."""

from __future__ import annotations

import pytest

from waypost_gateway.classify import (
    TIMEOUT_KINDS,
    Doubt,
    Drop,
    Ending,
    Fail,
    GiveBack,
    Interrupted,
    Raised,
    Returned,
    Succeed,
    TimedOut,
    Unusable,
    Verdict,
    classify,
    stricter,
)
from waypost_proto.values import Effect, Failure

READ, IDEMPOTENT, UNSAFE = Effect.READ, Effect.IDEMPOTENT, Effect.UNSAFE
BROKEN = Failure(type="ValueError", message="broken")
TIMEOUT = Failure(type="Timeout", message="no answer within 1.5 s")
STOPPED = Failure(type="Interrupted", message="the gateway stopped while the call was running")
NOT_BEGUN = Failure(type="NotExecuted", message="the gateway stopped before the call began")

TABLE: list[tuple[Ending, dict[Effect, Verdict]]] = [
    (Returned(b"1"), {READ: Succeed(b"1"), IDEMPOTENT: Succeed(b"1"), UNSAFE: Succeed(b"1")}),
    (
        Raised(BROKEN, not_executed=True, retry_after_seconds=7.0),
        {READ: Fail(BROKEN, True, 7.0), IDEMPOTENT: Fail(BROKEN, True, 7.0), UNSAFE: Fail(BROKEN, True, 7.0)},
    ),
    (
        Raised(BROKEN, not_executed=True, retryable=False),
        {READ: Fail(BROKEN, False), IDEMPOTENT: Fail(BROKEN, False), UNSAFE: Fail(BROKEN, False)},
    ),
    (Raised(BROKEN), {READ: Fail(BROKEN), IDEMPOTENT: Fail(BROKEN), UNSAFE: Doubt(BROKEN)}),
    (
        Raised(BROKEN, retry_after_seconds=2.0),
        {READ: Fail(BROKEN, True, 2.0), IDEMPOTENT: Fail(BROKEN, True, 2.0), UNSAFE: Doubt(BROKEN)},
    ),
    (TimedOut(1.5), {READ: Fail(TIMEOUT, kinds=TIMEOUT_KINDS), IDEMPOTENT: Fail(TIMEOUT, kinds=TIMEOUT_KINDS), UNSAFE: Doubt(TIMEOUT)}),
    (Interrupted("draining"), {READ: GiveBack(), IDEMPOTENT: GiveBack(), UNSAFE: Doubt(STOPPED)}),
    (Interrupted("draining", began=False), {READ: GiveBack(), IDEMPOTENT: GiveBack(), UNSAFE: Fail(NOT_BEGUN)}),
    (Interrupted("ended"), {READ: Drop(), IDEMPOTENT: GiveBack(), UNSAFE: Doubt(STOPPED)}),
    (Unusable(BROKEN), {READ: Fail(BROKEN, False), IDEMPOTENT: Fail(BROKEN, False), UNSAFE: Doubt(BROKEN)}),
]


@pytest.mark.parametrize(
    ("effect", "ending", "verdict"), [(effect, ending, verdict) for ending, row in TABLE for effect, verdict in row.items()]
)
def test_the_table(effect: Effect, ending: Ending, verdict: Verdict) -> None:
    assert classify(effect, ending) == verdict


def test_only_a_return_or_not_executed_keeps_an_unsafe_call_out_of_doubt() -> None:
    for ending, row in TABLE:
        proves_it = isinstance(ending, Returned) or (isinstance(ending, Raised) and ending.not_executed)
        never_began = isinstance(ending, Interrupted) and not ending.began
        assert isinstance(row[UNSAFE], Doubt) is not (proves_it or never_began), ending


@pytest.mark.parametrize(
    ("declared", "asked", "effective"),
    [(READ, UNSAFE, UNSAFE), (UNSAFE, READ, UNSAFE), (IDEMPOTENT, READ, IDEMPOTENT), (READ, READ, READ), (UNSAFE, IDEMPOTENT, UNSAFE)],
)
def test_of_two_opinions_the_stricter_one_counts(declared: Effect, asked: Effect, effective: Effect) -> None:
    assert stricter(declared, asked) is effective
