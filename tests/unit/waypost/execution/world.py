"""A coordinator, tools, people and a clock in thirty lines each: enough to live a run, and to replay it at any point.

`World` decides by a seeded random generator what happens next, keeps the log as the coordinator would, and remembers every
step of the live run (what was fed, which items came back), so that a replay can be compared item by item.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

from msgspec import Raw

from waypost import Agent
from waypost.execution import EffectResult, Execution, LocalEffect
from waypost_proto import commands as cmd
from waypost_proto import events as ev
from waypost_proto.codec import encode
from waypost_proto.ids import RunId, child_run_id, digest_of
from waypost_proto.values import Failure, RunStatus
from waypost_proto.work import Entry

RUN = RunId("0192f0c1-7a3e-7c21-8f00-3b1d6a9c4e55")
START = 1_000.0


def entry(seq: int, data: ev.AnyData, at: float) -> Entry:
    """A journal entry as the coordinator makes it."""
    tag: Any = data.__struct_config__.tag
    return Entry(seq=seq, type=tag, at=at, data=Raw(encode(data)))


def started(value: bytes, seq: int = 1, at: float = START) -> Entry:
    return entry(seq, ev.RunStarted(input=Raw(value)), at)


def tool_done(seq: int, call_id: str, value: bytes, at: float = START) -> Entry:
    return entry(seq, ev.ToolCallCompleted(call_id=call_id, tool="any", attempt=1, result=Raw(value)), at)


def tool_failed(seq: int, call_id: str, kind: str, at: float = START) -> Entry:
    return entry(seq, ev.ToolCallFailed(call_id=call_id, tool="any", attempt=1, error=Failure(type=kind, message="no")), at)


def event_of(item: cmd.AnyItem) -> ev.AnyData:
    """The event that the coordinator writes for an item."""
    return _EVENTS[type(item)](item)


_EVENTS: dict[type, Any] = {
    cmd.CallTool: lambda i: ev.ToolCallRequested(
        seen=i.seen, call_id=i.id, tool=i.tool, args=i.args, args_digest=digest_of(bytes(i.args)), idempotency_key=i.id
    ),
    cmd.StartChild: lambda i: ev.ChildRequested(
        seen=i.seen, call_id=i.id, child_agent=i.agent, child_run_id=child_run_id(RUN, i.id), input=i.input
    ),
    cmd.StartTimer: lambda i: ev.TimerStarted(seen=i.seen, call_id=i.id, fire_at=i.fire_at),
    cmd.AwaitSignal: lambda i: ev.SignalAwaited(seen=i.seen, call_id=i.id, name=i.name),
    cmd.AskQuestion: lambda i: ev.QuestionAsked(
        seen=i.seen, call_id=i.id, question_id=i.id, role=i.role, question=i.question, expires_at=START + i.expires_seconds
    ),
    cmd.RequestStep: lambda i: ev.StepRequested(seen=i.seen, call_id=i.id, name=i.name),
    cmd.SetState: lambda i: ev.StateChanged(seen=i.seen, value=i.value),
    cmd.FinishStep: lambda i: (
        ev.StepCompleted(seen=i.seen, call_id=i.id, name=i.name, at=i.at, result=i.result, model=i.model)
        if i.error is None
        else ev.StepFailed(seen=i.seen, call_id=i.id, name=i.name, at=i.at, error=i.error)
    ),
    cmd.CompleteRun: lambda i: ev.RunCompleted(seen=i.seen, result=i.result),
    cmd.FailRun: lambda i: ev.RunFailed(seen=i.seen, error=i.error),
}


class Recorder:
    """The coordinator's side of the items: one event per item, in a log without gaps."""

    def __init__(self) -> None:
        self.log: list[Entry] = []
        self.open: dict[str, cmd.AnyItem] = {}
        self.issued: set[str] = set()
        self.finished: set[str] = set()
        self.waits: dict[str, str] = {}
        self.unread: list[str] = []
        self.seen = 0
        self.clock = START

    def append(self, data: ev.AnyData) -> Entry:
        made = entry(len(self.log) + 1, data, self.clock)
        self.log.append(made)
        return made

    def receive(self, name: str, payload: Raw) -> Entry:
        """A signal: the oldest open wait for its name is over."""
        for call_id, wanted in self.waits.items():
            if wanted == name:
                del self.waits[call_id]
                break
        else:
            self.unread.append(name)
        return self.append(ev.SignalReceived(name=name, payload=payload))

    def accept(self, items: list[cmd.AnyItem], seen: int) -> None:
        """Record an advance."""
        for item in items:
            assert self.seen <= item.seen <= seen
            self._record(item)
        self.seen = seen

    def _record(self, item: cmd.AnyItem) -> None:
        match item:
            case cmd.CancelCall():
                self._cancel(item)
                return
            case cmd.AwaitSignal() if item.name in self.unread:
                self.unread.remove(item.name)
            case cmd.AwaitSignal():
                self.waits[item.id] = item.name
            case cmd.CallTool() | cmd.StartChild() | cmd.StartTimer() | cmd.RequestStep() | cmd.AskQuestion():
                assert item.id not in self.issued, "the same command twice"
                self.issued.add(item.id)
                self.open[item.id] = item
            case cmd.FinishStep():
                assert item.id not in self.finished, "the same step recorded twice"
                self.finished.add(item.id)
                self.open.pop(item.id, None)
        self.append(event_of(item))

    def _cancel(self, item: cmd.CancelCall) -> None:
        if self.waits.pop(item.target, None) is not None:
            self.append(ev.SignalWaitCancelled(seen=item.seen, call_id=item.target))
        match self.open.pop(item.target, None):
            case cmd.CallTool() as call:
                self.append(ev.ToolCallCancelled(seen=item.seen, call_id=item.target, tool=call.tool))
            case cmd.StartChild():
                child = child_run_id(RUN, item.target)
                self.append(ev.ChildCancelRequested(seen=item.seen, call_id=item.target, child_run_id=child))
            case cmd.StartTimer():
                self.append(ev.TimerCancelled(seen=item.seen, call_id=item.target))
            case cmd.RequestStep() as step:
                self.append(ev.ToolCallCancelled(seen=item.seen, call_id=item.target, tool=step.name))


