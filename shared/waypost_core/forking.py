"""How a fork begins: a new run whose first events are those of another, up to where it was cut.

    source   1 run_started   2 …   3 tool_call_requested ┊ 4 tool_call_completed   5 …
    fork     1 run_started'  2 …   3 tool_call_requested ┊ 4 run_forked            5 …     (' budget, deadline, labels, starter are its own)

The events keep their numbers, types, data and times: a worker replays them and arrives where the source was. A cut lies between two
decisions of the source, never inside an advance, whose items were one step of its code.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec import UNSET

from waypost_core import leases
from waypost_core.decision import Decision, done, refused
from waypost_core.evolve import evolve, initial
from waypost_core.messages import Env
from waypost_core.permits import held_dispatches
from waypost_core.playing import asked_anew, denied
from waypost_core.starting import allowed
from waypost_core.state import RunState
from waypost_core.timing import LATEST
from waypost_proto import events as ev
from waypost_proto.codec import decode_union, encode
from waypost_proto.errors import BadInput
from waypost_proto.forks import ForkOrigin, Recalled
from waypost_proto.ids import CallId
from waypost_proto.limits import MAX_FORK_EVENTS
from waypost_proto.mailbox import ForkRun
from waypost_proto.task import parse_deadline, parse_time
from waypost_proto.values import Budget

FORK_LABEL = "waypost.forked_from"
"""Label of every fork: the run it was forked from."""


def fork_run(state: RunState | None, message: ForkRun, env: Env) -> Decision:
    """A fork, or the answer for one that exists: the same source, cut and mode again is a duplicate, anything else a conflict."""
    if state is not None:
        return _again(state, message)
    events = env.source
    if not events or events[0].tenant != message.tenant:
        return refused(message.run_id, "404", f"no run {message.source}: `waypost runs list` shows those there are")
    try:
        started, deadline_at = _checked(events, message, env)
    except BadInput as error:
        return refused(message.run_id, error.code, str(error))
    copied = list(events[: message.seq])
    source = _folded(copied)
    budget = source.budget if message.budget is None else allowed(env.agent(events[0].agent), message.budget)
    eldest = started.fork.identity if started.fork is not None else message.source
    changed = message.input is not UNSET or message.input_ref is not UNSET
    origin = ForkOrigin(run_id=message.source, seq=message.seq, tools=message.tools, identity=eldest, changed=changed)
    copied[0] = _first(events[0], started, message, origin, budget, deadline_at)
    copied = [msgspec.structs.replace(event, run_id=message.run_id, cause="") for event in copied]
    cut = _folded(copied)
    identity = message.run_id if message.tools == "live" else source.identity
    forked = ev.RunForked(
        source=message.source,
        seq=message.seq,
        tools=message.tools,
        identity=identity,
        by=message.by or message.starter,
        budget=budget,
        deadline_at=deadline_at,
        changed=changed,
        deadlines=_deadlines(events, source, deadline_at, env),
        recalled=None if message.tools == "live" else Recalled(seq=message.seq, at=0.0),
    )
    decision = done(message.run_id, [forked])
    decision.history = copied
    _open_anew(cut, decision, message, env)
    return decision


def _deadlines(events: Sequence[ev.Event], source: RunState, deadline_at: float | None, env: Env) -> dict[CallId, float]:
    """Of the open children: the fork's, and a timeout of their own anew. What they had of the source's deadline is not theirs any more."""
    found: dict[CallId, float] = {}
    for call_id, call in source.calls.items():
        if call.kind != "child" or call.due_at is None or call.abandoned:
            continue
        due_at = deadline_at
        if call.due_at != source.deadline_at:
            due_at = min(deadline_at or LATEST, env.now + call.due_at - parse_time(events[call.seq - 1].recorded_at))
        if due_at is not None:
            found[CallId(call_id)] = due_at
    return found


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


def _checked(events: Sequence[ev.Event], message: ForkRun, env: Env) -> tuple[ev.RunStarted, float | None]:
    """The source's first event and the fork's deadline. Raises `BadInput`, whose code says what is wrong."""
    if events[0].seq != 1:
        raise _wrong("409", f"the first events of run {message.source} were removed by retention: it cannot be forked any more")
    if len(events) > MAX_FORK_EVENTS:
        raise _wrong("413", f"run {message.source} has more than {MAX_FORK_EVENTS} events, which is the most that a fork can begin with")
    if message.seq > len(events):
        raise _wrong("400", f"run {message.source} has {len(events)} events: there is no event {message.seq} to fork it at")
    valid = boundaries(events)
    if message.seq not in valid:
        raise _wrong("400", _nearest(events, valid, message))
    if (message.input is not UNSET or message.input_ref is not UNSET) and message.seq != 1:
        raise _wrong("400", f"another input means another beginning: fork at event 1 to change it, not at {message.seq}")
    started = decode_union(ev.AnyData, events[0].data)
    assert isinstance(started, ev.RunStarted)
    deadline_at = None if message.deadline is None else parse_deadline(message.deadline, now=env.now)
    if deadline_at is not None and not 0 < deadline_at <= LATEST:
        raise _wrong("400", f"deadline {message.deadline!r} is not between 1970 and the year 9999; give an earlier one")
    return started, deadline_at


def boundaries(events: Sequence[ev.Event]) -> list[int]:
    """Where a run can be forked: the seqs after which none of its advances is half told, and it has not begun to end."""
    found: list[int] = []
    inside = ended = False
    last: list[int] = []
    """What may be the end's own: it withdraws what waits for people before it says that it is one."""
    for event in events:
        ended = event.type in ev.TERMINAL_TYPES or event.type == "run_ending"
        if ended:
            break
        data: ev.AnyData = decode_union(ev.AnyData, event.data)
        if isinstance(data, ev.FromWorker) and (data.mark is not None or data.seen > 0):
            inside = data.mark is None
        if isinstance(data, ev.ToolCallCancelled | ev.QuestionWithdrawn) and data.seen == 0:
            last.append(event.seq)
        else:
            last.clear()
        if not inside:
            found.append(event.seq)
    return [seq for seq in found if not ended or seq not in last]


