"""A fork that does not go live: its calls get the source's answers, in the source's order, or are refused.

    the worker has answered everything it was told
        ├─ an open call has a recorded answer, or the source heard a signal   the earliest of these is told, and only that one
        ├─ a call that the source never made, or was never answered          the run pauses and says which; `deny`: it is refused
        └─ only timers are left                                              the next one fires at once: a what-if does not sleep

One at a time, because then the agent's code is told the same things in the same order as the source's was: with the same code and input
it takes the same branches, to the end. What is told carries the source's time, so the run's clock goes on as the source's did. Model
calls that the source did not make are made: they cost money, which the budget bounds, and have no effect (ADR 0331).
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, Raw, UnsetType

from waypost_core.decision import Decision
from waypost_core.evolve import copy_of, evolve
from waypost_core.forked import Asked
from waypost_core.messages import Env
from waypost_core.state import Call, RunState
from waypost_core.tape import Print, Take, Tape
from waypost_core.tool_mail import approval_id
from waypost_proto import commands as cmd
from waypost_proto import events as ev
from waypost_proto.codec import decode
from waypost_proto.forks import ForkTools, Recalled
from waypost_proto.ids import CallId, RunId, digest_of
from waypost_proto.usage import Usage
from waypost_proto.values import Failure, RunStatus

MAX_SKIPPED_TIMERS = 1_000
"""A fork that only ever sleeps is not left to do so at full speed for ever."""
MAX_NAMED = 3
AT_ONCE = Recalled(seq=0, at=0.0)
"""Of what a fork is told and its source was not: no time passes by it."""
_SILENT = Tape()


def follow_up(state: RunState, decision: Decision, env: Env) -> None:
    """Add to a decision about a fork what it is told next. Changes only the decision."""
    if not decision.events:
        return
    after = copy_of(state)
    for data in decision.events:
        evolve(after, after.seq + 1, env.now, data)
    if after.plays and not after.paused and not after.terminal and after.ending is None and after.seen == after.outside:
        decision.events.extend(_next(after, env.tape or _SILENT))


def holds_step(state: RunState, item: cmd.RequestStep, tape: Tape | None) -> bool:
    """Whether a local step waits for the source's result. A model call that the source did not make is made."""
    if not item.model:
        return True
    asks: Print = ("step", item.name, item.asked)
    return tape is not None and _find(state, tape, item.id, asks, 0, set()) is not None


# -- resuming


def cannot_change(state: RunState, tools: ForkTools) -> str:
    """Why a resume cannot set how calls are answered, "" if it can."""
    fork = state.fork
    if fork is None or not fork.began:
        return f"run {state.run_id} is not a fork: its calls are always executed, leave `tools` out"
    if fork.tools == "live" and tools != "live":
        return f"fork {state.run_id} has gone live: what it called took effect, so it stays live; fork it again instead"
    if not state.paused:
        return f"fork {state.run_id} is not paused: pause it before its calls are answered in another way"
    return ""


def tools_changed(state: RunState, tools: ForkTools | None, by: str, env: Env) -> list[ev.Data]:
    """The events of a resume that changes how calls are answered."""
    fork = state.fork
    if fork is None or tools is None or tools == fork.tools:
        return []
    changed = ev.ForkToolsChanged(tools=tools, identity=state.run_id if tools == "live" else fork.identity, by=by)
    if tools == "live":
        return [changed, *asked_anew(state, env)]
    return [changed, *denied(state)] if tools == "deny" else [changed]


def asked_anew(state: RunState, env: Env) -> list[ev.Data]:
    """A fork goes live: people are asked what its open calls need of them."""
    events: list[ev.Data] = []
    for call_id, call in state.calls.items():
        if call.stage != "tape":
            continue
        if call.kind == "ask":
            events.append(_question(state, call_id, call, env))
        elif call.approval is not None:
            asked = call.approval
            events.append(
                ev.ApprovalRequested(
                    approval_id=approval_id(state, call_id),
                    call_id=call_id,
                    tool=call.name,
                    args_digest=call.args_digest,
                    role=asked.role,
                    expires_at=env.now + asked.expires_seconds,
                    reason=asked.reason,
                    quorum=asked.quorum,
                    escalate_to=asked.escalate_to,
                    escalate_seconds=asked.escalate_seconds,
                    terms=f"{asked.role}*{asked.quorum}",
                )
            )
    return events