@dataclass
class Step:
    """One thing that happened to the live run. `journal` is how long the log was after it, with what it caused."""

    fed: Entry | EffectResult | None
    items: list[bytes]
    log_before: int
    log_after: int
    seen: int


@dataclass
class Life:
    """A whole live run."""

    log: list[Entry]
    steps: list[Step]
    finished: bool
    effects: list[str] = field(default_factory=list)


class World:
    """Lives one run of `agent`."""

    def __init__(self, agent: Agent[..., Any], seed: int, *, agent_input: bytes = b"null", signals: int = 6) -> None:
        self.random = random.Random(seed)
        self.recorder = Recorder()
        self.effects: dict[str, LocalEffect] = {}
        self.started: list[str] = []
        self.agent = agent
        self.execution = Execution(agent, RUN, start_effect=self._start)
        self.signals = signals
        self.steps: list[Step] = []
        self.input = agent_input

    def _start(self, effect: LocalEffect) -> None:
        self.effects[effect.call_id] = effect
        self.started.append(effect.call_id)

    def live(self, limit: int = 150) -> Life:
        """Everything that happens until the run ends, waits for nothing, or `limit` is reached."""
        self._feed(self.recorder.append(ev.RunStarted(input=Raw(self.input))))
        for _ in range(limit):
            if self.execution.finished:
                break
            happening = self._choose()
            if happening is None:
                break
            happening()
        finished = self.execution.finished
        self.execution.close()
        return Life(self.recorder.log, self.steps, finished, self.started)

    def _choose(self) -> Any:
        recorder = self.recorder
        choices: list[Any] = [lambda e=e: self._finish(e) for e in self.effects.values()]
        choices += [lambda i=i: self._answer(i) for i in recorder.open.values() if isinstance(i, cmd.CallTool | cmd.StartChild)]
        timers = [i for i in recorder.open.values() if isinstance(i, cmd.StartTimer)]
        if timers:
            first = min(timers, key=lambda t: (t.fire_at, t.id))
            choices.append(lambda: self._fire(first))
        if self.signals > 0:
            choices.append(self._signal)
        return self.random.choice(choices) if choices else None

    def _tick(self) -> None:
        self.recorder.clock += self.random.choice([0.0, 0.1, 1.0])

    def _answer(self, item: cmd.CallTool | cmd.StartChild) -> None:
        self._tick()
        del self.recorder.open[item.id]
        good = self.random.random() < 0.8
        value, failure = Raw(encode(f"{item.id}!")), Failure(type="Broken", message=item.id)
        data: ev.AnyData
        if isinstance(item, cmd.CallTool):
            data = ev.ToolCallCompleted(call_id=item.id, tool=item.tool, attempt=1, result=value)
            if not good:
                data = ev.ToolCallFailed(call_id=item.id, tool=item.tool, attempt=1, error=failure)
        else:
            child = child_run_id(RUN, item.id)
            data = ev.ChildCompleted(call_id=item.id, child_run_id=child, result=value)
            if not good:
                data = ev.ChildFailed(call_id=item.id, child_run_id=child, status=RunStatus.FAILED, error=failure)
        self._feed(self.recorder.append(data))

    def _fire(self, timer: cmd.StartTimer) -> None:
        del self.recorder.open[timer.id]
        self.recorder.clock = max(self.recorder.clock, timer.fire_at)
        self._feed(self.recorder.append(ev.TimerFired(call_id=timer.id)))

    def _signal(self) -> None:
        self._tick()
        self.signals -= 1
        name = f"s{self.random.randrange(3)}"
        self._feed(self.recorder.receive(name, Raw(encode(self.signals))))

    def _finish(self, effect: LocalEffect) -> None:
        del self.effects[effect.call_id]
        at = self.recorder.clock + self.random.choice([-5.0, 0.0, 0.3])
        error = Failure(type="Broken", message=effect.call_id) if self.random.random() < 0.2 else None
        result = EffectResult(call_id=effect.call_id, at=at, result=encode(f"{effect.call_id}?"), error=error)
        before = len(self.recorder.log)
        self.execution.finish_effect(result)
        self._take(result, before)

    def _feed(self, made: Entry) -> None:
        before = len(self.recorder.log)
        self.execution.feed([made])
        self._take(made, before)

    def _take(self, fed: Entry | EffectResult, before: int) -> None:
        items = self.execution.take_items()
        assert not self.execution.diverged, items
        self.recorder.accept(items, self.execution.seen)
        self.steps.append(Step(fed, [encode(i) for i in items], before, len(self.recorder.log), self.execution.seen))


