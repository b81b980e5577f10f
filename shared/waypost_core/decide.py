"""State × message → decision. Pure: the same state, message and `Env` give the same decision; nothing is changed.

One function per family of messages, in the module named after it:

    starting     StartRun
    forking      ForkRun
    advancing    Advance
    tool_mail    ToolSucceeded, ToolFailed, ToolUncertain, ToolNotDone, ToolUnknown, ToolRefused, ToolNeedsApproval, ToolDeferred
    control      Signal, Pause, Resume, Cancel, DecideApproval, ResolveCall, ChildEnded
    timing       TimersDue
    permits      PermitsRevoked, HostFound
    leases       AskLease, GrantLease, RecallLease, ReturnLease; and what any decision means for those who wait for budget
    playing      what any decision about a fork that does not go live is followed by

Whatever arrives twice, late or out of order gives no events: a call that is no longer open, an advance on another journal, a
request id that is already recorded, anything for a run that has ended.
"""

from __future__ import annotations

from typing import assert_never

from waypost_core import advancing, control, forking, leases, permits, playing, starting, timing, tool_mail
from waypost_core.decision import Decision
from waypost_core.messages import AnyMessage, Env, HostFound, PermitsRevoked, TimersDue
from waypost_core.state import RunState
from waypost_proto import mailbox as mb


def decide(state: RunState | None, message: AnyMessage, env: Env) -> Decision:
    """What `message` leads to. `state` is None for a run that does not exist yet: only `StartRun` makes one."""
    if state is None:
        if isinstance(message, mb.ForkRun):
            return forking.fork_run(None, message, env)
        return starting.start_run(state, message, env) if isinstance(message, mb.StartRun) else control.unknown_run(message)
    decision = _decide(state, message, env)
    leases.follow_up(state, decision, env)
    if state.fork is not None:
        playing.follow_up(state, decision, env)
    return decision


def _decide(state: RunState, message: AnyMessage, env: Env) -> Decision:  # noqa: PLR0911  # one case a family
    match message:
        case mb.StartRun():
            return starting.start_run(state, message, env)
        case mb.ForkRun():
            return forking.fork_run(state, message, env)
        case mb.Advance():
            return advancing.advance(state, message, env)
        case (
            mb.ToolSucceeded()
            | mb.ToolFailed()
            | mb.ToolUncertain()
            | mb.ToolNotDone()
            | mb.ToolUnknown()
            | mb.ToolRefused()
            | mb.ToolNeedsApproval()
            | mb.ToolDeferred()
        ):
            return tool_mail.tool_answer(state, message, env)
        case mb.Signal() | mb.Pause() | mb.Resume() | mb.Cancel() | mb.DecideApproval() | mb.ResolveCall() | mb.ChildEnded():
            return control.control(state, message, env)
        case mb.AskLease() | mb.GrantLease() | mb.RecallLease() | mb.ReturnLease():
            return leases.lease_mail(state, message)
        case TimersDue():
            return timing.timers_due(state, message, env)
        case PermitsRevoked():
            return permits.revoked(state, message, env)
        case HostFound():
            return permits.host_found(state, env)
        case _:
            assert_never(message)