def still_stuck(state: RunState, events: list[ev.Data], env: Env) -> str:
    """Why a resume with these events would pause again at once, "" if it would not."""
    after = copy_of(state)
    for data in events:
        evolve(after, after.seq + 1, env.now, data)
    if not after.plays or after.seen != after.outside:
        return ""
    paused = next((data for data in _next(after, env.tape or _SILENT) if isinstance(data, ev.RunPaused)), None)
    return "" if paused is None else f"fork {state.run_id} would pause again at once: {paused.reason}"


# -- refusing


def denied(state: RunState) -> list[ev.Data]:
    """The end of every open call of a fork that denies calls. Local steps have their turn."""
    events: list[ev.Data] = []
    for call_id, call in state.calls.items():
        if call.stage != "tape":
            continue
        if call.kind == "tool":
            events.append(tool_denied(call_id, call.name))
        elif call.kind == "child" and call.child is not None:
            events.append(child_denied(call_id, call.name, call.child))
        elif call.kind == "ask":
            events.append(question_denied(call_id, call.approval_id or approval_id(state, call_id)))
    return events


def tool_denied(call_id: CallId, tool: str) -> ev.ToolCallFailed:
    """What the code of a fork that denies calls gets for a tool call."""
    return ev.ToolCallFailed(call_id=call_id, tool=tool, attempt=0, error=_refusal(f"tool {tool} was not called"), recalled=AT_ONCE)


def child_denied(call_id: CallId, agent: str, child: RunId) -> ev.ChildFailed:
    """What it gets for a child run."""
    error = _refusal(f"agent {agent} was not started")
    return ev.ChildFailed(call_id=call_id, child_run_id=child, status=RunStatus.FAILED, error=error, usage=Usage(), recalled=AT_ONCE)


def question_denied(call_id: CallId, question_id: str) -> ev.QuestionUnanswered:
    """What it gets for a question."""
    return ev.QuestionUnanswered(call_id=call_id, question_id=question_id, error=_refusal("nobody was asked"), recalled=AT_ONCE)


def _refusal(what: str) -> Failure:
    return Failure(type="ToolDenied", message=f"{what}: this run is a fork that denies calls (--tools deny)")


# -- what comes next


def _next(state: RunState, tape: Tape) -> list[ev.Data]:
    matched = _matched(state, tape)
    assert state.fork is not None
    heard = tape.next_heard(state.fork.heard)
    answers = [(take.answer_seq, call_id) for call_id, take in matched.items() if take.answer is not None]
    first = min(answers, default=None)
    if heard is not None and (first is None or heard.seq < first[0]):
        return [msgspec.structs.replace(heard.data, recalled=Recalled(seq=heard.seq, at=heard.at))]
    if first is not None:
        return [_repeated(first[1], state.calls[first[1]], matched[first[1]])]
    open_ones = [(i, c) for i, c in state.calls.items() if c.stage == "tape" and not (i in matched and matched[i].given_up)]
    if open_ones:
        if not state.taped:
            return [*denied(state), *_steps_denied(open_ones)]
        return [ev.RunPaused(reason=_unknown(open_ones, tape, state))]
    return [] if state.running else _skip_timer(state)


def _matched(state: RunState, tape: Tape) -> dict[CallId, Take]:
    """Of each open call the source's, each of those once: first by id, then in order."""
    waiting = [(i, c) for i, c in state.calls.items() if c.stage == "tape" or c.kind == "timer"]
    waiting.sort(key=lambda pair: pair[1].seq)
    matched: dict[CallId, Take] = {}
    skip: set[int] = set()
    for by_id in (True, False):
        for call_id, call in waiting:
            if call_id in matched:
                continue
            take = _find(state, tape, call_id, _asks(call), call.seq, skip)
            if take is not None and (not by_id or take.call_id == call_id):
                matched[call_id] = take
                skip.add(take.seq)
    return matched


def _find(state: RunState, tape: Tape, call_id: CallId, asks: Print, seq: int, skip: set[int]) -> Take | None:
    fork = state.fork
    assert fork is not None
    return tape.find(call_id, asks, cut=fork.seq, same_call=0 < seq <= fork.seq, strict=fork.changed, skip=skip)