class CrashyWorld(World):
    """The same, but the worker dies now and then: what it had not sent is lost, its effects run again, its allowance is another."""

    def __init__(self, agent: Agent[..., Any], seed: int) -> None:
        super().__init__(agent, seed)
        self.crashes = 0

    def _choose(self) -> Any:
        if any(isinstance(item, cmd.RequestStep) for item in self.recorder.open.values()) and self.random.random() < 0.5:
            return lambda: self.execution.grant(self.random.randrange(2))
        return super()._choose() if self.random.random() < 0.85 else self._crash

    def _take(self, fed: Entry | EffectResult, before: int) -> None:
        if self.random.random() < 0.15:
            self._crash()
        else:
            super()._take(fed, before)

    def _crash(self) -> None:
        """Before the items are taken, between two of them, or after all."""
        self.crashes += 1
        items = self.execution.take_items()
        if items:
            # seldom only the beginning of an advance: then the journal has its items, and has seen what they have seen
            kept = items[: self.random.randrange(len(items) + 1)]
            self.recorder.accept(kept, max([self.recorder.seen, *(item.seen for item in kept)]))
        self.execution.close()
        self.effects.clear()
        self.execution = Execution(self.agent, RUN, start_effect=self._start, steps_left=self.random.choice([None, 0, 1, 3]))
        self.execution.replay(self.recorder.log, seen=self.recorder.seen)
        again = self.execution.take_items()
        assert not self.execution.diverged, again
        self.recorder.accept(again, self.execution.seen)
