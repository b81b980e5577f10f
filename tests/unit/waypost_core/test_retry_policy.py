"""Retry policies per class of error, deferrals that are no attempts, and the labels that a run collects."""

from __future__ import annotations

import pytest
from msgspec import Raw
from msgspec.structs import replace

from tests.unit.waypost_core.machine import RETRY, RUN, START, TOOLS, Machine, failed, succeeded
from waypost_core import effects as fx
from waypost_core.backoff import policy_for
from waypost_core.dispatch import start_child, tool_call
from waypost_core.messages import PermitsRevoked, PermitState, TimersDue
from waypost_proto import events as ev
from waypost_proto import mailbox as mb
from waypost_proto.commands import CancelCall, StartChild
from waypost_proto.errors import BadInput
from waypost_proto.ids import CallId
from waypost_proto.limits import MAX_TAINTS
from waypost_proto.taint import MORE, check_label, merged
from waypost_proto.values import Backoff, Failure, Retry, RunStatus

CALL = CallId("0:1")
VALUE_ERROR = ("UnicodeDecodeError", "UnicodeError", "ValueError")


def with_retry(retry: Retry, tool: str = "read") -> Machine:
    run = Machine()
    run.tools[tool] = replace(TOOLS[tool], retry=retry)
    return run.calls(tool)


def deferred(attempt: int = 1, after: float = 20.0) -> mb.ToolDeferred:
    return mb.ToolDeferred(run_id=RUN, call_id=CALL, attempt=attempt, why="breaker", message="open", retry_after_seconds=after)


# -- per class


def test_an_error_that_is_never_tried_again_fails_at_once() -> None:
    run = with_retry(Retry(max_attempts=8, never=("ValueError",))).tell(failed(kinds=VALUE_ERROR))
    assert run.types == ["tool_call_failed"]


def test_only_names_all_that_is_tried_again() -> None:
    retry = Retry(max_attempts=8, only=("ConnectionError",))
    assert with_retry(retry).tell(failed(kinds=VALUE_ERROR)).types == ["tool_call_failed"]
    assert with_retry(retry).tell(failed(kinds=("ConnectionResetError", "ConnectionError"))).types == ["tool_attempt_failed"]


def test_never_wins_over_only() -> None:
    assert policy_for(Retry(only=("OSError",), never=("FileNotFoundError",)), ("FileNotFoundError", "OSError")) is None


def test_a_class_may_have_attempts_and_delays_of_its_own() -> None:
    retry = replace(RETRY, max_attempts=2, errors={"RateLimited": Backoff(max_attempts=5, initial_seconds=9.0)})
    run = with_retry(retry).tell(failed(kinds=("RateLimited",)))
    attempt = run.events[0]
    assert isinstance(attempt, ev.ToolAttemptFailed)
    assert (attempt.max_attempts, attempt.next_attempt_at) == (5, START + 9.0)
    run.tell(TimersDue(("0:1#retry",))).tell(failed(attempt=2))
    assert run.types == ["tool_call_failed"]  # another class: two attempts in all


def test_of_several_entries_the_nearest_class_counts() -> None:
    retry = Retry(errors={"OSError": Backoff(max_attempts=2), "TimeoutError": Backoff(max_attempts=3)})
    policy = policy_for(retry, ("TimeoutError", "OSError"))
    assert policy is not None
    assert policy.max_attempts == 3


def test_a_plain_policy_is_itself() -> None:
    assert policy_for(RETRY, ("Anything",)) is RETRY


# -- deferrals


def test_an_open_breaker_is_seen_in_the_log_and_burns_no_attempt() -> None:
    run = Machine().calls("pay")
    for _ in range(9):
        run.tell(deferred())
        assert run.types == ["tool_call_deferred"]
        assert run.of(fx.RevokeCall) == [fx.RevokeCall(CALL)]
        assert run.the.status is RunStatus.WAITING
        run.tell(TimersDue(("0:1#retry",)))
        assert run.types == ["tool_call_dispatched"]
        assert run.of(fx.GrantPermit) == [fx.GrantPermit(CALL)]
        assert run.the.calls[CALL].attempt == 1
    assert run.tell(succeeded()).types == ["tool_call_completed"]
    assert run.refold() == run.the


