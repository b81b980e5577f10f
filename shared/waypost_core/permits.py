"""What follows from a revocation, and from a host that was found for what is held."""

from __future__ import annotations

from waypost_core.decision import Decision
from waypost_core.ending import end_if_settled
from waypost_core.messages import Env, PermitsRevoked
from waypost_core.state import Call, RunState
from waypost_proto import events as ev
from waypost_proto.ids import CallId
from waypost_proto.registry import ToolDefinition


def revoked(state: RunState, message: PermitsRevoked, env: Env) -> Decision:  # noqa: ARG001  # one shape for all families
    """A revoked permit settles a call that nobody waits for any more. What was started is still awaited."""
    if state.terminal:
        return Decision()
    settled: list[str] = []
    events: list[ev.Data] = []
    for permit in message.permits:
        call = state.calls.get(permit.call_id)
        if call is not None and permit.state != "revoked" and call.attempt == permit.attempt and call.deferred and call.stage == "retry":
            # one gateway would not start it, another that got the same message has: its answer is awaited after all
            events.append(ev.ToolCallDispatched(call_id=permit.call_id, attempt=call.attempt, effect=call.effect))
            continue
        if permit.state != "revoked" or call is None or call.kind != "tool" or call.attempt != permit.attempt:
            continue
        if (call.abandoned or state.ending is not None) and call.stage == "sent":
            settled.append(permit.call_id)
            events.append(ev.ToolCallCancelled(call_id=permit.call_id, tool=call.name))
    if settled:
        events.extend(end_if_settled(state, *settled))
    return Decision(events=events)


def host_found(state: RunState, env: Env) -> Decision:
    """Send what was held for want of a host. A held call learns its effect and its retry policy now."""
    if state.terminal or state.paused or state.ending is not None:
        return Decision()
    return Decision(events=[*held_dispatches(state, env)])


def held_dispatches(state: RunState, env: Env) -> list[ev.ToolCallDispatched]:
    """The dispatches of what is held and can be sent now; also at a resume, because a host may have come while the run was paused."""
    return [
        first_dispatch(call_id, call, env.tools[call.name])
        for call_id, call in state.calls.items()
        if call.kind == "tool" and call.stage == "held" and call.name in env.tools
    ]


def first_dispatch(call_id: CallId, call: Call, tool: ToolDefinition) -> ev.ToolCallDispatched:
    """A call whose tool nobody hosted when it was requested learns its effect, and is sent."""
    return ev.ToolCallDispatched(
        call_id=call_id,
        attempt=call.attempt,
        effect=tool.effect,
        retry=call.retry or tool.retry,
        timeout_seconds=call.timeout_seconds or tool.timeout_seconds,
    )
