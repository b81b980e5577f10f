"""The fold of a reasoning run: `fold(state, fact)` for each entry of its journal, in the order in which the run lived them.

The definition of the agent has no part in it beyond how much of a long text is kept: what the model chose, which of it was asked for and
which was refused are entries. So a build with other instructions, tools or models folds the same journal to the same conversation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import UNSET, Struct
from msgspec.structs import replace

from waypost.conversion import decode_value
from waypost.models.messages import AssistantMessage, ToolMessage, ToolUse, UserMessage
from waypost.reasoning.handing_over import opening_of
from waypost.reasoning.state import KINDS, UPDATE_PLAN, Answer, CannotFold, Chosen, Note, PlanStep, Reply, State, parse_id
from waypost.reasoning.texts import edited, outside, repeatable, shortened, text_of_failure, text_of_value
from waypost_proto import events as ev
from waypost_proto.errors import BadInput
from waypost_proto.ids import CallId
from waypost_proto.taint import merged

MAX_PLAN_STEPS = 50
_MAX_STEP_CHARS = 500
_IN_LOG = "all of it is in the run's log under {}"


class Keep(Struct, frozen=True, kw_only=True):
    """How much of a long text stays in the conversation, in characters."""

    result: int = 20_000
    opening: int = 200_000


def fold(state: State, data: ev.AnyData, value: bytes, seq: int, keep: Keep) -> None:
    """One fact. `value` is the JSON of its input, result, payload or answer; `seq` is read of outside events only.

    Raises `CannotFold` for what does not follow from the journal so far.
    """
    handler = _FOLD.get(type(data))
    if handler is not None:
        taint = getattr(data, "taint", ())
        if taint:
            state.taint = merged(state.taint, taint)
        handler(state, data, value, seq, keep)


# -- what people and the platform say


def _started(state: State, _: ev.RunStarted, value: bytes, seq: int, keep: Keep) -> None:
    state.started = True
    state.opening = shortened(opening_of(value), keep.opening, "all of it is the run's input")
    del seq


def _told(state: State, data: ev.InstructionAdded, _: bytes, seq: int, __: Keep) -> None:
    who = f" from {data.by}" if data.by else ""
    state.notes.append(Note(seq=seq, text=f"Instruction{who}: {data.text}"))


def _signalled(state: State, data: ev.SignalReceived, value: bytes, seq: int, keep: Keep) -> None:
    text = shortened(text_of_value(value), keep.result, "all of it is in the run's log")
    state.notes.append(Note(seq=seq, text=f"Signal {data.name!r}: {text}"))


def _ended(state: State, data: ev.RunCompleted | ev.RunFailed | ev.RunEnding, *_: Any) -> None:
    if data.seen > 0:  # else it was ended from outside
        state.ended = True


def _showed(state: State, data: ev.StateChanged, *_: Any) -> None:
    state.shown = bytes(data.value)


# -- model calls


def _step_completed(state: State, data: ev.StepCompleted, value: bytes, _: int, keep: Keep) -> None:
    number, part = _parsed(data.call_id, data.name)
    state.clock = max(state.clock, data.at)
    if part.isdigit():
        _settled_here(state, data, value)
        return
    if part or data.name not in KINDS or number != state.calls + 1:
        raise CannotFold(f"step {data.call_id} {data.name!r}", f"the model call m{state.calls + 1}")
    try:
        answer: Answer = decode_value("the answer of a model", Answer, value)
    except BadInput as error:
        raise CannotFold(f"step {data.call_id} {data.name!r} whose result is no answer ({error})", "a model's answer") from error
    state.calls = number
    state.failure, state.failures = None, 0
    if data.name == "think":
        _thought(state, answer, keep)
    elif data.name == "plan":
        state.plan = plan_of(answer.message.text)
    else:
        state.dialogue.cut(answer.through, answer.message.text.strip() or "(nothing was written down)")


def _thought(state: State, answer: Answer, keep: Keep) -> None:
    dialogue, message = state.dialogue, answer.message
    heard = [note for note in state.notes if note.seq <= answer.heard]
    state.notes = [note for note in state.notes if note.seq > answer.heard]
    for note in heard:
        dialogue.add(UserMessage(text=note.text))
    state.turns += 1
    state.reply = None
    uses = _with_own_ids(state.last_model_id, message.tool_uses)
    state.chosen = [Chosen(CallId(f"{state.last_model_id}.{number}"), use) for number, use in enumerate(uses, 1)]
    if message.tool_uses:
        state.repairs = 0
    else:
        state.reply = Reply(id=state.last_model_id, text=message.text, finish=answer.finish)
    shown = tuple(replace(use, arguments=repeatable(use.arguments)) for use in uses)
    text = shortened(message.text, keep.result, _IN_LOG.format(state.last_model_id))
    if text.strip() or shown or message.opaque is not None:
        dialogue.add(AssistantMessage(text=text, tool_uses=shown, opaque=message.opaque))
    dialogue.count(answer.usage.input_tokens + answer.usage.output_tokens if answer.usage.input_tokens else 0)


def _with_own_ids(model_id: CallId, uses: tuple[ToolUse, ...]) -> list[ToolUse]:
    """Providers should give each call an id of its own. Where one did not, it gets one."""
    known: set[str] = set()
    found: list[ToolUse] = []
    for number, use in enumerate(uses, 1):
        own = use if use.id and use.id not in known else replace(use, id=f"{model_id}_{number}")
        known.add(own.id)
        found.append(own)
    return found


def _step_failed(state: State, data: ev.StepFailed, _: bytes, __: int, ___: Keep) -> None:
    number, part = _parsed(data.call_id, data.name)
    state.clock = max(state.clock, data.at)
    if part.isdigit():
        _settle(state, _open(state, data.call_id), text_of_failure(data.error), None)
    elif part == "check" and number == state.calls and state.reply is not None:
        state.reply = None
        state.repairs += 1
        state.dialogue.add(UserMessage(text=data.error.message))
    elif not part and number == state.calls + 1:
        state.calls = number
        state.failure = data.error
        state.failures += 1
    else:
        raise CannotFold(f"failed step {data.call_id} {data.name!r}", f"the model call m{state.calls + 1}")


def _timer_started(state: State, data: ev.TimerStarted, *_: Any) -> None:
    if data.call_id != f"m{state.calls}.wait" or state.failure is None:
        raise CannotFold(f"timer {data.call_id}", "a wait after a model call that failed")
    state.waiting = True


def _timer_fired(state: State, data: ev.TimerFired, *_: Any) -> None:
    if data.call_id == f"m{state.calls}.wait":
        state.waiting, state.failure = False, None


def plan_of(text: str) -> tuple[PlanStep, ...]:
    """The lines of a plan that a model wrote, without their bullets and numbers."""
    lines = (line.strip().lstrip("-*•0123456789.)[] ").strip() for line in text.splitlines())
    return tuple(PlanStep(step=line[:_MAX_STEP_CHARS]) for line in lines if line)[:MAX_PLAN_STEPS]


# -- calls


def _asked_for(state: State, data: ev.ToolCallRequested | ev.ChildRequested | ev.QuestionAsked, *_: Any) -> None:
    call = state.find(data.call_id)
    if call is None or call.stage != "chosen":
        name = type(data).__struct_config__.tag
        raise CannotFold(f"{name} {data.call_id}", f"what the answer m{state.calls} chose")
    call.stage = "open"


def _tool_done(state: State, data: ev.ToolCallCompleted, value: bytes, _: int, keep: Keep) -> None:
    text = outside(_shown(data.call_id, value, keep), data.taint)
    _settle(state, _open(state, data.call_id), edited(text, data.edit), value)


def _child_done(state: State, data: ev.ChildCompleted, value: bytes, _: int, keep: Keep) -> None:
    _settle(state, _open(state, data.call_id), outside(_shown(data.call_id, value, keep), data.taint), value)


def _tool_failed(state: State, data: ev.ToolCallFailed, *_: Any) -> None:
    text = outside(text_of_failure(data.error), data.taint)
    _settle(state, _open(state, data.call_id), edited(text, data.edit), None)


def _child_failed(state: State, data: ev.ChildFailed, *_: Any) -> None:
    _settle(state, _open(state, data.call_id), f"{data.status.value}: {text_of_failure(data.error)}", None)


def _answered(state: State, data: ev.QuestionAnswered, value: bytes, _: int, keep: Keep) -> None:
    _settle(state, _open(state, data.call_id), f"{data.by} answers: {_shown(data.call_id, value, keep)}", value)


def _unanswered(state: State, data: ev.QuestionUnanswered, *_: Any) -> None:
    _settle(state, _open(state, data.call_id), text_of_failure(data.error), None)


def _settled_here(state: State, data: ev.StepCompleted, value: bytes) -> None:
    """A call that needed nobody else: the plan is another."""
    call = _open(state, data.call_id)
    if data.name != UPDATE_PLAN:
        raise CannotFold(f"step {data.call_id} {data.name!r}", "an update of the plan")
    try:
        state.plan = tuple(decode_value("a plan", list[PlanStep], value))
    except BadInput as error:
        raise CannotFold(f"step {data.call_id} {data.name!r} ({error})", "a plan") from error
    _settle(state, call, "The plan is noted.", value)


def _settle(state: State, call: Chosen, text: str, value: bytes | None) -> None:
    """A call has come back. When all have, the model is to read what came, in the order in which it chose them."""
    call.stage = "done"
    call.value = value
    call.message = ToolMessage(id=call.use.id, name=call.use.name, text=text, failed=value is None)
    if not state.busy:
        for done in state.chosen:
            assert done.message is not None
            state.dialogue.add(done.message)


def _open(state: State, call_id: CallId) -> Chosen:
    call = state.find(call_id)
    if call is None or call.stage == "done":
        raise CannotFold(f"a result of {call_id}", f"results of what the answer m{state.calls} chose")
    return call


def _parsed(call_id: CallId, name: str) -> tuple[int, str]:
    parsed = parse_id(call_id)
    if parsed is None:
        raise CannotFold(f"local step {call_id} {name!r}", "steps of a reasoning agent (m1, m1.1, …)")
    return parsed


def _shown(call_id: CallId, value: bytes, keep: Keep) -> str:
    return shortened(text_of_value(value), keep.result, _IN_LOG.format(call_id))


_FOLD: dict[type, Callable[[State, Any, bytes, int, Keep], None]] = {
    ev.RunStarted: _started,
    ev.InstructionAdded: _told,
    ev.SignalReceived: _signalled,
    ev.RunCompleted: _ended,
    ev.RunFailed: _ended,
    ev.RunEnding: _ended,
    ev.StateChanged: _showed,
    ev.StepCompleted: _step_completed,
    ev.StepFailed: _step_failed,
    ev.TimerStarted: _timer_started,
    ev.TimerFired: _timer_fired,
    ev.ToolCallRequested: _asked_for,
    ev.ChildRequested: _asked_for,
    ev.QuestionAsked: _asked_for,
    ev.ToolCallCompleted: _tool_done,
    ev.ToolCallFailed: _tool_failed,
    ev.ChildCompleted: _child_done,
    ev.ChildFailed: _child_failed,
    ev.QuestionAnswered: _answered,
    ev.QuestionUnanswered: _unanswered,
}


_VALUES: dict[type, str] = {
    ev.RunStarted: "input",
    ev.SignalReceived: "payload",
    ev.StepCompleted: "result",
    ev.ToolCallCompleted: "result",
    ev.ChildCompleted: "result",
    ev.QuestionAnswered: "answer",
}


def value_of(data: ev.AnyData, blobs: Mapping[str, bytes]) -> bytes:
    """The JSON value that a fact carries, inline or among `blobs`; `null` for one without."""
    name = _VALUES.get(type(data))
    if name is None:
        return b"null"
    value = getattr(data, name)
    if value is not UNSET:
        return bytes(value)
    ref = getattr(data, f"{name}_ref", UNSET)
    return b"null" if ref is UNSET else blobs[ref.sha256]


__all__ = ["MAX_PLAN_STEPS", "Keep", "fold", "plan_of", "value_of"]
