"""Two runs side by side: their calls aligned, what differs in arguments, results, cost and time, and where they part. Pure.

Calls are paired by id where both ask for the same kind and name; what is left is aligned in order, so that an inserted call moves nothing
else. Ids of runs, keys and times are not compared: they always differ.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from difflib import SequenceMatcher
from typing import Any, Literal

import msgspec
from msgspec import UNSET, Raw, UnsetType

from waypost_proto import events as ev
from waypost_proto.codec import decode_union
from waypost_proto.errors import BadInput
from waypost_proto.events import TERMINAL_TYPES, Event
from waypost_proto.ids import CallId
from waypost_proto.task import parse_time
from waypost_proto.values import BlobRef, Failure, Value

Kind = Literal["tool", "child", "model", "step", "timer", "signal", "question"]
Verdict = Literal["same", "different", "only_left", "only_right"]
MAX_VALUE_BYTES = 4_096
"""Arguments and results are shown up to here; they are compared whole."""
MAX_STEPS = 2_000
"""Steps of each run that are shown."""


class StepOf(Value, frozen=True, kw_only=True):
    """One step of one run. `asked` and `answer` are JSON as text, cut; `state` is `open`, `completed`, `failed` or `cancelled`."""

    seq: int
    call_id: str
    kind: Kind
    name: str
    asked: str = ""
    answer: str = ""
    state: str = "open"
    seconds: float = 0.0
    """From asking to the answer, on the run's own clock."""
    cost_usd: float = 0.0
    tokens: int = 0
    recalled: int = 0
    """In a fork: the source's event that it was answered with."""


class Pair(Value, frozen=True, kw_only=True):
    """A step of either run, or of both. `differs` names what is not the same: `asked`, `answer`, `state`, `name`."""

    verdict: Verdict
    left: StepOf | None = None
    right: StepOf | None = None
    differs: list[str] = []


class RunOf(Value, frozen=True, kw_only=True):
    """A run as a whole."""

    run_id: str
    agent: str
    status: str
    input: str = ""
    result: str = ""
    error: str = ""
    steps: int = 0
    model_calls: int = 0
    tool_calls: int = 0
    tokens: int = 0
    cost_usd: float = 0.0
    seconds: float = 0.0
    forked_from: str = ""
    forked_at: int = 0


class Comparison(Value, frozen=True, kw_only=True):
    """Two runs. `first_difference` is the index of the first pair that is not the same, None if there is none.

    `differs` names what differs of the runs as wholes: `agent`, `input`, `status`, `result`, `error`.
    """

    left: RunOf
    right: RunOf
    pairs: list[Pair] = []
    first_difference: int | None = None
    differs: list[str] = []
    cut: bool = False
    """There were more steps than are shown."""


def compare(left: Sequence[Event], right: Sequence[Event]) -> Comparison:
    """Compare two logs, each from its first event. Raises `BadInput` for a log without events, `BadMessage` for one that cannot be read."""
    a, b = _Log(left), _Log(right)
    pairs = _paired(list(a.steps.values()), list(b.steps.values()))
    first = next((i for i, pair in enumerate(pairs) if pair.verdict != "same"), None)
    whole = [name for name in ("agent", "input", "status", "result", "error") if a.whole.get(name, "") != b.whole.get(name, "")]
    return Comparison(
        left=a.summary(), right=b.summary(), pairs=pairs[:MAX_STEPS], first_difference=first, differs=whole, cut=len(pairs) > MAX_STEPS
    )


# -- one log


class _Open(msgspec.Struct):
    """A step while its log is read; values whole."""

    seq: int
    call_id: str
    kind: Kind
    name: str
    asked: str = ""
    answer: str = ""
    state: str = "open"
    began: float = 0.0
    seconds: float = 0.0
    cost_usd: float = 0.0
    tokens: int = 0
    recalled: int = 0

    def shown(self) -> StepOf:
        return StepOf(
            seq=self.seq,
            call_id=self.call_id,
            kind=self.kind,
            name=self.name,
            asked=_cut(self.asked),
            answer=_cut(self.answer),
            state=self.state,
            seconds=round(self.seconds, 6),
            cost_usd=self.cost_usd,
            tokens=self.tokens,
            recalled=self.recalled,
        )


