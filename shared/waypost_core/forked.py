"""What the events of forks do to a state. Called by `evolve` only; believes the log, like everything there.

A fork's first events are its source's, folded as they were. `run_forked` ends that: books, limits, pauses and workers are the fork's own,
and whatever was open is open anew: nothing of it has been sent for this run.
"""

from __future__ import annotations

import msgspec
from msgspec import UNSET, Raw, UnsetType

from waypost_core.budgets import NOTHING, UNBOUND, Account
from waypost_core.loops import forget_trail
from waypost_core.state import Call, ForkState, RunState
from waypost_proto import events as ev
from waypost_proto.codec import encode
from waypost_proto.ids import CallId, child_run_id, digest_of
from waypost_proto.values import Approval


class Asked(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a question asks, kept in the state of a fork until it is asked for this run."""

    question: str
    expires_seconds: float
    answer_schema: Raw | UnsetType = UNSET


def run_forked(state: RunState, data: ev.RunForked, seq: int) -> None:
    """The copied part ends here."""
    state.fork = ForkState(
        source=data.source, seq=data.seq, tools=data.tools, identity=data.identity, changed=data.changed, began=True, heard=data.seq
    )
    state.started_at = state.recorded_at
    state.budget = data.budget
    state.deadline_at = data.deadline_at
    state.account = Account()
    state.build = state.worker = state.pause_reason = ""
    state.paused = state.asking = state.drained = False
    state.running = state.waiting = state.asks = state.recalls = state.answering = state.answered = state.level = 0
    state.approvals = state.held = state.model_calls = state.tool_calls = 0
    state.warned = ()
    state.recent = state.recent[-1:]
    state.step_wanted = None
    state.parent = None
    forget_trail(state)
    state.calls = {i: _anew(c, seq, data.deadlines.get(CallId(i))) for i, c in state.calls.items() if not c.abandoned}
    if data.tools == "live":
        _let_go(state)


def tools_changed(state: RunState, data: ev.ForkToolsChanged, _seq: int) -> None:
    """From here on calls are answered in another way; what waited for the source's answer is the fork's own call when it goes live."""
    assert state.fork is not None
    state.fork = msgspec.structs.replace(state.fork, tools=data.tools, identity=data.identity)
    if data.tools == "live":
        _let_go(state)


def heard(state: RunState, data: ev.SignalReceived | ev.InstructionAdded, _seq: int) -> None:
    """What the source heard is repeated in its order: this is how far that has come."""
    if data.recalled is not None and state.fork is not None:
        state.fork = msgspec.structs.replace(state.fork, heard=data.recalled.seq)


def timer_skipped(state: RunState) -> None:
    """One more timer that nobody waited for."""
    if state.fork is not None:
        state.fork = msgspec.structs.replace(state.fork, skipped=state.fork.skipped + 1)


def hold_back(state: RunState, call: Call, approval: Approval | None) -> None:
    """A tool call of a fork was requested."""
    call.approval = approval
    if state.taped:
        call.stage = "tape"


def keep_question(call: Call, data: ev.QuestionAsked) -> None:
    """Its text is needed again when the question is asked for this run."""
    seconds = call.gate.seconds if call.gate is not None else 0.0
    call.args = Raw(encode(Asked(question=data.question, expires_seconds=seconds, answer_schema=data.answer_schema)))
    call.args_digest = digest_of(data.question.encode())


def _anew(call: Call, seq: int, deadline: float | None) -> Call:
    """A call that was open at the fork point, as if it had just been asked for. Nothing is held for it."""
    again = msgspec.structs.replace(
        call,
        sent=seq,
        attempt=1,
        error=None,
        approval_id=None,
        approved=False,
        gate=None,
        terms="",
        tries=0,
        deferred=0,
        unfunded=False,
        lease=UNBOUND,
        back=NOTHING,
        told=NOTHING,
        wants=None,
        recall=0,
        asked=0,
        level=0,
    )
    if call.kind == "tool":
        again.due_at = None
    elif call.kind == "child":
        again.due_at = deadline
    if call.kind not in ("timer", "signal"):
        again.stage = "tape"
    return again


def _let_go(state: RunState) -> None:
    """What waits for the source's answer waits for budget now: `call_funded` sends it. Children are the fork's own."""
    for call_id, call in state.calls.items():
        if call.stage != "tape" or call.kind == "ask":
            continue
        if call.kind == "tool" and call.effect is None:
            call.stage = "held"
            state.held += 1
        else:
            call.stage = "sent"
        if call.kind == "child":
            call.child = child_run_id(state.run_id, CallId(call_id))
        call.unfunded = True
        state.waiting += 1
