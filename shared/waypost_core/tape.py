"""What a run was answered, call by call: from this a fork of it is answered, so that nothing has to be executed again.

    source's log ──▶ Tape ──▶ which recorded answer belongs to a call of the fork

A call of the fork is the source's when it has the same id and asks for the same (kind, name, digest of what is asked). Where the ids have
shifted, because the code or the input is another, calls that ask for the same are paired in order. An answer is given once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

from msgspec import UNSET

from waypost_proto import events as ev
from waypost_proto.codec import decode_union
from waypost_proto.ids import CallId, digest_of
from waypost_proto.task import parse_time

Print = tuple[str, str, str]
"""Kind, name, and the digest of what is asked."""


@dataclass(slots=True)
class Take:
    """One call of the source, and what came of it."""

    seq: int
    call_id: CallId
    print: Print
    answer: ev.AnyData | None = None
    answer_seq: int = 0
    at: float = 0.0
    given_up: bool = False
    """The source's code no longer waited for it: no answer is missing."""


@dataclass(frozen=True, slots=True)
class Heard:
    """A signal or an instruction of the source."""

    seq: int
    at: float
    data: ev.SignalReceived | ev.InstructionAdded


@dataclass(slots=True)
class Tape:
    """Built from the whole log of the source. `used` are the calls whose answer the fork has been given, by seq."""

    takes: dict[CallId, Take] = field(default_factory=dict)
    heard: list[Heard] = field(default_factory=list)
    used: set[int] = field(default_factory=set)
    _by_print: dict[Print, list[Take]] = field(default_factory=dict)
    _by_answer: dict[int, Take] = field(default_factory=dict)
    _ending: Literal["", "by itself", "from outside"] = ""
    """How the source's code came to its end, where something was still open. From outside, what fails or is cancelled then is nothing that
    the code was told, or gave up."""

    @classmethod
    def of(cls, events: Iterable[ev.Event]) -> Tape:
        """The tape of a run. Raises `BadMessage` for an event that cannot be read."""
        tape = cls()
        tape.read(events)
        return tape

    def read(self, events: Iterable[ev.Event]) -> None:
        """The next events of the source. Raises `BadMessage` for one that cannot be read."""
        for event in events:
            data: ev.AnyData = decode_union(ev.AnyData, event.data)
            recalled = getattr(data, "recalled", None)
            self._take(data, event.seq, recalled.at if recalled is not None else parse_time(event.recorded_at))

    def find(self, call_id: CallId, asks: Print, *, cut: int, same_call: bool = False, strict: bool = False, skip: set[int]) -> Take | None:
        """The source's call that a call of the fork is. `skip` are those that other calls are; `cut` is the fork point: what was answered
        before it the fork has been told.

        `same_call`: it was asked for before the fork point, so it is the source's whatever it asks. `strict`: a call of which nobody knows
        what was asked is not taken for the same.
        """
        take = self.takes.get(call_id)
        if take is not None and self._free(take, cut, skip):
            unknown = (take.print[2] == "" or asks[2] == "") and take.print[:2] == asks[:2] and asks[0] == "step"
            if same_call or (unknown and not strict) or (take.print == asks and not unknown):
                return take
        if asks[2] == "" and asks[0] != "timer":
            return None
        # one that was never answered, or given up, is not what another call waits for
        return next((t for t in self._by_print.get(asks, ()) if t.answer is not None and self._free(t, cut, skip)), None)

    def _free(self, take: Take, cut: int, skip: set[int]) -> bool:
        return take.seq not in self.used and take.seq not in skip and not 0 < take.answer_seq <= cut

    def next_heard(self, after: int) -> Heard | None:
        """The first signal or instruction after event `after`."""
        return next((each for each in self.heard if each.seq > after), None)

    def note(self, data: ev.Data) -> None:
        """An event of the fork: the answer that it repeats is used up."""
        recalled = getattr(data, "recalled", None)
        take = None if recalled is None else self._by_answer.get(recalled.seq)
        if take is not None:
            self.used.add(take.seq)

    # -- reading

    def _take(self, data: ev.AnyData, seq: int, at: float) -> None:
        asked = _ASKED.get(type(data))
        if asked is not None:
            call_id, print_ = asked(data)
            known = self.takes.get(call_id)
            if known is None or known.answer is not None:
                take = self.takes[call_id] = Take(seq, call_id, print_)
                if print_[0] != "timer":
                    self._by_print.setdefault(print_, []).append(take)
        elif isinstance(data, ev.StepCompleted | ev.StepFailed):
            digest = data.asked or (data.model.request_digest if data.model is not None else "")
            asks: Print = ("step", data.name, digest)
            step = self.takes.get(data.call_id)
            if step is None or step.print != asks:  # what it asked is known only now
                step = self.takes[data.call_id] = Take(seq if step is None else step.seq, data.call_id, asks)
                self._by_print.setdefault(asks, []).append(step)
            self._answered(step, data, seq, data.at)  # the moment that the code was told
        elif isinstance(data, ev.RunEnding):
            self._ending = "by itself" if data.seen > 0 else "from outside"
        elif isinstance(data, _ANSWERS):
            answered = self.takes.get(data.call_id)
            if answered is not None and not (self._ending == "from outside" and isinstance(data, _FAILURES)):
                self._answered(answered, data, seq, at)
        elif isinstance(data, _GIVEN_UP):
            dropped = self.takes.get(data.call_id)
            if dropped is not None and (data.seen > 0 or self._ending == "by itself"):
                dropped.given_up = True
        elif isinstance(data, ev.SignalReceived | ev.InstructionAdded):
            self.heard.append(Heard(seq, at, data))

    def _answered(self, take: Take, data: ev.AnyData, seq: int, at: float) -> None:
        take.answer, take.answer_seq, take.at = data, seq, at
        self._by_answer[seq] = take


def _input_digest(data: ev.ChildRequested) -> str:
    if data.input_ref is not UNSET:
        return data.input_ref.sha256
    return digest_of(b"" if data.input is UNSET else bytes(data.input))


_ASKED: dict[type, Callable[[Any], tuple[CallId, Print]]] = {
    ev.ToolCallRequested: lambda d: (d.call_id, ("tool", d.tool, d.args_digest)),
    ev.ChildRequested: lambda d: (d.call_id, ("child", d.child_agent, _input_digest(d))),
    ev.TimerStarted: lambda d: (d.call_id, ("timer", "", "")),
    ev.QuestionAsked: lambda d: (d.call_id, ("ask", d.role, digest_of(d.question.encode()))),
    ev.StepRequested: lambda d: (d.call_id, ("step", d.name, d.asked)),
}
_ANSWERS = (
    ev.ToolCallCompleted,
    ev.ToolCallFailed,
    ev.ChildCompleted,
    ev.ChildFailed,
    ev.TimerFired,
    ev.QuestionAnswered,
    ev.QuestionUnanswered,
    ev.StepRecalled,
)
_FAILURES = (ev.ToolCallFailed, ev.ChildFailed, ev.QuestionUnanswered)
_GIVEN_UP = (
    ev.ToolCallCancelled,
    ev.ToolCallCancelRequested,
    ev.ChildCancelRequested,
    ev.TimerCancelled,
    ev.QuestionWithdrawn,
)
