"""What must hold of forks, whatever happened. Looks at the database and the outside world, never into a service."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from tests.simulation.loop import Process
from tests.simulation.orders import ForkOrder
from tests.simulation.provider import Provider
from waypost_core.forking import FORK_LABEL, boundaries
from waypost_io.store.memory import MemoryDatabase
from waypost_io.store.ports import Commit
from waypost_proto.codec import decode
from waypost_proto.events import Event
from waypost_proto.ids import RunId

Log = list[Event]
ITS_OWN = frozenset({"budget", "deadline_at", "labels", "idempotency_key", "parent", "lease", "trace", "starter", "fork"})
"""What a fork's first event has of its own."""
PLAYED = frozenset(
    {"tool_call_completed", "tool_call_failed", "child_completed", "child_failed", "question_answered", "question_unanswered",
     "timer_fired", "step_recalled"}
)  # fmt: skip
"""What the code of a fork that does not go live is told: each says which event of the source it repeats."""
EXECUTED = frozenset(
    {"tool_call_dispatched", "tool_attempt_failed", "tool_call_deferred", "tool_call_in_doubt", "approval_requested", "approval_granted",
     "call_funded", "step_completed", "step_failed", "lease_granted"}
)  # fmt: skip
"""What only happens to calls that are executed."""
ANSWER = ("result", "result_ref", "error")
BUILDS_DIFFER = "versioned"
"""The agent whose builds do not fit: a fork begins with another one than its source had."""


class ForkWatch:
    """Notes while it happens what a fork that does not go live does to the world."""

    def __init__(self, tables: MemoryDatabase, provider: Provider) -> None:
        self._tables = tables
        self._playing: set[RunId] = set()
        self._recalled: set[str] = set()
        self.violations: list[str] = []
        self.forked = 0
        provider.on_call = self._called

    def observe(self, _process: Process, statement: str, args: tuple[Any, ...], _kwargs: dict[str, Any], outcome: Any) -> None:
        """Called at the moment a statement is carried out."""
        if statement != "log.commit" or isinstance(outcome, BaseException):
            return
        batch: Commit = args[0]
        for row in batch.events:
            if row.partition in outcome.lost:
                continue
            if row.type in ("run_forked", "fork_tools_changed"):
                data = _data(decode(Event, row.body))
                self._playing.discard(row.run_id)
                if data["tools"] != "live":
                    self._playing.add(row.run_id)
            elif row.type in ("tool_call_completed", "tool_call_failed"):
                data = _data(decode(Event, row.body))
                if data.get("recalled") is not None:
                    self._recalled.add(f"{row.run_id}/{data['call_id']}")
        for permit in batch.permits:
            if permit.run_id in self._playing:
                self.violations.append(f"fork {permit.run_id}: call {permit.call_id} got a permit, and the fork is not live")
        for run in batch.runs:
            if run.parent in self._playing:
                self.violations.append(f"fork {run.parent} has the child {run.run_id}, and it is not live")

    def _called(self, key: str) -> None:
        run_id = RunId(key.partition("/")[0])
        if run_id in self._playing:
            self.violations.append(f"key {key}: a tool was executed for a fork that is not live")
        elif key in self._recalled:
            self.violations.append(f"key {key}: a tool was executed although the fork has its source's answer")


def forks(tables: MemoryDatabase, orders: Iterable[ForkOrder], expected: Mapping[tuple[str, int], bytes]) -> Iterator[str]:
    """Everything about forks: one for each request, which began as its source did, did nothing, and ended as it would in peace."""
    asked = [each for order in orders for each in (order, order.twin) if each is not None]
    there = {run_id for run_id, row in tables.runs.items() if row.parent is None and FORK_LABEL in row.labels}
    wanted = {order.run_id for order in asked if order.accepted}
    if there != wanted:
        yield f"forks were accepted under the ids {sorted(map(str, wanted))}, there are {sorted(there)}"
    for order in asked:
        if order.refused:
            yield from _refused(tables, order)
        elif order.accepted and order.run_id in there and order.source in tables.runs:
            yield from _fork(tables, order, expected)


def _refused(tables: MemoryDatabase, order: ForkOrder) -> Iterator[str]:
    assert order.source is not None
    log = _log(tables, order.source)
    if order.at in boundaries(log) and order.source_ended:
        yield f"run {order.source} can be forked at {order.at}, and that was refused: {order.refused}"


def _fork(tables: MemoryDatabase, order: ForkOrder, expected: Mapping[tuple[str, int], bytes]) -> Iterator[str]:
    assert order.run_id is not None
    assert order.source is not None
    name = f"fork {order.run_id} ({order.agent} {order.source} at {order.at}, {order.tools})"
    source, log = _log(tables, order.source), _log(tables, order.run_id)
    yield from (f"{name}: {fault}" for fault in _beginning(order, source, log))
    yield from (f"{name}: {fault}" for fault in _played(order, source, log))
    yield from (f"{name}: {fault}" for fault in _end(tables, order, log))
    yield from (f"{name}: {fault}" for fault in _result(tables, order, log, expected))