class _Log:
    """The steps of one log, in the order in which they were asked for."""

    def __init__(self, events: Sequence[Event]) -> None:
        if not events:
            raise BadInput("a run without events cannot be compared")
        self.steps: dict[str, _Open] = {}
        self.whole: dict[str, str] = {"agent": events[0].agent, "status": "open"}
        self.first, self.last = events[0], events[-1]
        self.origin: tuple[str, int] = ("", 0)
        self._waits: dict[str, list[str]] = {}
        for event in events:
            data: ev.AnyData = decode_union(ev.AnyData, event.data)
            recalled = getattr(data, "recalled", None)
            at = parse_time(event.recorded_at) if recalled is None else recalled.at
            reader = _READ.get(type(data))
            if reader is not None:
                reader(self, event.seq, at, data)
            if event.type in TERMINAL_TYPES:
                self.whole["status"] = event.type.removeprefix("run_")

    def open(self, seq: int, at: float, call_id: CallId | str, kind: Kind, name: str, asked: str) -> _Open:
        step = self.steps.get(call_id)
        if step is None:
            step = self.steps[call_id] = _Open(seq=seq, call_id=call_id, kind=kind, name=name, asked=asked, began=at)
        return step

    def close(self, at: float, data: Any, answer: str, state: str) -> None:
        step = self.steps.get(data.call_id)
        if step is None or step.state != "open":
            return
        step.answer, step.state = answer, state
        step.seconds = max(0.0, at - step.began)
        usage, recalled = getattr(data, "usage", None), getattr(data, "recalled", None)
        if usage is not None:
            step.tokens, step.cost_usd = usage.tokens, usage.cost_micros / 1_000_000
        step.recalled = 0 if recalled is None else recalled.seq

    def wait(self, seq: int, at: float, call_id: CallId, name: str) -> None:
        self.open(seq, at, call_id, "signal", name, "")
        self._waits.setdefault(name, []).append(call_id)

    def heard(self, at: float, data: ev.SignalReceived, payload: str) -> None:
        waits = self._waits.get(data.name)
        if waits:
            step = self.steps[waits.pop(0)]
            step.answer, step.state, step.seconds = payload, "completed", max(0.0, at - step.began)
            step.recalled = 0 if data.recalled is None else data.recalled.seq

    def summary(self) -> RunOf:
        steps = self.steps.values()
        return RunOf(
            run_id=self.first.run_id,
            agent=self.first.agent,
            status=self.whole["status"],
            input=_cut(self.whole.get("input", "")),
            result=_cut(self.whole.get("result", "")),
            error=_cut(self.whole.get("error", "")),
            steps=sum(1 for s in steps if s.kind in ("tool", "child", "model", "step")),
            model_calls=sum(1 for s in steps if s.kind == "model"),
            tool_calls=sum(1 for s in steps if s.kind == "tool"),
            tokens=sum(s.tokens for s in steps),
            cost_usd=round(sum(s.cost_usd for s in steps), 6),
            seconds=round(max(0.0, parse_time(self.last.recorded_at) - parse_time(self.first.recorded_at)), 6),
            forked_from=self.origin[0],
            forked_at=self.origin[1],
        )


def _started(log: _Log, _seq: int, _at: float, data: ev.RunStarted) -> None:
    log.whole["input"] = _text(data.input, data.input_ref)
    if data.fork is not None:
        log.origin = (data.fork.run_id, data.fork.seq)


def _step_done(log: _Log, seq: int, at: float, data: ev.StepCompleted | ev.StepFailed | ev.StepRecalled) -> None:
    step = log.open(seq, at, data.call_id, "model" if data.model is not None else "step", data.name, "")
    if data.model is not None:
        step.kind, step.asked = "model", data.model.request_digest
        step.tokens = data.model.input_tokens + data.model.output_tokens
        step.cost_usd = (data.model.cost_micros or 0) / 1_000_000
    elif not isinstance(data, ev.StepRecalled) and data.asked:
        step.asked = data.asked
    error = data.error if not isinstance(data, ev.StepCompleted) else None
    tokens, cost = step.tokens, step.cost_usd
    answer = _failure(error) if error is not None else _text(data.result, data.result_ref)  # type: ignore[union-attr]
    log.close(at, data, answer, "completed" if error is None else "failed")
    step.tokens, step.cost_usd = step.tokens or tokens, step.cost_usd or cost
    if not isinstance(data, ev.StepRecalled):
        step.seconds = max(step.seconds, data.duration_seconds)


def _closed(state: str) -> Callable[[_Log, int, float, Any], None]:
    def close(log: _Log, _seq: int, at: float, data: Any) -> None:
        error = getattr(data, "error", None)
        value = getattr(data, "result", getattr(data, "answer", UNSET))
        log.close(at, data, _failure(error) if error is not None else _text(value, getattr(data, "result_ref", UNSET)), state)

    return close


