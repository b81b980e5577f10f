"""Commands: what reaches the coordinator, and what its refusals become."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import Raw
from msgspec.structs import replace

from tests.unit.waypost_coordinator.api.conftest import Caller
from tests.unit.waypost_coordinator.api.rig import Desk, new_id
from waypost_core.state import RunState
from waypost_proto import events as ev
from waypost_proto import mailbox as mb
from waypost_proto.api import (
    ApprovalPage,
    ApprovalsDecide,
    ApprovalsList,
    Redispatch,
    RedispatchAnswer,
    RunAnswer,
    RunCommand,
    RunResolve,
    RunSignal,
)
from waypost_proto.errors import BadInput, Conflict, Denied, NotConfirmed, NotFound, TooLarge, TransientError, WaypostError
from waypost_proto.ids import CallId, RunId
from waypost_proto.limits import CLAIM_CHECK_BYTES
from waypost_proto.mailbox import Reply
from waypost_proto.registry import ToolDefinition
from waypost_proto.task import TaskBudget
from waypost_proto.values import Approval, BlobRef, Budget, Effect, Mark

CALL = CallId("0:1")


def last(desk: Desk) -> Any:
    return desk.submitted[-1]


async def test_pause_resume_cancel(ask: Caller, desk: Desk) -> None:
    run_id = await desk.started()
    answer = await ask("runs.pause", RunCommand(run_id=run_id, by="ann", reason="look", request_id="r-1"), RunAnswer)
    assert answer == RunAnswer(run_id=run_id, status="paused")
    assert last(desk) == mb.Pause(run_id=run_id, request_id="r-1", by="ann", reason="look")
    assert (await ask("runs.pause", RunCommand(run_id=run_id, request_id="r-1"), RunAnswer)).duplicate
    answer = await ask("runs.resume", RunCommand(run_id=run_id, budget=TaskBudget(max_steps=9)), RunAnswer)
    assert answer.status == "pending"
    assert last(desk).budget == Budget(max_steps=9)
    answer = await ask("runs.cancel", RunCommand(run_id=run_id, by="bob"), RunAnswer)
    assert answer.status == "cancelled"


async def test_a_request_without_an_id_gets_a_fresh_one(ask: Caller, desk: Desk) -> None:
    run_id = await desk.started()
    for _ in range(2):
        await ask("runs.signal", RunSignal(run_id=run_id, name="go"), RunAnswer)
    first, second = (mail.request_id for mail in desk.submitted)  # type: ignore[union-attr]
    assert first
    assert second
    assert first != second


async def test_limits_are_raised_by_resume_only(ask: Caller, desk: Desk) -> None:
    run_id = await desk.started()
    for verb in ("pause", "cancel"):
        with pytest.raises(BadInput, match="takes no budget"):
            await ask(f"runs.{verb}", RunCommand(run_id=run_id, budget=TaskBudget(max_steps=9)), RunAnswer)
    assert desk.submitted == []


async def test_signals_carry_their_payload_or_a_reference(ask: Caller, desk: Desk) -> None:
    run_id = await desk.started()
    await ask("runs.signal", RunSignal(run_id=run_id, name="go", payload=Raw(b'{"n":1}'), by="ann"), RunAnswer)
    assert (last(desk).name, bytes(last(desk).payload), last(desk).by) == ("go", b'{"n":1}', "ann")
    large = b'"' + b"x" * CLAIM_CHECK_BYTES + b'"'
    await ask("runs.signal", RunSignal(run_id=run_id, name="go", payload=Raw(large)), RunAnswer)
    assert isinstance(last(desk).payload_ref, BlobRef)
    assert await desk.store.blobs.get(last(desk).payload_ref.sha256) == large


async def test_unknown_and_finished_runs(ask: Caller, desk: Desk) -> None:
    with pytest.raises(NotFound, match="no run"):
        await ask("runs.pause", RunCommand(run_id=new_id()), RunAnswer)
    with pytest.raises(BadInput, match="not a UUIDv7"):
        await ask("runs.pause", RunCommand(run_id="nonsense"), RunAnswer)
    run_id = await desk.started()
    await ask("runs.cancel", RunCommand(run_id=run_id), RunAnswer)
    with pytest.raises(Conflict, match="already been cancelled"):
        await ask("runs.signal", RunSignal(run_id=run_id, name="go"), RunAnswer)


@pytest.mark.parametrize(
    ("code", "error"),
    [("404", NotFound), ("409", Conflict), ("400", BadInput), ("403", Denied), ("504", NotConfirmed), ("418", WaypostError)],
)
async def test_a_refusal_becomes_the_error_of_its_code(ask: Caller, desk: Desk, code: str, error: type[WaypostError]) -> None:
    desk.refuse = Reply(run_id=RunId("x"), ok=False, code=code, message="because")
    message = await ask.raw("runs.pause", b'{"run_id":"%s"}' % new_id().encode())
    assert message.headers["Nats-Service-Error-Code"] == code
    with pytest.raises(error, match="because"):
        await ask("runs.pause", RunCommand(run_id=new_id()), RunAnswer)


async def test_an_unconfirmed_command_says_so(ask: Caller, desk: Desk) -> None:
    desk.refuse = NotConfirmed("not confirmed in 5 s, it may still be applied")
    with pytest.raises(NotConfirmed, match="may still be applied"):
        await ask("runs.pause", RunCommand(run_id=new_id()), RunAnswer)


async def in_doubt(desk: Desk) -> RunId:
    run_id = await desk.started()
    await desk.play(
        run_id,
        ev.ToolCallRequested(
            call_id=CALL,
            tool="mail",
            args=Raw(b"{}"),
            args_digest="d",
            idempotency_key="k",
            effect=Effect.UNSAFE,
            seen=1,
            mark=Mark(digest="a", seen=1, worker="w"),
        ),
        ev.ToolCallInDoubt(call_id=CALL, tool="mail", attempt=1, error=ev.Failure(type="TimeoutError", message="no answer")),
    )
    return run_id


async def test_a_person_settles_a_call_in_doubt(ask: Caller, desk: Desk) -> None:
    run_id = await in_doubt(desk)
    request = RunResolve(run_id=run_id, call_id=CALL, outcome="completed", result=Raw(b'"r-17"'), by="ann")
    assert (await ask("runs.resolve", request, RunAnswer)).status == "running"
    with pytest.raises(NotFound, match="no open tool call"):
        await ask("runs.resolve", request, RunAnswer)


async def test_a_result_goes_with_completed_only_and_must_be_small(ask: Caller, desk: Desk) -> None:
    run_id = await in_doubt(desk)
    with pytest.raises(BadInput, match="'completed'"):
        await ask("runs.resolve", RunResolve(run_id=run_id, call_id=CALL, outcome="not_done", result=Raw(b"1")), RunAnswer)
    huge = Raw(b'"' + b"x" * CLAIM_CHECK_BYTES + b'"')
    with pytest.raises(TooLarge):
        await ask("runs.resolve", RunResolve(run_id=run_id, call_id=CALL, outcome="completed", result=huge), RunAnswer)
    with pytest.raises(WaypostError, match="outcome"):
        await ask("runs.resolve", {"run_id": run_id, "call_id": CALL, "outcome": "perhaps"}, RunAnswer)


async def waiting_for_officer(desk: Desk) -> tuple[RunId, str]:
    run_id = await desk.started()
    state: RunState = await desk.play(
        run_id,
        ev.ToolCallRequested(
            call_id=CALL,
            tool="file-report",
            args=Raw(b'{"case":"c-1"}'),
            args_digest="d",
            idempotency_key="k",
            effect=Effect.UNSAFE,
            approval=Approval(role="officer"),
            seen=1,
            mark=Mark(digest="a", seen=1, worker="w"),
        ),
        ev.ApprovalRequested(
            approval_id="ap-1", call_id=CALL, tool="file-report", args_digest="d", role="officer", expires_at=desk.now + 3600
        ),
    )
    assert state.status == "waiting_approval"
    return run_id, "ap-1"


async def test_approvals_are_listed_with_what_they_are_bound_to(ask: Caller, desk: Desk) -> None:
    run_id, approval_id = await waiting_for_officer(desk)
    [found] = (await ask("approvals.list", ApprovalsList(), ApprovalPage)).approvals
    assert (found.approval_id, found.run_id, found.tool, found.role) == (approval_id, run_id, "file-report", "officer")
    assert bytes(found.args) == b'{"case":"c-1"}'  # type: ignore[arg-type]
    assert (await ask("approvals.list", ApprovalsList(role="clerk"), ApprovalPage)).approvals == []
    assert (await ask("approvals.list", ApprovalsList(run_id=new_id()), ApprovalPage)).approvals == []


async def test_only_the_role_decides_and_only_with_a_name(ask: Caller, desk: Desk) -> None:
    _, approval_id = await waiting_for_officer(desk)
    with pytest.raises(Denied, match="for the role 'officer', ann acts as clerk"):
        await ask("approvals.decide", ApprovalsDecide(approval_id=approval_id, decision="approve", by="ann", roles=["clerk"]), RunAnswer)
    with pytest.raises(Denied, match="acts as no role"):
        await ask("approvals.decide", ApprovalsDecide(approval_id=approval_id, decision="approve", by="ann"), RunAnswer)
    with pytest.raises(BadInput, match="by is missing"):
        await ask("approvals.decide", ApprovalsDecide(approval_id=approval_id, decision="approve", roles=["officer"]), RunAnswer)
    with pytest.raises(NotFound, match="no approval 'ap-9'"):
        await ask("approvals.decide", ApprovalsDecide(approval_id="ap-9", decision="approve", by="ann", roles=["officer"]), RunAnswer)
    assert desk.submitted == []
    request = ApprovalsDecide(approval_id=approval_id, decision="deny", by="ann", roles=["clerk", "officer"], reason="no")
    await ask("approvals.decide", request, RunAnswer)
    with pytest.raises(Conflict, match="not open"):
        await ask("approvals.decide", request, RunAnswer)


async def test_edited_arguments_are_held_against_the_committed_schema_and_refused_while_there_is_none(ask: Caller, desk: Desk) -> None:
    _, approval_id = await waiting_for_officer(desk)
    approval = await desk.store.approvals.get(approval_id)
    assert approval is not None
    request = ApprovalsDecide(approval_id=approval_id, decision="approve", by="ann", roles=["officer"], args=Raw(b'{"amount":"all"}'))
    with pytest.raises(TransientError, match="nobody has announced the tool"):
        await ask("approvals.decide", request, RunAnswer)
    schema = Raw(b'{"type":"object","properties":{"amount":{"type":"integer"}}}')
    await desk.store.definitions.put([], [ToolDefinition(name=approval.tool, effect=Effect.UNSAFE, args_schema=schema)])
    with pytest.raises(BadInput, match="cannot be taken"):
        await ask("approvals.decide", request, RunAnswer)
    assert desk.submitted == []
    await ask("approvals.decide", replace(request, args=Raw(b'{"amount":5}')), RunAnswer)
    assert last(desk).args == Raw(b'{"amount":5}')


async def test_redispatch_of_one_or_all(ask: Caller, desk: Desk) -> None:
    assert (await ask("runs.redispatch", Redispatch(), RedispatchAnswer)).dispatches == 2
    with pytest.raises(NotFound):
        await ask("runs.redispatch", Redispatch(run_id=new_id()), RedispatchAnswer)
    run_id = await desk.started()
    assert (await ask("runs.redispatch", Redispatch(run_id=run_id), RedispatchAnswer)).runs == 1