def _asks(call: Call) -> Print:
    if call.kind == "timer":
        return ("timer", "", "")
    if call.kind == "child":
        digest = call.args_ref.sha256 if call.args_ref is not None else digest_of(b"" if call.args is UNSET else bytes(call.args))
        return ("child", call.name, digest)
    return (call.kind, call.name, call.args_digest)


def _repeated(call_id: CallId, call: Call, take: Take) -> ev.Data:
    """The source's answer as the fork's own: nothing was used for it."""
    recalled = Recalled(seq=take.answer_seq, at=take.at)
    more: dict[str, Any] = {"call_id": call_id, "recalled": recalled}
    match take.answer:
        case ev.StepCompleted() as done:
            result, ref = done.result, done.result_ref
            return ev.StepRecalled(call_id=call_id, name=call.name, result=result, result_ref=ref, model=done.model, recalled=recalled)
        case ev.StepFailed() as failed:
            return ev.StepRecalled(call_id=call_id, name=call.name, error=failed.error, model=failed.model, recalled=recalled)
        case ev.ToolCallCompleted() | ev.ToolCallFailed() as answer:
            return msgspec.structs.replace(answer, **more, usage=None)
        case ev.ChildCompleted() | ev.ChildFailed() as answer:
            return msgspec.structs.replace(answer, **more, usage=Usage(), child_run_id=call.child or answer.child_run_id)
        case ev.QuestionAnswered() | ev.QuestionUnanswered() as answer:
            return msgspec.structs.replace(answer, **more, question_id=call.approval_id or answer.question_id)
        case ev.StepRecalled() | ev.TimerFired() as answer:
            return msgspec.structs.replace(answer, **more)
        case _:
            raise AssertionError(f"{take.answer!r} is no answer")


def _steps_denied(open_ones: list[tuple[CallId, Call]]) -> list[ev.Data]:
    return [
        ev.StepRecalled(call_id=i, name=c.name, error=_refusal(f"local step {c.name} was not run"), recalled=AT_ONCE)
        for i, c in open_ones
        if c.kind == "step"
    ]


def _skip_timer(state: RunState) -> list[ev.Data]:
    timers = [(call.due_at or 0.0, call_id) for call_id, call in state.calls.items() if call.kind == "timer"]
    if not timers:
        return []
    assert state.fork is not None
    if state.fork.skipped >= MAX_SKIPPED_TIMERS:
        return [
            ev.RunPaused(reason=f"the fork has slept {state.fork.skipped} times that its source did not: it may never do anything else")
        ]
    due_at, call_id = min(timers)
    return [ev.TimerFired(call_id=call_id, recalled=Recalled(seq=0, at=due_at))]


def _unknown(open_ones: list[tuple[CallId, Call]], tape: Tape, state: RunState) -> str:
    """Which calls the source has no answer to, and what can be done."""
    named = "; ".join(_words(call_id, call) for call_id, call in open_ones[:MAX_NAMED])
    more = f"; and {len(open_ones) - MAX_NAMED} more" if len(open_ones) > MAX_NAMED else ""
    assert state.fork is not None
    gone = "" if tape.takes else " (its log is gone)"
    return (
        f"run {state.fork.source}{gone} has no answer to {named}{more}: resume with --tools live to execute such calls, with --tools deny "
        "to refuse them, or give a tool's result with `waypost runs resolve RUN CALL completed --result RESULT`"
    )


def _words(call_id: CallId, call: Call) -> str:
    if call.kind == "ask":
        return f"a question to {call.name} (call {call_id})"
    kind = {"tool": "tool", "child": "agent", "step": "local step"}.get(call.kind, call.kind)
    args = "" if call.kind != "tool" or call.args is UNSET else f"({bytes(call.args)[:80].decode('utf-8', 'replace')})"
    return f"{kind} {call.name}{args} (call {call_id})"


def _question(state: RunState, call_id: CallId, call: Call, env: Env) -> ev.QuestionAsked:
    asked = decode(Asked, call.args) if isinstance(call.args, Raw) else Asked(question="", expires_seconds=3600.0)
    schema: Raw | UnsetType = asked.answer_schema
    return ev.QuestionAsked(
        call_id=call_id,
        question_id=approval_id(state, call_id),
        role=call.name,
        question=asked.question,
        expires_at=env.now + asked.expires_seconds,
        answer_schema=schema,
    )