def test_it_waits_as_long_as_the_gateway_says_and_longer_each_time() -> None:
    run = Machine().calls("read").tell(deferred(after=20.0))
    assert run.of(fx.SetTimer) == [fx.SetTimer("0:1#retry", START + 20.0)]
    waits = []
    for _ in range(9):
        run.tell(TimersDue(("0:1#retry",)))
        before = run.now
        run.tell(deferred(after=0.0))
        waits.append((run.the.calls[CALL].due_at or 0.0) - before)
    assert waits == sorted(waits)
    assert waits[-1] == 30.0


def test_a_failed_attempt_after_a_deferral_counts_as_before() -> None:
    run = Machine().calls("read").tell(deferred()).tell(TimersDue(("0:1#retry",))).tell(failed())
    assert run.types == ["tool_attempt_failed"]
    run.tell(TimersDue(("0:1#retry",)))
    assert run.the.calls[CALL].attempt == 2
    assert run.tell(deferred(attempt=2)).tell(TimersDue(("0:1#retry",))).the.calls[CALL].attempt == 2


def test_a_deferral_that_comes_twice_counts_once() -> None:
    assert Machine().calls("read").tell(deferred()).tell(deferred()).events == []


def test_a_call_that_another_gateway_has_started_after_all_is_awaited() -> None:
    run = Machine().calls("pay").tell(deferred())
    run.tell(PermitsRevoked((PermitState(CALL, 1, "started"),)))
    assert run.types == ["tool_call_dispatched"]
    assert run.the.calls[CALL].binding
    assert run.the.calls[CALL].attempt == 1


def test_a_deferral_without_a_waiting_run_ends_the_call() -> None:
    run = Machine().calls("pay")
    run.advance(CancelCall(seen=run.the.outside, target=CALL))
    assert run.tell(deferred()).types == ["tool_call_cancelled"]


# -- taint


def test_the_run_collects_the_labels_of_what_it_was_given_and_calls_carry_them() -> None:
    run = Machine().calls("read", "0:1").calls("read", "0:2").calls("read", "0:3")
    run.tell(mb.ToolSucceeded(run_id=RUN, call_id=CALL, attempt=1, result=Raw(b"1"), taint=("web", "pii")))
    run.tell(failed("0:2", retryable=False, taint=("mail",)))
    assert run.the.taint == ("mail", "pii", "web")
    assert run.refold() == run.the
    call_id = CallId("0:3")
    assert tool_call(run.the, call_id, run.the.calls[call_id], mode="execute", emission=0).taint == ("mail", "pii", "web")


def test_children_inherit_the_labels_and_give_theirs_back() -> None:
    run = Machine().calls("read")
    run.tell(mb.ToolSucceeded(run_id=RUN, call_id=CALL, attempt=1, result=Raw(b"1"), taint=("web",)))
    run.advance(StartChild(seen=run.the.outside, id=CallId("0:2"), agent="helper", input=Raw(b"1")))
    child = run.the.calls[CallId("0:2")]
    start = start_child(run.the, CallId("0:2"), child)
    assert start.taint == ("web",)
    other = Machine(started=False).start(taint=start.taint)
    assert other.the.taint == ("web",)
    assert child.child is not None
    ended = mb.ChildEnded(
        run_id=RUN, call_id=CallId("0:2"), child=child.child, status=RunStatus.FAILED, error=Failure(type="X", message=""), taint=("mail",)
    )
    assert run.tell(ended).the.taint == ("mail", "web")


def test_labels_are_few_and_what_is_too_much_is_said() -> None:
    many = tuple(f"l{number:03}" for number in range(MAX_TAINTS + 5))
    labels = merged((), many)
    assert len(labels) == MAX_TAINTS + 1
    assert labels[-1] == MORE
    assert merged(labels, ("a",))[-1] == MORE
    assert merged(labels, labels) is labels


@pytest.mark.parametrize("label", ["", "Web", "a b", "x" * 65, "é", "-a", 7])
def test_a_label_is_a_short_plain_word(label: object) -> None:
    with pytest.raises(BadInput):
        check_label(label)  # type: ignore[arg-type]