def _opened(kind: Kind) -> Callable[[_Log, int, float, Any], None]:
    def opened(log: _Log, seq: int, at: float, data: Any) -> None:
        match data:
            case ev.ToolCallRequested():
                log.open(seq, at, data.call_id, kind, data.tool, _text(data.args, data.args_ref))
            case ev.ChildRequested():
                log.open(seq, at, data.call_id, kind, data.child_agent, _text(data.input, data.input_ref))
            case ev.QuestionAsked():
                log.open(seq, at, data.call_id, kind, data.role, data.question)
            case ev.StepRequested():
                log.open(seq, at, data.call_id, kind, data.name, data.asked)
            case ev.TimerStarted():
                log.open(seq, at, data.call_id, kind, "", "")

    return opened


def _ended(log: _Log, _seq: int, _at: float, data: ev.RunCompleted | ev.RunFailed | ev.RunCancelled) -> None:
    match data:
        case ev.RunCompleted():
            log.whole["result"] = _text(data.result, data.result_ref)
        case ev.RunFailed():
            log.whole["error"] = _failure(data.error)
        case ev.RunCancelled():
            log.whole["error"] = data.reason


_READ: dict[type, Callable[[_Log, int, float, Any], None]] = {
    ev.RunStarted: _started,
    ev.ToolCallRequested: _opened("tool"),
    ev.ChildRequested: _opened("child"),
    ev.QuestionAsked: _opened("question"),
    ev.StepRequested: _opened("step"),
    ev.TimerStarted: _opened("timer"),
    ev.SignalAwaited: lambda log, seq, at, d: log.wait(seq, at, d.call_id, d.name),
    ev.SignalReceived: lambda log, _seq, at, d: log.heard(at, d, _text(d.payload, d.payload_ref)),
    ev.StepCompleted: _step_done,
    ev.StepFailed: _step_done,
    ev.StepRecalled: _step_done,
    ev.ToolCallCompleted: _closed("completed"),
    ev.ChildCompleted: _closed("completed"),
    ev.QuestionAnswered: _closed("completed"),
    ev.TimerFired: _closed("completed"),
    ev.ToolCallFailed: _closed("failed"),
    ev.ChildFailed: _closed("failed"),
    ev.QuestionUnanswered: _closed("failed"),
    ev.ToolCallCancelled: _closed("cancelled"),
    ev.TimerCancelled: _closed("cancelled"),
    ev.SignalWaitCancelled: _closed("cancelled"),
    ev.QuestionWithdrawn: _closed("cancelled"),
    ev.RunCompleted: _ended,
    ev.RunFailed: _ended,
    ev.RunCancelled: _ended,
}


# -- side by side


def _paired(left: list[_Open], right: list[_Open]) -> list[Pair]:
    """In the order of both: what only one of them has stands where it happened."""
    keys_left = [(s.call_id, s.kind, s.name) for s in left]
    keys_right = [(s.call_id, s.kind, s.name) for s in right]
    if not set(keys_left) & set(keys_right):  # ids say nothing (graphs): what is asked does
        keys_left = [("", s.kind, s.name) for s in left]
        keys_right = [("", s.kind, s.name) for s in right]
    pairs: list[Pair] = []
    for op, i, j, k, m in SequenceMatcher(None, keys_left, keys_right, autojunk=False).get_opcodes():
        if op == "equal":
            pairs.extend(_pair(a, b) for a, b in zip(left[i:j], right[k:m], strict=True))
            continue
        pairs.extend(Pair(verdict="only_left", left=step.shown()) for step in left[i:j])
        pairs.extend(Pair(verdict="only_right", right=step.shown()) for step in right[k:m])
    return pairs


def _pair(left: _Open, right: _Open) -> Pair:
    differs = [name for name in ("asked", "answer", "state") if getattr(left, name) != getattr(right, name)]
    return Pair(verdict="different" if differs else "same", left=left.shown(), right=right.shown(), differs=differs)


def _text(value: Raw | UnsetType, ref: BlobRef | UnsetType) -> str:
    if isinstance(ref, BlobRef):
        return f"payload {ref.sha256} ({ref.size} bytes)"
    return "" if value is UNSET else bytes(value).decode("utf-8", "replace")


def _failure(error: Failure) -> str:
    return f"{error.type}: {error.message}"


def _cut(text: str) -> str:
    return text if len(text) <= MAX_VALUE_BYTES else f"{text[:MAX_VALUE_BYTES]}…"


__all__ = ["Comparison", "Pair", "RunOf", "StepOf", "compare"]
