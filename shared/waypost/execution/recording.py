"""What a run's journal holds, and whether replayed code asks for the same. Pure; owns no coroutine.

Commands are compared by id, kind, name and digest of the arguments, not by order (CORRECTNESS.md row 18). How long a
timer runs and the options of a call are not compared: changing them in a new build is harmless.

The journal is a prefix of what the code asked for. What replay asks for and the journal does not hold is therefore
the tail that never arrived: it is sent (again). What the journal holds and replay does not ask for is a divergence.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from msgspec import UNSET, Raw, Struct, UnsetType

from waypost_proto import commands as cmd
from waypost_proto import events as ev
from waypost_proto.codec import decode, decode_union
from waypost_proto.ids import CallId, digest_of
from waypost_proto.values import BlobRef
from waypost_proto.work import Entry


class Recorded(Struct, frozen=True, kw_only=True):
    """One command as the journal holds it. `kind` is the tag of its command."""

    call_id: CallId
    kind: str
    name: str = ""
    digest: str = ""
    seq: int = 0

    def describe(self) -> str:
        """For people."""
        text = f"{_WORDS[self.kind]} {self.call_id}" + (f" {self.name!r}" if self.name else "")
        text += f" with arguments {self.digest[:12]}…" if self.digest else ""
        return text + (f" (event {self.seq})" if self.seq else "")


_WORDS = {
    "call_tool": "tool call",
    "start_child": "child run",
    "start_timer": "timer",
    "await_signal": "wait for signal",
    "ask_question": "question to",
    "step": "local step",
    "cancel_call": "cancellation of",
}

LocalResult = ev.StepCompleted | ev.StepFailed
_Command = cmd.CallTool | cmd.StartChild | cmd.StartTimer | cmd.AwaitSignal | cmd.AskQuestion


class _Outcome(Struct):
    """The one field of an outside event that is read here."""

    call_id: CallId


class _Named(Struct):
    """The one field of a received signal that is read here."""

    name: str


class Divergence(Struct, frozen=True, kw_only=True):
    """Replay and journal differ; both sides in words."""

    expected: str
    found: str


class Recording:
    """The journal of one run during its replay."""

    def __init__(self, journal: Sequence[Entry], seen: int) -> None:
        self.seen = seen
        """Up to where the code had been given the outside events when the last advance was accepted."""
        self.outside: list[Entry] = []
        """Outside events up to `seen`, in the order of seq: the code had been given them."""
        self.later: list[Entry] = []
        """Outside events that no accepted advance has seen."""
        self.locals: list[tuple[int, LocalResult]] = []
        """Recorded results of local steps with their seq, in the order of the log."""
        self.requested_steps: dict[CallId, int] = {}
        """Local steps that asked for allowance, with the number of the request: the coordinator has counted them."""
        self.divergence: Divergence | None = None
        self._commands: dict[CallId, Recorded] = {}
        self._steps: dict[CallId, Recorded] = {}
        self._cancelled: dict[CallId, Recorded] = {}
        self._settled: set[CallId] = set()
        self._unsent: dict[CallId, _Command] = {}
        self._ending: cmd.CompleteRun | cmd.FailRun | None = None
        self._ended = False
        self._end_seen = 0
        self._tools_cancelled: dict[CallId, int] = {}
        self._cancels: dict[CallId, cmd.CancelCall] = {}
        self._waits: dict[str, list[CallId]] = {}
        self._unread: dict[str, int] = {}
        self._shown: Raw | None = None
        self._state: cmd.SetState | None = None
        for entry in sorted(journal, key=lambda e: e.seq):
            if entry.type in ev.OUTSIDE:
                (self.outside if entry.seq <= seen else self.later).append(entry)
                if entry.type == "signal_received":
                    self._pair_signal(decode(_Named, entry.data).name)
                elif entry.type not in _OF_NO_CALL:
                    self._settled.add(decode(_Outcome, entry.data).call_id)
            else:
                self._read(decode_union(ev.AnyData, entry.data), entry.seq)

    def _read(self, data: ev.AnyData, seq: int) -> None:
        match data:
            case ev.StepCompleted() | ev.StepFailed():
                self.locals.append((seq, data))
                self._steps[data.call_id] = Recorded(call_id=data.call_id, kind="step", name=data.name, seq=seq)
            case ev.StepRequested():
                self.requested_steps[data.call_id] = data.attempt
                self._steps.setdefault(data.call_id, Recorded(call_id=data.call_id, kind="step", name=data.name, seq=seq))
            case ev.StateChanged():
                self._shown = data.value
            case ev.RunCompleted() | ev.RunFailed() | ev.RunEnding() if data.seen > 0:  # else it was ended from outside
                self._ended = True
                self._end_seen = data.seen
            case ev.SignalAwaited():
                self._commands[data.call_id] = Recorded(call_id=data.call_id, kind="await_signal", name=data.name, seq=seq)
                self._pair_wait(data.name, data.call_id)
            case _ if type(data) in _COMMANDS:
                recorded = _COMMANDS[type(data)](data, seq)
                self._commands[recorded.call_id] = recorded
            case _ if isinstance(data, _CANCELS) and data.seen > 0:  # without `seen` it came with the end of the run
                self._cancelled[data.call_id] = Recorded(call_id=data.call_id, kind="cancel_call", seq=seq)
                if isinstance(data, ev.ToolCallCancelled):
                    self._tools_cancelled[data.call_id] = data.seen
                for waits in self._waits.values():
                    if data.call_id in waits:
                        waits.remove(data.call_id)

    def _pair_signal(self, name: str) -> None:
        """Signals and waits pair off by name in the order of the log: cancelling a wait after that leaves no event."""
        waits = self._waits.get(name)
        if waits:
            self._settled.add(waits.pop(0))
        else:
            self._unread[name] = self._unread.get(name, 0) + 1

    def _pair_wait(self, name: str, call_id: CallId) -> None:
        if self._unread.get(name, 0):
            self._unread[name] -= 1
            self._settled.add(call_id)
        else:
            self._waits.setdefault(name, []).append(call_id)

    # -- while the code runs again

    def issued(self, item: cmd.AnyItem) -> None:
        """The code asked for `item`. Sets `divergence` if the journal has something else under its id."""
        match item:
            case cmd.CancelCall():
                if self._unsent.pop(item.target, None) is not None:
                    return  # neither the command nor its cancellation was ever sent
                recorded = self._cancelled.pop(item.target, None)
                if recorded is None and item.target not in self._settled:
                    self._cancels[item.target] = item
            case cmd.SetState():
                self._state = item
            case cmd.CompleteRun() | cmd.FailRun():
                self._ending = item
            case cmd.CallTool() | cmd.StartChild() | cmd.StartTimer() | cmd.AwaitSignal() | cmd.AskQuestion():
                self._command(item)
            case _:
                raise AssertionError(f"{item!r} is not asked for by replayed code")

    def _command(self, item: _Command) -> None:
        found = _of_item(item)
        recorded = self._commands.pop(found.call_id, None) or self._steps.get(found.call_id)
        if recorded is None:
            self._unsent[found.call_id] = item
        elif (recorded.kind, recorded.name, recorded.digest) != (found.kind, found.name, found.digest):
            self.divergence = Divergence(expected=recorded.describe(), found=found.describe())

    def step_issued(self, call_id: CallId, name: str) -> None:
        """The code asked for a local step; one that the journal does not know runs when replay is through."""
        found = Recorded(call_id=call_id, kind="step", name=name)
        recorded = self._steps.pop(call_id, None) or self._commands.get(call_id)
        if recorded is not None and (recorded.kind, recorded.name) != ("step", name):
            self.divergence = Divergence(expected=recorded.describe(), found=found.describe())

    # -- at the end

    def check_complete(self) -> None:
        """Every recorded command was asked for again, or `divergence` says which was not."""
        # the end of a run gives up tool calls just asked for and those that wait for an approval: nobody asked for that
        by_the_end = {i for i, seen in self._tools_cancelled.items() if self._ended and seen >= self._end_seen}
        cancelled = [recorded for call_id, recorded in self._cancelled.items() if call_id not in by_the_end]
        missing = sorted([*self._commands.values(), *self._steps.values(), *cancelled], key=lambda r: r.seq)
        if not missing or self.divergence is not None:
            return
        instead = [_of_item(item).describe() for item in self._unsent.values()]
        found = f"{instead[0]} instead" if instead else "code that does not ask for it"
        self.divergence = Divergence(expected=missing[0].describe(), found=found)

    def tail(self) -> list[cmd.AnyItem]:
        """What the code asked for and the journal does not hold, in the order in which it was asked for."""
        items: list[cmd.AnyItem] = [*self._unsent.values(), *self._cancels.values()]
        if self._state is not None and (self._shown is None or bytes(self._shown) != bytes(self._state.value)):
            items.append(self._state)
        items.sort(key=lambda item: item.seen)
        return items if self._ending is None or self._ended else [*items, self._ending]


_OF_NO_CALL = frozenset({"run_started", "instruction_added", "run_forked", "fork_tools_changed"})
"""Outside events that are no answer to a call."""
_CANCELS = (
    ev.ToolCallCancelled,
    ev.ToolCallCancelRequested,
    ev.ChildCancelRequested,
    ev.TimerCancelled,
    ev.SignalWaitCancelled,
    ev.QuestionWithdrawn,
)

_COMMANDS: dict[type, Callable[[Any, int], Recorded]] = {
    ev.ToolCallRequested: lambda d, seq: Recorded(call_id=d.call_id, kind="call_tool", name=d.tool, digest=d.args_digest, seq=seq),
    ev.ChildRequested: lambda d, seq: Recorded(
        call_id=d.call_id, kind="start_child", name=d.child_agent, digest=_digest(d.input, d.input_ref), seq=seq
    ),
    ev.QuestionAsked: lambda d, seq: Recorded(
        call_id=d.call_id, kind="ask_question", name=d.role, digest=digest_of(d.question.encode()), seq=seq
    ),
    ev.TimerStarted: lambda d, seq: Recorded(call_id=d.call_id, kind="start_timer", seq=seq),
}


def _of_item(item: _Command) -> Recorded:
    match item:
        case cmd.CallTool():
            return Recorded(call_id=item.id, kind="call_tool", name=item.tool, digest=_digest(item.args, item.args_ref))
        case cmd.StartChild():
            return Recorded(call_id=item.id, kind="start_child", name=item.agent, digest=_digest(item.input, item.input_ref))
        case cmd.StartTimer():
            return Recorded(call_id=item.id, kind="start_timer")
        case cmd.AskQuestion():
            return Recorded(call_id=item.id, kind="ask_question", name=item.role, digest=digest_of(item.question.encode()))
        case cmd.AwaitSignal():
            return Recorded(call_id=item.id, kind="await_signal", name=item.name)


def _digest(value: Raw | UnsetType, ref: BlobRef | UnsetType) -> str:
    """As the coordinator takes it: over the bytes as they were sent."""
    if ref is not UNSET:
        return ref.sha256
    return digest_of(b"" if value is UNSET else bytes(value))
