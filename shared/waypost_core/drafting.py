"""What a fork begins with, made from its source's log piece by piece: a long log must not hold up everybody else.

    read(page) … read(page) ─▶ settle() ─▶ copy(500) … copy(500) ─▶ `fork_run`

Between two calls whoever drives it may do something else. The state that is folded here is the fork's own, up to where it was cut.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec
from msgspec import UNSET

from waypost_core.evolve import evolve, initial
from waypost_core.starting import allowed
from waypost_core.state import RunState
from waypost_core.timing import LATEST
from waypost_proto import events as ev
from waypost_proto.codec import decode_union, encode
from waypost_proto.errors import BadInput
from waypost_proto.forks import ForkOrigin
from waypost_proto.ids import CallId
from waypost_proto.limits import MAX_FORK_EVENTS
from waypost_proto.mailbox import ForkRun
from waypost_proto.registry import AgentDefinition
from waypost_proto.task import parse_deadline, parse_time
from waypost_proto.values import Budget

FORK_LABEL = "waypost.forked_from"
"""Label of every fork: the run it was forked from."""


class Places:
    """Where a run can be forked: the seqs after which none of its advances is half told, and it has not begun to end."""

    def __init__(self) -> None:
        self._found: list[int] = []
        self._last: list[int] = []
        """What may be the end's own: it withdraws what waits for people before it says that it is one."""
        self._inside = self._ended = False

    def see(self, event: ev.Event, data: ev.AnyData) -> None:
        """The next event."""
        self._ended = self._ended or event.type in ev.TERMINAL_TYPES or event.type == "run_ending"
        if self._ended:
            return
        if isinstance(data, ev.FromWorker) and (data.mark is not None or data.seen > 0):
            self._inside = data.mark is None
        if isinstance(data, ev.ToolCallCancelled | ev.QuestionWithdrawn) and data.seen == 0:
            self._last.append(event.seq)
        else:
            self._last.clear()
        if not self._inside:
            self._found.append(event.seq)

    @property
    def found(self) -> list[int]:
        """All of them so far."""
        return [seq for seq in self._found if not self._ended or seq not in self._last]

    def allow(self, seq: int) -> bool:
        """Whether it can be forked there."""
        return seq in self.found


