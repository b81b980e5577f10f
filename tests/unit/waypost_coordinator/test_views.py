"""What a run waits for, as a sentence."""

from __future__ import annotations

from dataclasses import replace

import pytest
from msgspec import UNSET

from waypost_coordinator.encoding import run_row
from waypost_coordinator.views import run_view, state_of, waiting_for
from waypost_core.state import Call, Ending, RunState
from waypost_io.store.ports import ApprovalRow
from waypost_proto.ids import CallId, RunId
from waypost_proto.task import parse_time
from waypost_proto.values import Effect, Failure, Retry, RunStatus

RUN = RunId("0192f0c1-7a3e-7c21-8f00-3b1d6a9c4e55")
CHILD = RunId("0192f0c1-7a3e-7c21-8f00-000000000000")
NOW = parse_time("2026-11-22T12:00:00Z")
APPROVAL = ApprovalRow(
    approval_id="ap-1",
    run_id=RUN,
    agent="desk",
    call_id=CallId("0:1"),
    tool="file-report",
    args=b"{}",
    args_digest="d",
    role="officer",
    reason="",
    tenant="default",
    requested_at=NOW,
    expires_at=parse_time("2026-11-24T09:30:00Z"),
)


def state(status: RunStatus = RunStatus.WAITING, **more: object) -> RunState:
    return RunState(run_id=RUN, agent="desk", status=status, started_at=NOW, recorded_at=NOW, **more)  # type: ignore[arg-type]


def sentence(found: RunState, approvals: dict[str, ApprovalRow] | None = None) -> str:
    return waiting_for(run_row(found, partition=0, unhosted=False), found, approvals or {}, now=NOW)


def tool(stage: str, **more: object) -> Call:
    return Call(kind="tool", seq=2, sent=2, name="core-banking", stage=stage, effect=Effect.UNSAFE, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (tool("retry", attempt=3, retry=Retry(max_attempts=8), due_at=NOW + 4), "core-banking attempt 3 of 8 failed, next at 12:00:04Z"),
        (tool("retry", attempt=1, due_at=NOW + 100_000), "core-banking attempt 1 failed, next at 2026-11-23T15:46:40Z"),
        (tool("approval", approval_id="ap-1"), "approval of core-banking by officer until 2026-11-24T09:30:00Z"),
        (tool("approval", approval_id="gone"), "approval of core-banking"),
        (tool("held"), "a gateway for tool core-banking"),
        (tool("doubt"), "a person to settle core-banking, which is in doubt (`waypost runs resolve`)"),
        (tool("doubt", due_at=NOW + 2), "core-banking is in doubt, its reconcile hook is asked at 12:00:02Z"),
        (tool("reconcile"), "the reconcile hook of core-banking"),
        (tool("sent", attempt=2), "core-banking attempt 2"),
        (Call(kind="timer", seq=2, sent=2, stage="set", due_at=NOW + 3600), "a timer at 13:00:00Z"),
        (Call(kind="signal", seq=2, sent=2, stage="set", name="papers"), "signal 'papers'"),
        (Call(kind="child", seq=2, sent=2, name="risk", child=CHILD), f"child run {CHILD} of agent risk"),
        (Call(kind="child", seq=2, sent=2, name="risk", stage="held"), "a worker for agent risk"),
    ],
)
def test_each_kind_of_waiting(call: Call, says: str) -> None:
    assert sentence(state(calls={CallId("0:1"): call}), {"ap-1": APPROVAL}) == says


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (state(RunStatus.PENDING), "a worker for agent desk"),
        (state(RunStatus.RUNNING), ""),
        (state(RunStatus.PAUSED, paused=True, pause_reason="max_steps 5 reached"), "someone to resume it (paused: max_steps 5 reached)"),
        (state(RunStatus.PAUSED, paused=True), "someone to resume it"),
        (state(RunStatus.COMPLETED), ""),
        (state(RunStatus.CANCELLED), ""),
    ],
)
def test_each_status(found: RunState, says: str) -> None:
    assert sentence(found) == says


def test_what_needs_a_person_comes_first_and_the_rest_is_counted() -> None:
    calls = {
        CallId("0:1"): Call(kind="timer", seq=2, sent=2, stage="set", due_at=NOW + 1),
        CallId("0:2"): Call(kind="signal", seq=3, sent=3, stage="set", name="papers"),
        CallId("0:3"): tool("retry", attempt=1, due_at=NOW + 1),
        CallId("0:4"): tool("doubt"),
        CallId("0:5"): tool("approval", approval_id="ap-1"),
    }
    text = sentence(state(calls=calls), {"ap-1": APPROVAL})
    parts = text.split("; ")
    assert parts[0].startswith("approval of")
    assert parts[1].startswith("a person to settle")
    assert parts[2].startswith("core-banking attempt 1 failed")
    assert parts[3] == "and 2 more"


def test_what_the_code_let_go_of_is_not_waited_for_unless_the_run_cannot_end_without_it() -> None:
    read = Call(kind="tool", seq=2, sent=2, name="look", stage="sent", effect=Effect.READ, abandoned=True)
    unsafe = tool("sent", abandoned=True)
    ending = Ending(outcome="cancelled")
    found = state(calls={CallId("0:1"): read, CallId("0:2"): unsafe}, ending=ending)
    assert sentence(found) == "core-banking attempt 1 (then it ends as cancelled)"


def test_a_list_leaves_out_what_is_heavy() -> None:
    found = state(calls={CallId("0:1"): tool("retry", attempt=1, retry=Retry(max_attempts=3), error=Failure(type="E", message="m"))})
    row = run_row(found, partition=0, unhosted=False)
    brief = run_view(row, found, {}, now=NOW, full=False)
    assert (brief.open_calls, brief.state, brief.result) == ([], UNSET, UNSET)
    [call] = run_view(row, found, {}, now=NOW, full=True).open_calls
    assert (call.call_id, call.state, call.attempt, call.max_attempts) == ("0:1", "retry", 1, 3)
    assert call.error == Failure(type="E", message="m")


def test_a_state_that_cannot_be_read_leaves_the_columns() -> None:
    found = state()
    row = run_row(found, partition=0, unhosted=False)
    assert state_of(replace(row, state_version=99)) is None
    assert state_of(replace(row, state=b"{")) is None
    assert run_view(row, None, {}, now=NOW, full=True).run_id == RUN