def _nearest(events: Sequence[ev.Event], valid: Sequence[int], message: ForkRun) -> str:
    event = events[message.seq - 1]
    below = max((seq for seq in valid if seq < message.seq), default=None)
    above = min((seq for seq in valid if seq > message.seq), default=None)
    near = " or ".join(str(seq) for seq in (below, above) if seq is not None)
    ending = not valid or message.seq > valid[-1]
    why = "is part of how the run ends" if ending else "lies inside one step of the agent's code"
    return f"event {message.seq} ({event.type}) of run {message.source} {why}: the nearest place to fork it is {near or 1}"


def _first(
    event: ev.Event, started: ev.RunStarted, message: ForkRun, origin: ForkOrigin, budget: Budget, deadline_at: float | None
) -> ev.Event:
    """The fork's own first event: the code is given the same input, unless that is what is changed."""
    more = {}
    if origin.changed:
        more = {"input": message.input, "input_ref": message.input_ref, "input_digest": ""}
    own = msgspec.structs.replace(
        started,
        budget=budget,
        deadline_at=deadline_at,
        labels={**started.labels, **message.labels, FORK_LABEL: message.source},
        idempotency_key=None,
        parent=None,
        lease=None,
        trace=message.trace,
        starter=message.starter,
        fork=origin,
        **more,
    )
    return msgspec.structs.replace(event, data=msgspec.Raw(encode(own)))


def _folded(events: Sequence[ev.Event]) -> RunState:
    state = initial(events[0])
    for event in events:
        data: ev.AnyData = decode_union(ev.AnyData, event.data)
        evolve(state, event.seq, parse_time(event.recorded_at), data, event.cause)
    return state


def _again(state: RunState, message: ForkRun) -> Decision:
    fork = state.fork
    if fork is None or (fork.source, fork.seq) != (message.source, message.seq):
        return refused(state.run_id, "409", f"run {state.run_id} exists and is not this fork; use another run id", state.status)
    return done(state.run_id, [], duplicate=True)


def _wrong(code: str, text: str) -> BadInput:
    error = BadInput(text)
    error.code = code
    return error
