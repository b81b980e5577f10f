"""A gateway whose policy wants an approval: the call waits as if its agent had asked for one (CORRECTNESS.md rows 7 and 21)."""

from __future__ import annotations

from tests.unit.waypost_core.machine import RUN, Machine, succeeded
from waypost_core import effects as fx
from waypost_core.dispatch import tool_call
from waypost_core.messages import TimersDue
from waypost_proto import events as ev
from waypost_proto import mailbox as mb
from waypost_proto.commands import CancelCall
from waypost_proto.ids import CallId, digest_of
from waypost_proto.values import Approval, RunStatus

CALL = CallId("0:1")
DIGEST = digest_of(b'{"x":1}')


def wanted(attempt: int = 1, **more: object) -> mb.ToolNeedsApproval:
    fields: dict[str, object] = {"args_digest": DIGEST, "rule": "large", "policy_version": "v1", "role": "officer", **more}
    return mb.ToolNeedsApproval(run_id=RUN, call_id=CALL, attempt=attempt, tool="pay", expires_seconds=60, **fields)  # type: ignore[arg-type]


def granted(run: Machine) -> Machine:
    approval_id = run.the.calls[CALL].approval_id or ""
    return run.tell(mb.DecideApproval(run_id=RUN, request_id=approval_id, approval_id=approval_id, decision="approve", by="ann"))


def test_the_call_waits_for_people_and_its_permit_is_revoked() -> None:
    run = Machine().calls("pay").tell(wanted())
    assert run.types == ["approval_requested"]
    assert run.of(fx.RevokeCall) == [fx.RevokeCall(CALL)]
    assert [opened.role for opened in run.of(fx.OpenApproval)] == ["officer"]
    assert run.the.status is RunStatus.WAITING_APPROVAL


def test_a_read_that_needs_an_approval_gets_a_permit_with_it() -> None:
    run = granted(Machine().calls("read").tell(wanted()))
    assert run.types == ["approval_granted"]
    assert run.of(fx.GrantPermit) == [fx.GrantPermit(CALL)]
    assert len(run.of(fx.SendTool)) == 1
    assert run.tell(succeeded()).types == ["tool_call_completed"]


def test_a_policy_that_has_changed_meanwhile_asks_anew_under_another_id() -> None:
    run = granted(Machine().calls("pay").tell(wanted()))
    first = run.the.calls[CALL].approval_id
    run.tell(wanted(policy_version="v2", role="board"))
    assert run.types == ["approval_requested"]
    assert run.the.calls[CALL].approval_id != first
    assert not run.the.calls[CALL].approved
    assert run.refold() == run.the


def test_a_wish_that_comes_twice_is_one_approval() -> None:
    run = Machine().calls("pay").tell(wanted())
    assert run.tell(wanted()).events == []


def test_a_wish_about_other_arguments_or_an_earlier_attempt_means_nothing() -> None:
    run = Machine().calls("pay")
    assert run.tell(wanted(args_digest="0" * 64)).events == []
    assert run.tell(wanted(attempt=2)).events == []


def test_nobody_decides_in_time() -> None:
    run = Machine().calls("pay").tell(wanted()).tell(TimersDue(("0:1#approval",)))
    assert run.types == ["approval_expired", "tool_call_failed"]


def test_a_call_that_nobody_waits_for_any_more_asks_nobody() -> None:
    run = Machine().calls("pay")
    run.advance(CancelCall(seen=run.the.outside, target=CALL))
    assert run.tell(wanted()).types == ["tool_call_cancelled"]


def test_the_request_is_in_the_log() -> None:
    requested = Machine().calls("pay").tell(wanted()).events[0]
    assert isinstance(requested, ev.ApprovalRequested)
    assert (requested.args_digest, requested.role) == (DIGEST, "officer")


def test_an_escalated_approval_stands_for_the_one_that_the_policy_asked_for() -> None:
    """Granted by another role: on its way to the gateway the call still says on what terms it was asked for."""
    run = Machine().calls("pay").tell(wanted(quorum=2, on_expiry="escalate", escalate_to="board"))
    assert run.the.calls[CALL].terms == "officer*2"
    run.tell(TimersDue(("0:1#approval",)))
    assert "approval_escalated" in run.types
    assert run.the.calls[CALL].terms == "officer*2"
    assert run.refold() == run.the
    call = run.the.calls[CALL]
    assert tool_call(run.the, CALL, call, mode="execute", emission=0).approval_terms == "officer*2"


def test_an_approval_that_the_code_asks_for_has_terms_too() -> None:
    run = Machine().calls("pay", approval=Approval(role="officer", quorum=3))
    assert run.the.calls[CALL].terms == "officer*3"
