"""How a fork begins: a new run whose first events are those of another, up to where it was cut.

    source   1 run_started   2 …   3 tool_call_requested ┊ 4 tool_call_completed   5 …
    fork     1 run_started'  2 …   3 tool_call_requested ┊ 4 run_forked            5 …     (' budget, deadline, labels, starter are its own)

The events keep their numbers, types, data and times: a worker replays them and arrives where the source was. A cut lies between two
decisions of the source, never inside an advance, whose items were one step of its code.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from waypost_core import leases
from waypost_core.decision import Decision, done, refused
from waypost_core.drafting import FORK_LABEL, Places
from waypost_core.messages import Env
from waypost_core.permits import held_dispatches
from waypost_core.playing import asked_anew, denied
from waypost_core.state import RunState
from waypost_proto import events as ev
from waypost_proto.codec import decode_union
from waypost_proto.forks import Recalled
from waypost_proto.mailbox import ForkRun


def fork_run(state: RunState | None, message: ForkRun, env: Env) -> Decision:
    """A fork, or the answer for one that exists: the same source and cut again is a duplicate, anything else a conflict."""
    if state is not None:
        return _again(state, message)
    draft = env.draft
    if draft is None or not draft.source or draft.source[0].tenant != message.tenant:
        return refused(message.run_id, "404", f"no run {message.source}: `waypost runs list` shows those there are")
    if draft.refused is not None:
        return refused(message.run_id, draft.refused.code, str(draft.refused))
    cut = draft.state
    assert cut is not None
    forked = ev.RunForked(
        source=message.source,
        seq=message.seq,
        tools=message.tools,
        identity=message.run_id if message.tools == "live" else cut.identity,
        by=message.by or message.starter,
        budget=draft.budget,
        deadline_at=draft.deadline_at,
        changed=draft.changed,
        deadlines=draft.deadlines(env.now),
        recalled=None if message.tools == "live" else Recalled(seq=message.seq, at=0.0),
    )
    decision = done(message.run_id, [forked])
    decision.history = draft.history
    _open_anew(cut, decision, message, env)
    return decision


def _open_anew(cut: RunState, decision: Decision, message: ForkRun, env: Env) -> None:
    """What the source waited for is asked for again, or refused."""
    if message.tools == "recorded":
        return
    held = msgspec.structs.replace(cut, calls={i: msgspec.structs.replace(c) for i, c in cut.calls.items()})
    for call in held.calls.values():
        if call.kind in ("tool", "child", "ask", "step") and not call.abandoned:
            call.stage, call.approval_id = "tape", None
    held.calls = {i: c for i, c in held.calls.items() if not c.abandoned}
    if message.tools == "deny":
        decision.events.extend(denied(held))
        return
    for call in held.calls.values():
        if call.kind == "tool" and call.effect is None:
            call.stage = "held"
    decision.events.extend(asked_anew(held, env))
    decision.events.extend(held_dispatches(held, env))
    decision.look = True
    leases.follow_up(cut, decision, env)


def boundaries(events: Sequence[ev.Event]) -> list[int]:
    """Where a run can be forked, by its log so far."""
    places = Places()
    for event in events:
        data: ev.AnyData = decode_union(ev.AnyData, event.data)
        places.see(event, data)
    return places.found


def _again(state: RunState, message: ForkRun) -> Decision:
    fork = state.fork
    if fork is None or (fork.source, fork.seq) != (message.source, message.seq):
        return refused(state.run_id, "409", f"run {state.run_id} exists and is not this fork; use another run id", state.status)
    return done(state.run_id, [], duplicate=True)


__all__ = ["FORK_LABEL", "boundaries", "fork_run"]
