"""What a program asks for when it is given a journal's outside events and local results, lived once and without replay.

It shares nothing with `waypost.execution.recording`, so that the two can be held against each other: after a storm the log must hold just
what an undisturbed life with the same events asks for, and code that was changed must diverge exactly if it asks for something else.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count

import msgspec
from msgspec import UNSET

from tests.programs.hosts import Answer, Close, Feed, Finish, Here, Host, Open, Replay
from tests.programs.runs import Run
from waypost.execution import EffectResult
from waypost_proto import commands as cmd
from waypost_proto import events as ev
from waypost_proto.codec import decode_union
from waypost_proto.ids import RunId, digest_of
from waypost_proto.work import Entry

_ITEM = msgspec.json.Decoder(cmd.AnyItem)
_numbers = count(1_000_000)


@dataclass
class Asked:
    """Everything that a life asked for. `commands`: id → (kind, name, digest of the arguments)."""

    commands: dict[str, tuple[str, str, str]] = field(default_factory=dict)
    seen: dict[str, int] = field(default_factory=dict)
    cancelled: dict[str, int] = field(default_factory=dict)
    """id → what had been seen when it was given up."""
    steps: list[str] = field(default_factory=list)
    """Local steps in the order in which their results were taken."""
    refused: list[str] = field(default_factory=list)
    """Local results that nobody waited for at their place."""
    shown: bytes = b""
    ending: tuple[str, bytes] | None = None
    wanted: dict[str, str] = field(default_factory=dict)
    """Local steps that were started, with their names."""

    def note(self, item: cmd.AnyItem) -> None:
        match item:
            case cmd.CallTool():
                self._command(item.id, item.seen, "call", item.tool, digest_of(bytes(item.args or b"")))
            case cmd.StartChild():
                self._command(item.id, item.seen, "child", item.agent, digest_of(bytes(item.input or b"")))
            case cmd.StartTimer():
                self._command(item.id, item.seen, "timer", "", "")
            case cmd.AwaitSignal():
                self._command(item.id, item.seen, "signal", item.name, "")
            case cmd.CancelCall():
                self.cancelled[item.target] = item.seen
            case cmd.FinishStep():
                self.steps.append(item.id)
            case cmd.SetState():
                self.shown = bytes(item.value)
            case cmd.CompleteRun():
                self.ending = ("completed", b"" if item.result is UNSET else bytes(item.result))
            case cmd.FailRun():
                self.ending = ("failed", item.error.type.encode())

    def _command(self, call_id: str, seen: int, kind: str, name: str, digest: str) -> None:
        assert call_id not in self.commands, f"{call_id} was asked for twice in one life"
        self.commands[call_id] = (kind, name, digest)
        self.seen[call_id] = seen


def live_again(source: str, agent: str, run_id: RunId, journal: Sequence[Entry], seen: int, host: Host | None = None) -> Asked:
    """Live `agent` on the journal's outside events up to `seen` and all its local results, each at its place."""
    host, number, asked = host or Here(), next(_numbers), Asked()
    host.ask(number, Open(source, agent, run_id, None))

    def take(answer: Answer) -> None:
        for item in answer.items:
            asked.note(_ITEM.decode(item))
        asked.wanted.update(answer.effects)

    outside = [entry for entry in journal if entry.type in ev.OUTSIDE and entry.seq <= seen]
    locals_ = [decode_union(ev.AnyData, entry.data) for entry in journal if entry.type in ("step_completed", "step_failed")]
    for entry in [*outside, None]:
        while locals_ and (entry is None or locals_[0].seen < entry.seq):
            data = locals_.pop(0)
            before = len(asked.steps)
            take(host.ask(number, Finish(_ended(data))))
            if len(asked.steps) == before:
                asked.refused.append(data.call_id)
        if entry is not None:
            take(host.ask(number, Feed([entry])))
    host.ask(number, Close())
    return asked


def _ended(data: ev.StepCompleted | ev.StepFailed) -> EffectResult:
    if isinstance(data, ev.StepFailed):
        return EffectResult(call_id=data.call_id, at=data.at, error=data.error)
    return EffectResult(call_id=data.call_id, at=data.at, result=b"" if data.result is UNSET else bytes(data.result))


