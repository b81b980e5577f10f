"""A call that the code no longer waits for must not take effect because something else makes the coordinator send again."""

from __future__ import annotations

from tests.unit.waypost_core.machine import RUN, Machine, succeeded
from waypost_core import effects as fx
from waypost_core.messages import PermitsRevoked, PermitState
from waypost_core.react import outstanding
from waypost_proto import commands as cmd
from waypost_proto import mailbox as mb
from waypost_proto.ids import CallId


def abandoned() -> Machine:
    """A payment that was sent and is no longer wanted; what its revocation found is not known yet."""
    run = Machine().calls("pay")
    run.advance(cmd.CancelCall(seen=run.the.outside, target=CallId("0:1")))
    assert run.types == ["tool_call_cancel_requested"]
    return run


def test_a_resume_gives_it_no_fresh_permit() -> None:
    """CORRECTNESS.md row 7: paused and resumed before the revocation's follow-up."""
    run = abandoned()
    run.tell(mb.Pause(run_id=RUN, request_id="p")).tell(mb.Resume(run_id=RUN, request_id="r"))
    assert run.of(fx.GrantPermit) == []
    assert run.of(fx.RevokeCall) == [fx.RevokeCall(CallId("0:1"))]
    run.tell(PermitsRevoked((PermitState(CallId("0:1"), 1, "revoked"),)))
    assert run.types == ["tool_call_cancelled"]


def test_what_was_started_is_asked_for_again_after_a_wipe() -> None:
    run = abandoned()
    again = [type(effect) for effect in outstanding(run.the)]
    assert again == [fx.RevokeCall, fx.SendTool]
    run.tell(succeeded())
    assert run.types == ["tool_call_completed"]
