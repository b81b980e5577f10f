"""The calls of one run: which were asked for, by which task of the graph, and what came of them. Pure; owns no loop and sends nothing.

A task that is interrupted half-way runs again from its top, and asks again for what it asked before. Each call is known by the task
(its place in the graph's namespaces), its kind and name, what it asks, and how many came before it. What is asked again is answered:

1. a call that asked exactly the same and was not answered to this execution of the task yet (a tool call with the model's id for it is
   the same whatever its arguments);
2. otherwise, once those that may still be asked for exactly have had time to be, the first of the same kind and name: the task asks for
   something else than before (the time of day in a prompt), and what was recorded stands.
"""

from __future__ import annotations

import hashlib
from typing import Literal

from msgspec import Struct

from waypost_proto import events as ev
from waypost_proto.ids import CallId
from waypost_proto.values import Failure

Kind = Literal["model", "tool", "step", "child"]
_LETTERS: dict[str, Kind] = {"m": "model", "t": "tool", "s": "step", "c": "child"}
_HEX = 16


class Outcome(Struct, frozen=True, kw_only=True):
    """How a call ended: the JSON of its value, or why it failed. `event` is the outside event, where there was one."""

    value: bytes = b"null"
    error: Failure | None = None
    event: ev.Data | None = None


class Call(Struct, kw_only=True):
    """One call, from when it was asked for."""

    id: CallId
    kind: Kind
    name: str
    asked: str
    """Digest of what it asks, or of the model's id for it."""
    outcome: Outcome | None = None
    cancelled: bool = False
    requests: int = 0
    """Requests for allowance that the coordinator has recorded."""
    before: bool = False
    """It was asked for in an earlier execution of its task."""


class Ask(Struct, frozen=True, kw_only=True):
    """What a task asks for: `key` instead of `body` where the model has given the call an id."""

    task: str
    kind: Kind
    name: str
    body: bytes
    key: str = ""
    attempt: int = 1
    anchor: tuple[str, str] | None = None
    """See `Place`."""

    @property
    def asked(self) -> str:
        return short(f"{self.kind}/{self.name}/{self.key}".encode() + (b"" if self.key else self.body))


class _Task:
    """The calls of one task of the graph, in the order in which they were asked for."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.given: set[CallId] = set()
        self.attempt = 1
        self.numbered = 0

    def begin_attempt(self, attempt: int) -> None:
        """A retry of the node asks for everything again: what succeeded is given again, what failed is not."""
        if attempt > self.attempt:
            self.attempt = attempt
            for call in self.calls:
                call.before = True
            self.given = {call.id for call in self.calls if call.id in self.given and call.outcome is not None and call.outcome.error}

    def open(self) -> list[Call]:
        return [call for call in self.calls if call.id not in self.given and not call.cancelled]


class Book:
    """See the module."""

    def __init__(self) -> None:
        self.by_id: dict[CallId, Call] = {}
        self._tasks: dict[str, _Task] = {}

    def begin(self) -> None:
        """The graph is invoked (again): its interrupted tasks ask from their tops."""
        for task in self._tasks.values():
            task.given.clear()
            task.attempt = 1
            for call in task.calls:
                call.before = True

    def exact(self, ask: Ask) -> Call | None:
        """The recorded call that is the same, given from now on."""
        task = self._task(ask)
        return self._give(task, next((c for c in task.open() if c.kind == ask.kind and c.name == ask.name and c.asked == ask.asked), None))

    def similar(self, ask: Ask) -> Call | None:
        """A recorded call of the same kind and name that was not asked for yet in this execution; not given."""
        if ask.key:
            return None
        return next((c for c in self._task(ask).open() if c.kind == ask.kind and c.name == ask.name and c.before), None)

    def give(self, ask: Ask, call: Call) -> Call:
        """`call` is the answer to `ask`."""
        self._give(self._task(ask), call)
        return call

    def new(self, ask: Ask) -> Call:
        """A call that is asked for the first time."""
        task = self._task(ask)
        number, task.numbered = task.numbered, task.numbered + 1
        call_id = CallId(f"{short(ask.task.encode())}:{number}:{ask.kind[0]}{ask.asked}")
        call = Call(id=call_id, kind=ask.kind, name=ask.name, asked=ask.asked)
        self._add(task, call)
        task.given.add(call.id)
        return call

    def learn(self, call_id: CallId, name: str) -> Call | None:
        """A call of the log; None for an id that is not one of a graph's calls."""
        known = self.by_id.get(call_id)
        if known is not None:
            return known
        parts = call_id.split(":")
        if len(parts) != 3 or not parts[1].isdigit() or parts[2][:1] not in _LETTERS:
            return None
        task = self._tasks.setdefault(parts[0], _Task())
        task.numbered = max(task.numbered, int(parts[1]) + 1)
        call = Call(id=call_id, kind=_LETTERS[parts[2][0]], name=name, asked=parts[2][1:], before=True)
        self._add(task, call)
        task.calls.sort(key=lambda c: int(c.id.split(":")[1]))
        return call

    def _task(self, ask: Ask) -> _Task:
        task = self._tasks.setdefault(short(ask.task.encode()), _Task())
        task.begin_attempt(ask.attempt)
        return task

    def _add(self, task: _Task, call: Call) -> None:
        task.calls.append(call)
        self.by_id[call.id] = call

    def _give(self, task: _Task, call: Call | None) -> Call | None:
        if call is not None:
            task.given.add(call.id)
        return call


def short(data: bytes) -> str:
    """16 hex digits."""
    return hashlib.blake2b(data, digest_size=_HEX // 2).hexdigest()


__all__ = ["Ask", "Book", "Call", "Kind", "Outcome", "short"]