@dataclass
class Recorded:
    """The same as a log has it."""

    commands: dict[str, tuple[str, str, str]] = field(default_factory=dict)
    cancelled: dict[str, int] = field(default_factory=dict)
    steps: list[str] = field(default_factory=list)
    step_names: dict[str, str] = field(default_factory=dict)
    dropped: set[str] = field(default_factory=set)
    """Tool calls that surely had no effect: given up by the code, or by the run's end."""
    end_seen: int = 0
    """What the code had seen when it ended; 0 if it has not."""

    @staticmethod
    def of(journal: Sequence[Entry]) -> Recorded:
        recorded = Recorded()
        for entry in journal:
            recorded._note(decode_union(ev.AnyData, entry.data))
        return recorded

    def given_up(self) -> set[str]:
        """What the code gave up, as far as the log can tell: the end of a run gives up what was asked for in its last breath, too.

        A local step is given up silently unless it had asked for allowance, which an undisturbed life does not.
        """
        by_the_end = {call_id for call_id in self.dropped if 0 < self.end_seen <= self.cancelled[call_id]}
        return set(self.cancelled) - set(self.step_names) - by_the_end

    def _note(self, data: ev.AnyData) -> None:
        match data:
            case ev.ToolCallRequested():
                self.commands[data.call_id] = ("call", data.tool, data.args_digest)
            case ev.ChildRequested():
                self.commands[data.call_id] = ("child", data.child_agent, digest_of(bytes(data.input or b"")))
            case ev.TimerStarted():
                self.commands[data.call_id] = ("timer", "", "")
            case ev.SignalAwaited():
                self.commands[data.call_id] = ("signal", data.name, "")
            case ev.StepCompleted() | ev.StepFailed():
                self.steps.append(data.call_id)
                self.step_names[data.call_id] = data.name
            case ev.StepRequested():
                self.step_names[data.call_id] = data.name
            case ev.RunCompleted() | ev.RunFailed() | ev.RunEnding() if data.seen:
                self.end_seen = data.seen
            case (
                ev.ToolCallCancelled()
                | ev.ToolCallCancelRequested()
                | ev.ChildCancelRequested()
                | ev.TimerCancelled()
                | ev.SignalWaitCancelled()
            ) if data.seen:
                self.cancelled[data.call_id] = data.seen
                if isinstance(data, ev.ToolCallCancelled):
                    self.dropped.add(data.call_id)


def check_log(source: str, run: Run) -> None:
    """The run's log holds what its code asks for on these events, no more and no less, and the end that it came to."""
    asked, recorded = live_again(source, run.agent, run.run_id, run.journal, run.state.seen), Recorded.of(run.journal)
    assert not asked.refused, f"{run.agent}: results of steps that nobody waits for: {asked.refused}"
    assert asked.steps == recorded.steps, f"{run.agent}: steps {recorded.steps}, undisturbed {asked.steps}"
    for call_id, command in recorded.commands.items():
        assert asked.commands.get(call_id) == command, f"{run.agent}: {call_id} is {command}, undisturbed {asked.commands.get(call_id)}"
    unasked = recorded.given_up() - set(asked.cancelled)
    assert not unasked, f"{run.agent}: given up only here: {unasked}"
    last = run.log[-1].data
    if isinstance(last, ev.RunCancelled) or (run.state.error is not None and run.state.error.type == "DeadlineExceeded"):
        return  # from outside: the end of what the code asked for may never have arrived
    for call_id, command in asked.commands.items():
        in_one_breath = asked.cancelled.get(call_id) == asked.seen[call_id]
        assert call_id in recorded.commands or in_one_breath, f"{run.agent}: {call_id} {command} is missing"
    match last:
        case ev.RunCompleted():
            ended = ("completed", b"" if last.result is UNSET else bytes(last.result))
        case ev.RunFailed():
            ended = ("failed", last.error.type.encode())
        case _:
            raise AssertionError(f"{run.agent} ended with {run.log[-1].type}")
    assert asked.ending == ended, f"{run.agent}: ended as {ended}, undisturbed {asked.ending}"
    shown = run.state.shown
    assert (b"" if shown is UNSET else bytes(shown)) == asked.shown, f"{run.agent} shows {shown!r}, undisturbed {asked.shown!r}"


def check_replay(source: str, run: Run, host: Host | None = None) -> None:
    """The whole journal fits the code that made it, and asks for nothing more unless the run was ended from outside."""
    host, number = host or Here(), next(_numbers)
    host.ask(number, Open(source, run.agent, run.run_id, None))
    answer = host.ask(number, Replay(list(run.journal), run.state.seen))
    host.ask(number, Close())
    assert not answer.diverged, f"{run.agent} does not fit its own history: {bytes(answer.items[0]).decode()}"
    if not isinstance(run.log[-1].data, ev.RunCancelled):
        assert not answer.items, f"{run.agent} asks for more after its end: {answer.items}"


def fits(source: str, agent: str, run_id: RunId, journal: Sequence[Entry], seen: int) -> str:
    """Why this code does not fit the journal, "" if it does."""
    asked, recorded = live_again(source, agent, run_id, journal, seen), Recorded.of(journal)
    for call_id, command in recorded.commands.items():
        if asked.commands.get(call_id) != command:
            return f"{call_id}: {command} is recorded, {asked.commands.get(call_id) or asked.wanted.get(call_id)} asked for"
    for call_id, name in recorded.step_names.items():
        if asked.wanted.get(call_id) != name:
            return f"{call_id}: step {name} is recorded, {asked.wanted.get(call_id)} asked for"
    if asked.refused:
        return f"nobody waits for {asked.refused}"
    unasked = recorded.given_up() - set(asked.cancelled)
    return f"{unasked} were given up" if unasked else ""