class Draft:
    """Of one fork. Feed it with the whole log of its source, in order; `fork_run` takes what it has made, once."""

    def __init__(self, message: ForkRun) -> None:
        self.message = message
        self.source: list[ev.Event] = []
        self.history: list[ev.Event] = []
        """The events that the fork begins with."""
        self.refused: BadInput | None = None
        """Why it cannot be made; its code says what is wrong."""
        self.state: RunState | None = None
        """The fork's, after `history`."""
        self.budget = Budget()
        self.deadline_at: float | None = None
        self._first: ev.RunStarted | None = None
        self._limits: Budget | None = None
        self._source_deadline: float | None = None
        self._places = Places()

    @classmethod
    def of(cls, message: ForkRun, events: Sequence[ev.Event], *, now: float, definition: AgentDefinition | None = None) -> Draft:
        """All at once."""
        draft = cls(message)
        draft.read(events)
        draft.settle(now, definition)
        draft.copy(len(events))
        return draft

    def read(self, events: Iterable[ev.Event]) -> None:
        """The next events of the source. Raises `BadMessage` for one that cannot be read."""
        for event in events:
            data: ev.AnyData = decode_union(ev.AnyData, event.data)
            self.source.append(event)
            self._places.see(event, data)
            if event.seq <= self.message.seq:
                self._note(data)

    def settle(self, now: float, definition: AgentDefinition | None) -> None:
        """The source has been read. Decides whether it can be forked there; `definition` is that of its agent's current build."""
        try:
            self._check(now)
        except BadInput as error:
            self.refused = error
            return
        asked = self.message.budget
        limits = self._limits or Budget()
        self.budget = limits if asked is None else allowed(definition, asked)

    def copy(self, most: int) -> bool:
        """Copy up to so many events more; False when there is nothing left to do."""
        if self.refused is not None:
            return False
        done = len(self.history)
        for event in self.source[done : min(done + most, self.message.seq)]:
            mine = self._beginning(event) if event.seq == 1 else event
            mine = msgspec.structs.replace(mine, run_id=self.message.run_id, cause="")
            data: ev.AnyData = decode_union(ev.AnyData, mine.data)
            self.state = self.state or initial(mine)
            evolve(self.state, mine.seq, parse_time(mine.recorded_at), data)
            self.history.append(mine)
        return len(self.history) < self.message.seq

    @property
    def changed(self) -> bool:
        """Whether it has another input than its source."""
        return self.message.input is not UNSET or self.message.input_ref is not UNSET

    def deadlines(self, now: float) -> dict[CallId, float]:
        """Of the open children: the fork's, and a timeout of their own anew. What they had of the source's is not theirs any more."""
        assert self.state is not None
        found: dict[CallId, float] = {}
        for call_id, call in self.state.calls.items():
            if call.kind != "child" or call.due_at is None or call.abandoned:
                continue
            due_at = self.deadline_at
            if call.due_at != self._source_deadline:
                asked_at = parse_time(self.source[call.seq - 1].recorded_at)
                due_at = min(self.deadline_at or LATEST, now + call.due_at - asked_at)
            if due_at is not None:
                found[CallId(call_id)] = due_at
        return found

    def _note(self, data: ev.AnyData) -> None:
        """What the fork inherits."""
        if isinstance(data, ev.RunStarted):
            self._first = data
            self._limits, self._source_deadline = data.budget, data.deadline_at
        elif isinstance(data, ev.RunResumed) and data.budget is not None:
            self._limits = (self._limits or Budget()).overridden_by(data.budget)
        elif isinstance(data, ev.RunForked):
            self._limits, self._source_deadline = data.budget, data.deadline_at

    def _check(self, now: float) -> None:
        message, events = self.message, self.source
        if not events or self._first is None:
            raise _wrong("409", f"the first events of run {message.source} were removed by retention: it cannot be forked any more")
        if len(events) > MAX_FORK_EVENTS:
            raise _wrong(
                "413", f"run {message.source} has more than {MAX_FORK_EVENTS} events, which is the most that a fork can begin with"
            )
        if message.seq > len(events):
            raise _wrong("400", f"run {message.source} has {len(events)} events: there is no event {message.seq} to fork it at")
        if not self._places.allow(message.seq):
            raise _wrong("400", self._nearest())
        if self.changed and message.seq != 1:
            raise _wrong("400", f"another input means another beginning: fork at event 1 to change it, not at {message.seq}")
        self.deadline_at = None if message.deadline is None else parse_deadline(message.deadline, now=now)
        if self.deadline_at is not None and not 0 < self.deadline_at <= LATEST:
            raise _wrong("400", f"deadline {message.deadline!r} is not between 1970 and the year 9999; give an earlier one")

    def _nearest(self) -> str:
        message, valid = self.message, self._places.found
        event = self.source[message.seq - 1]
        below = max((seq for seq in valid if seq < message.seq), default=None)
        above = min((seq for seq in valid if seq > message.seq), default=None)
        near = " or ".join(str(seq) for seq in (below, above) if seq is not None)
        ending = not valid or message.seq > valid[-1]
        why = "is part of how the run ends" if ending else "lies inside one step of the agent's code"
        return f"event {message.seq} ({event.type}) of run {message.source} {why}: the nearest place to fork it is {near or 1}"

    def _beginning(self, event: ev.Event) -> ev.Event:
        """The fork's own first event: the code is given the same input, unless that is what is changed."""
        message, started = self.message, self._first
        assert started is not None
        eldest = started.fork.identity if started.fork is not None else message.source
        origin = ForkOrigin(run_id=message.source, seq=message.seq, tools=message.tools, identity=eldest, changed=self.changed)
        more = {}
        if self.changed:
            more = {"input": message.input, "input_ref": message.input_ref, "input_digest": ""}
        own = msgspec.structs.replace(
            started,
            budget=self.budget,
            deadline_at=self.deadline_at,
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


def _wrong(code: str, text: str) -> BadInput:
    error = BadInput(text)
    error.code = code
    return error
