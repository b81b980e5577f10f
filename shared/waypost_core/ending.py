"""How a run ends. No terminal event while something binding is unsettled: a started call that may have an effect, or a child.

First `run_ending` (permits are revoked, children told), then, when the last binding call is settled, the terminal event.
"""

from __future__ import annotations

from waypost_core.budgets import usage_of
from waypost_core.effects import SendMail
from waypost_core.state import Call, Ending, RunState
from waypost_proto import events as ev
from waypost_proto.ids import CallId
from waypost_proto.mailbox import ChildEnded
from waypost_proto.values import Failure, RunStatus


def end(state: RunState, ending: Ending, *, seen: int = 0) -> list[ev.Data]:
    """The events that end the run as `ending`: at once, or by way of `run_ending`. Open approvals are withdrawn first."""
    events = [_withdrawn(call_id, call, seen) for call_id, call in state.calls.items() if call.stage == "approval"]
    if state.binding_calls():
        return [
            *events,
            ev.RunEnding(
                seen=seen,
                outcome=ending.outcome,
                reason=ending.reason,
                by=ending.by,
                result=ending.result,
                result_ref=ending.result_ref,
                error=ending.error,
            ),
        ]
    return [*events, terminal_event(ending, seen=seen)]


def _withdrawn(call_id: CallId, call: Call, seen: int) -> ev.Data:
    if call.kind == "ask":
        return ev.QuestionWithdrawn(seen=seen, call_id=call_id, question_id=call.approval_id or "")
    return ev.ToolCallCancelled(seen=seen, call_id=call_id, tool=call.name, approval_id=call.approval_id)


def end_if_settled(state: RunState, *settled: str) -> list[ev.Data]:
    """The terminal event, if the run is ending and nothing binding is open besides the calls being settled right now."""
    if state.ending is None:
        return []
    if any(call.binding for call_id, call in state.calls.items() if call_id not in settled):
        return []
    return [terminal_event(state.ending)]


def terminal_event(ending: Ending, *, seen: int = 0) -> ev.Data:
    """The one event that ends the run."""
    if ending.outcome == "completed":
        return ev.RunCompleted(seen=seen, result=ending.result, result_ref=ending.result_ref)
    if ending.outcome == "failed":
        error = ending.error or Failure(type="Failed", message=ending.reason)
        return ev.RunFailed(seen=seen, error=error)
    return ev.RunCancelled(reason=ending.reason, by=ending.by)


def child_ended(state: RunState, sent: int) -> SendMail:
    """What a terminal child tells its parent; the same message however often it is derived."""
    assert state.parent is not None
    assert state.terminal
    error = state.error
    if state.status is RunStatus.CANCELLED:
        error = Failure(type="RunCancelled", message=f"child run {state.run_id} was cancelled")
    mail = ChildEnded(
        run_id=state.parent.run_id,
        call_id=state.parent.call_id,
        child=state.run_id,
        status=state.status,
        result=state.result,
        result_ref=state.result_ref,
        error=error,
        taint=state.taint,
        usage=usage_of(state.account.spent),
    )
    return SendMail(to=state.parent.run_id, agent=state.parent.agent, mail=mail, sent=sent, key="ended")
