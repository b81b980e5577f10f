"""What an item will be in the log, as far as the fold reads it: so that what a run issues is folded like what it reads. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from waypost_proto import commands as cmd
from waypost_proto import events as ev
from waypost_proto.ids import RunId


def _step(item: cmd.FinishStep) -> ev.AnyData:
    if item.error is not None:
        return ev.StepFailed(seen=item.seen, call_id=item.id, name=item.name, at=item.at, error=item.error)
    return ev.StepCompleted(seen=item.seen, call_id=item.id, name=item.name, at=item.at, result=item.result)


_FACTS: dict[type, Callable[[Any], ev.AnyData]] = {
    cmd.FinishStep: _step,
    cmd.CallTool: lambda i: ev.ToolCallRequested(seen=i.seen, call_id=i.id, tool=i.tool, args_digest="", idempotency_key=""),
    cmd.StartChild: lambda i: ev.ChildRequested(seen=i.seen, call_id=i.id, child_agent=i.agent, child_run_id=RunId("")),
    cmd.AskQuestion: lambda i: ev.QuestionAsked(
        seen=i.seen, call_id=i.id, question_id="", role=i.role, question=i.question, expires_at=0.0
    ),
    cmd.StartTimer: lambda i: ev.TimerStarted(seen=i.seen, call_id=i.id, fire_at=i.fire_at),
    cmd.SetState: lambda i: ev.StateChanged(seen=i.seen, value=i.value),
    cmd.CompleteRun: lambda i: ev.RunCompleted(seen=i.seen),
    cmd.FailRun: lambda i: ev.RunFailed(seen=i.seen, error=i.error),
}


def fact_of(item: cmd.AnyItem) -> ev.AnyData:
    """The event that the coordinator will write for it. Only for items that a reasoning run issues itself."""
    return _FACTS[type(item)](item)


__all__ = ["fact_of"]