def _beginning(order: ForkOrder, source: Log, log: Log) -> Iterator[str]:
    if order.at not in boundaries(source):
        yield f"it begins inside a step: {[event.type for event in source[: order.at]]}"
    copied, theirs = log[: order.at], source[: order.at]
    for mine, other in zip(copied[1:], theirs[1:], strict=False):
        if (mine.seq, mine.type, mine.recorded_at, bytes(mine.data)) != (other.seq, other.type, other.recorded_at, bytes(other.data)):
            yield f"its event {mine.seq} ({mine.type}) is not its source's ({other.type})"
    mine_first, their_first = ({k: v for k, v in _data(events[0]).items() if k not in ITS_OWN} for events in (log, source))
    if (mine_first, log[0].recorded_at) != (their_first, source[0].recorded_at):
        yield f"it starts otherwise than its source: {mine_first} and {their_first}"
    if len(log) <= order.at or log[order.at].type != "run_forked":
        yield f"its events after the copied ones are {[event.type for event in log[order.at :]]}"
        return
    told = _data(log[order.at])
    if (told["source"], told["seq"], told["tools"]) != (order.source, order.at, order.tools):
        yield f"it says that it is {told}"
    if sum(event.type == "run_forked" for event in log[order.at :]) != 1:
        yield "it was forked twice"


def _played(order: ForkOrder, source: Log, log: Log) -> Iterator[str]:
    """While it is not live it is told what its source was told, each once, and nothing is executed."""
    used: set[int] = set()
    mode = order.tools
    for event in log[order.at + 1 :]:
        data = _data(event)
        if event.type == "fork_tools_changed":
            mode = data["tools"]
        recalled = data.get("recalled")
        if recalled is None:
            if mode != "live" and (event.type in PLAYED or event.type in EXECUTED):
                yield f"event {event.seq} ({event.type}) is nothing that its source was told, and it is not live"
            continue
        at = recalled["seq"]
        if at == 0:
            continue
        if at in used or at <= order.at or at > len(source):
            yield f"event {event.seq} ({event.type}) repeats event {at}, which is {'used' if at in used else 'none'}"
            continue
        used.add(at)
        theirs = _data(source[at - 1])
        if any(data.get(key) != theirs.get(key) for key in ANSWER):
            yield f"event {event.seq} ({event.type}) is {data}, its source was told {theirs}"


def _end(tables: MemoryDatabase, order: ForkOrder, log: Log) -> Iterator[str]:
    assert order.run_id is not None
    row = tables.runs[order.run_id]
    if row.open:
        yield f"it has not ended: {row.status} {row.state.decode()[:1500]}"
    elif row.status == "cancelled":
        if order.cancel_after is None and not order.gave_up:
            yield "it is cancelled and nobody asked for it"
    elif row.status == "failed" and order.deadline is not None and b"DeadlineExceeded" in (row.outcome or b""):
        pass
    elif row.status == "failed" and "deny" not in _modes(log[order.at :]) and not _failed_alike(tables, order):
        yield f"it failed: {row.outcome!r}"


def _failed_alike(tables: MemoryDatabase, order: ForkOrder) -> bool:
    """Its source failed too, or was cancelled, and its children with it: the fork is told what its source was told."""
    source = None if order.source is None else tables.runs.get(order.source)
    return source is not None and (source.status in ("failed", "cancelled") or FORK_LABEL in source.labels)


def _result(tables: MemoryDatabase, order: ForkOrder, log: Log, expected: Mapping[tuple[str, int], bytes]) -> Iterator[str]:
    assert order.run_id is not None
    assert order.source is not None
    row, source = tables.runs[order.run_id], tables.runs[order.source]
    if row.open or row.status == "cancelled" or b"DeadlineExceeded" in (row.outcome or b""):
        return
    modes = _modes(log[order.at :])
    if modes == ["recorded"] and source.status == "completed" and (row.status, row.outcome) != (source.status, source.outcome):
        yield f"it {row.status}: {row.outcome!r}, its source: {source.outcome!r}"
    n = msgspec.json.decode(decode(Event, tables.events[order.run_id][1].body).data).get("input")
    wanted = expected.get((order.agent, n)) if isinstance(n, int) else None
    if wanted is not None and row.status == "completed" and "deny" not in modes and not _told_no(log) and row.outcome != wanted:
        yield f"result {row.outcome!r} instead of {wanted!r}"
    twin = None if order.twin is None else order.twin.run_id
    again = None if twin is None else tables.runs.get(twin)
    if again is None or again.open or "cancelled" in (again.status, row.status) or order.agent == BUILDS_DIFFER:
        return
    if twin is not None and modes == _modes(_log(tables, twin)[order.at :]) and (row.status, row.outcome) != (again.status, again.outcome):
        yield f"it {row.status} {row.outcome!r}; the same fork in peace {again.status} {again.outcome!r}"


def _told_no(log: Log) -> bool:
    """It, or what it was forked from, was refused a call as a fork that denies calls."""
    return any(b"ToolDenied" in bytes(event.data) and event.type.endswith(("_failed", "_recalled", "_unanswered")) for event in log)


def _modes(log: Log) -> list[str]:
    return [_data(event)["tools"] for event in log if event.type in ("run_forked", "fork_tools_changed")]


def _log(tables: MemoryDatabase, run_id: RunId) -> Log:
    return [decode(Event, row.body) for _, row in sorted(tables.events[run_id].items())]


def _data(event: Event) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(event.data)
    return found
