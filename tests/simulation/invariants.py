"""What must hold, whatever happened. Looks at the database, the broker and the outside world, never into a service."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from typing import Any

import msgspec

from tests.simulation.loop import PROCESS, Process
from tests.simulation.orders import Order
from tests.simulation.provider import Provider
from tests.simulation.services import SIGNING_KEY
from tests.states import differ
from waypost_core.audit.growing import GrowingTree
from waypost_core.audit.heads import parse_head
from waypost_core.audit.keyring import Keyring
from waypost_core.audit.leaves import event_leaf
from waypost_core.forking import FORK_LABEL
from waypost_io.store.memory import MemoryDatabase
from waypost_io.store.ports import Commit, EventRow
from waypost_proto.codec import decode
from waypost_proto.events import TERMINAL_TYPES, Event, RunStarted
from waypost_proto.ids import RunId
from waypost_proto.task import parse_time

RESULTS = frozenset(
    {"tool_call_completed", "tool_call_failed", "tool_call_cancelled", "step_completed", "step_failed", "child_completed", "child_failed",
     "timer_fired", "timer_cancelled", "step_recalled"}
)  # fmt: skip


POISON = b"poison-"
"""In the body of what is meant to become a dead letter."""
LOOK_SECONDS = 10.0
"""How long it takes at most from when a worker's look at the journal is answered until the step begins that was not in it."""
CLOCK_SECONDS = 5.0
"""How wrong a service's idea of the database's time may be: answers to the question take up to 3 s. Wall clocks jump by hours."""


class Watch:
    """Notes while it happens what the tables do not keep: in which order permits, effects and endings came."""

    def __init__(self, tables: MemoryDatabase, provider: Provider) -> None:
        self._tables = tables
        self.violations: list[str] = []
        self._closed: dict[RunId, str] = {}
        self._settled: dict[tuple[str, str], str] = {}
        self._started: set[str] = set()
        self._recorded_steps: dict[str, float] = {}
        self._live_forks: dict[str, list[RunId]] = {}
        """By the run whose id their copied part was made under."""
        provider.on_effect = self._effect
        provider.on_step = self._step

    def observe(self, process: Process, statement: str, args: tuple[Any, ...], kwargs: dict[str, Any], outcome: Any) -> None:
        """Called at the moment a statement is carried out."""
        if statement == "log.commit" and not isinstance(outcome, BaseException):
            self._committed(process, args[0], outcome.lost)
        elif statement == "ledger.start" and not isinstance(outcome, BaseException) and outcome[0]:
            run_id, call_id = args[0], args[1]
            self._started.add(f"{run_id}/{call_id}")
            why = self._closed.get(run_id) or self._settled.get((run_id, call_id))
            if why is not None:
                self.violations.append(f"call {call_id} of run {run_id} was started by {process.name} after {why}")

    def _committed(self, process: Process, batch: Commit, lost: frozenset[int]) -> None:
        for partition, epoch, _, _ in batch.leases:
            record = self._tables.partitions[partition]
            if partition not in lost and (record.owner, record.epoch) != (batch.owner, epoch):
                self.violations.append(
                    f"{process.name} wrote into partition {partition} in epoch {epoch}; it is epoch {record.epoch} of {record.owner}"
                )
        for event in batch.events:
            if event.partition not in lost:
                self._recorded(event)

    def _recorded(self, event: EventRow) -> None:
        run_id, kind = event.run_id, event.type
        if kind in ("run_ending", "run_paused", *TERMINAL_TYPES):
            self._closed[run_id] = kind
        elif kind in ("run_resumed", "run_forked", "fork_tools_changed"):
            self._closed.pop(run_id, None)
            if kind != "run_resumed" and data_of(event)["tools"] == "live":
                self._went_live(run_id)
        elif kind in ("tool_call_completed", "tool_call_failed", "tool_call_cancelled"):
            self._settled[run_id, data_of(event)["call_id"]] = kind
        elif kind == "step_completed":
            self._recorded_steps[f"{run_id}/{data_of(event)['name']}"] = self._tables.clock()

    def _went_live(self, fork: RunId) -> None:
        first = next(row for row in self._tables.events[fork].values() if row.seq == 1)
        self._live_forks.setdefault(data_of(first)["fork"]["identity"], []).append(fork)

    def _effect(self, key: str) -> None:
        if key not in self._started:
            self.violations.append(f"key {key}: an effect of a call that was never started in the ledger")

    def _step(self, key: str) -> None:
        """Whoever was paused, or cut off, or has just looked, cannot know what was recorded meanwhile: that is said in `guarantees`."""
        recorded_at = self._recorded_steps.get(key, math.inf)
        run_id, _, name = key.partition("/")
        if any(name not in self._steps_of(fork) for fork in self._live_forks.get(run_id, ())):
            return  # it was open where that fork was cut, and its arguments name the fork's source
        if self._tables.clock() - recorded_at > LOOK_SECONDS and not PROCESS.get().hindered:
            self.violations.append(f"step {key} was executed by {PROCESS.get().name} after its result was recorded")

    def _steps_of(self, run_id: RunId) -> set[str]:
        rows = self._tables.events[run_id].values()
        return {data_of(row)["name"] for row in rows if row.type in ("step_completed", "step_failed", "step_recalled")}


def own(rows: dict[int, EventRow]) -> list[EventRow]:
    """A run's events in order, without those that a fork has copied."""
    cut = max((seq for seq, row in rows.items() if row.type == "run_forked"), default=0)
    return [row for seq, row in sorted(rows.items()) if seq >= cut]


def data_of(row: EventRow) -> dict[str, Any]:
    """An event's data."""
    data: dict[str, Any] = msgspec.json.decode(decode(Event, row.body).data)
    return data


def logs(tables: MemoryDatabase) -> Iterator[str]:
    """Each run's log by itself."""
    for run_id, rows in sorted(tables.events.items()):
        numbers = sorted(rows)
        if numbers != list(range(1, len(numbers) + 1)):
            yield f"run {run_id}: the log has the seqs {numbers}"
            continue
        events = [decode(Event, rows[seq].body) for seq in numbers]
        types = [event.type for event in events]
        ends = [index for index, kind in enumerate(types) if kind in TERMINAL_TYPES]
        if ends and ends[0] != len(types) - 1:
            yield f"run {run_id}: events after the end: {types}"
        yield from _results(run_id, events)
        yield from _timers(run_id, events)
        yield from _builds(run_id, own(rows))
        yield from _approvals(run_id, own(rows))
        times = [event.recorded_at for event in events]
        if times != sorted(times):
            yield f"run {run_id}: recorded_at runs backwards"
        row = tables.runs.get(run_id)
        if row is None:
            yield f"run {run_id}: it has a log and no row"
        elif difference := differ(events, row.state):
            yield f"run {run_id}: the stored state is not the fold of the log:\n  {difference}"


def _results(run_id: RunId, events: list[Event]) -> Iterator[str]:
    counts: Counter[tuple[str, str]] = Counter()
    for event in events:
        if event.type in RESULTS:
            data = msgspec.json.decode(event.data)
            key = data.get("call_id") or data.get("timer_id") or data.get("id")
            kind = "timer" if event.type.startswith("timer") else "call"
            counts[kind, str(key)] += 1
    for (kind, key), count in counts.items():
        if count > 1:
            yield f"run {run_id}: {count} results of {kind} {key}"


def _timers(run_id: RunId, events: list[Event]) -> Iterator[str]:
    due: dict[str, float] = {}
    for event in events:
        if event.type == "timer_started":
            data = msgspec.json.decode(event.data)
            due[data["call_id"]] = data["fire_at"]
        elif event.type == "timer_fired":
            data = msgspec.json.decode(event.data)
            call_id = data["call_id"]
            if data.get("recalled") is None and parse_time(event.recorded_at) < due[call_id] - 1e-5:
                yield f"run {run_id}: timer {call_id} fired at {event.recorded_at}, it is due at {due[call_id]}"


def _builds(run_id: RunId, rows: list[EventRow]) -> Iterator[str]:
    """Builds of one agent that do things in another order: a run must stay with one of them."""
    if decode(Event, rows[0].body).agent == "versioned":
        marks = [data_of(row).get("mark") for row in rows]
        builds = {mark["build"] for mark in marks if mark is not None and mark.get("build")}
        if len(builds) > 1:
            yield f"run {run_id} was moved between the builds {sorted(builds)}"


def _approvals(run_id: RunId, rows: list[EventRow]) -> Iterator[str]:
    """Also a fork's payment needs an approval of its own."""
    types = [row.type for row in rows]
    paid = (at for at, row in enumerate(rows) if row.type == "tool_call_completed" and data_of(row)["tool"] == "pay")
    made = next((at for at in paid if data_of(rows[at]).get("recalled") is None), 0)
    if decode(Event, rows[0].body).agent == "clerk" and made and "approval_granted" not in types[:made]:
        yield f"run {run_id}: a payment that needs an approval was made without"


def limits(tables: MemoryDatabase) -> Iterator[str]:
    """What a run and all below it have done is within the limit of steps that its log ends with: limits are only raised."""
    done: Counter[str] = Counter()
    for run_id, rows in tables.events.items():
        root, row = run_id, tables.runs[run_id]
        while row.parent is not None:
            root, row = row.parent, tables.runs[row.parent]
        done[root] += sum(row.type in _DONE and data_of(row).get("recalled") is None for row in own(rows))
    for run_id, count in sorted(done.items()):
        changes = (data_of(row) for row in own(tables.events[RunId(run_id)]) if row.type in ("run_started", "run_forked", "run_resumed"))
        limit = None
        for data in changes:
            limit = (data.get("budget") or {}).get("max_steps", limit)
        if limit is not None and count > limit:
            yield f"run {run_id}: it and its children have done {count} steps, {limit} are allowed"


_DONE = frozenset({"tool_call_completed", "step_completed", "step_failed"})


def positions(tables: MemoryDatabase) -> Iterator[str]:
    """Positions are dense, the audit log has every event once and in order, and what is published is what is committed."""
    for partition, rows in sorted(tables.by_partition.items()):
        found = [row.position for row in rows]
        if found != list(range(1, len(found) + 1)):
            yield f"partition {partition}: positions {found}"
    leaves = tables.audit.leaves
    audited = Counter(leaves[at : at + 32] for at in range(0, len(leaves), 32))
    for run_id, events in sorted(tables.events.items()):
        for seq, event in sorted(events.items()):
            times = audited[event_leaf(run_id, seq, event.body)]
            if times != 1:
                yield f"run {run_id}: event {seq} ({event.type}) is {times} times in the audit log"
    if tables.audit.state.size * 32 != len(leaves):
        yield f"the audit log says that it has {tables.audit.state.size} leaves, it has {len(leaves) // 32}"


def heads(tables: MemoryDatabase) -> Iterator[str]:
    """Every signed head is one of this log: signed by its key, with the root that its leaves make; and something was signed."""
    tree, at = GrowingTree(), 0
    ring = Keyring([row.note for _, row in sorted(tables.audit.keys.items())], [SIGNING_KEY.verifier])
    yield from ring.problems
    for (size, _), row in sorted(tables.audit.heads.items()):
        tree.extend(bytes(tables.audit.leaves[at * 32 : size * 32]))
        at = size
        head, note = parse_head(row.note)
        fault = ring.fault(head, note)
        if fault or (head.size, head.root) != (tree.size, tree.root):
            yield f"the head of {size} leaves is not of this log: {fault or 'another root'}"
    if tables.audit.leaves and not tables.audit.heads:
        yield f"nothing was signed over {len(tables.audit.leaves) // 32} leaves"


def published(tables: MemoryDatabase, stored: set[tuple[str, int]]) -> Iterator[str]:
    """Every event reached the events stream at some time."""
    for run_id, events in sorted(tables.events.items()):
        for seq, event in sorted(events.items()):
            if (run_id, seq) not in stored:
                yield f"run {run_id}: event {seq} ({event.type}) never reached the events stream"


def effects(tables: MemoryDatabase, provider: Provider) -> Iterator[str]:
    """At most one effect per key; exactly one for each payment that a run knows to have been made."""
    for key, count in sorted(provider.effects.items()):
        if count > 1:
            yield f"key {key}: {count} effects"
    for run_id, rows in sorted(tables.events.items()):
        for row in own(rows):
            if row.type == "tool_call_completed" and (data := data_of(row)).get("recalled") is None:
                made = provider.effects[f"{run_id}/{data['call_id']}"]
                if data["tool"] == "pay" and made != 1:
                    yield f"run {run_id}: payment {data['call_id']} is recorded as made, {made} were"


def ends(tables: MemoryDatabase, orders: list[Order], expected: dict[tuple[str, int], bytes]) -> Iterator[str]:
    """Every accepted run has ended, as it would have without trouble, or cancelled if its customer asked for that."""
    for order in orders:
        yield from _end(tables, order, expected)
    roots = sum(row.parent is None and FORK_LABEL not in row.labels for row in tables.runs.values())
    if roots > len(orders):
        yield f"{len(orders)} orders were placed, {roots} runs were started"
    for run_id, row in sorted(tables.runs.items()):
        if row.open:
            yield f"run {run_id} ({row.agent}, parent {row.parent}) is open: {row.status} {row.state.decode()[:1500]}"


def _end(tables: MemoryDatabase, order: Order, expected: dict[tuple[str, int], bytes]) -> Iterator[str]:
    if order.run_id is None:
        yield f"order {order.number} ({order.agent}) was never accepted: {order.notes[-3:]}"
        return
    name, row = f"run {order.run_id} ({order.agent}, order {order.number})", tables.runs.get(order.run_id)
    if row is None:
        yield f"{name} was accepted and is lost"
    elif row.open:
        yield f"{name} has not ended: {row.status} {row.state.decode()[:1500]}"
    elif row.status == "cancelled":
        if order.cancel_after is None:
            yield f"{name} is cancelled and nobody asked for it"
    elif row.status == "failed" and order.deadline is not None and b"DeadlineExceeded" in (row.outcome or b""):
        yield from _too_early(tables, order.run_id)
    elif row.status != "completed":
        yield f"{name} {row.status}: {row.outcome!r}"
    elif expected and row.outcome != expected[order.agent, order.input]:
        yield f"{name}: result {row.outcome!r} instead of {expected[order.agent, order.input]!r}"


def _too_early(tables: MemoryDatabase, run_id: RunId) -> Iterator[str]:
    """A run that its deadline ended, before it."""
    rows = tables.events[run_id]
    deadline = decode(RunStarted, decode(Event, rows[1].body).data).deadline_at
    ended = min(row.recorded_at for row in rows.values() if row.type in ("run_ending", "run_failed"))
    if deadline is None or ended < deadline - CLOCK_SECONDS:
        yield f"run {run_id} failed by its deadline {deadline} at {ended}"


def _failed(tables: MemoryDatabase, run_id: RunId, call_id: str) -> bool:
    rows = tables.events[run_id].values()
    return any(row.type == "tool_call_failed" and data_of(row)["call_id"] == call_id for row in rows)


def leftovers(tables: MemoryDatabase) -> Iterator[str]:
    """Nothing that belongs to a run outlives it."""
    for (run_id, call_id), record in sorted(tables.ledger.items()):
        failed = record.permit.effect != "unsafe" and record.state == "started"  # its gateway died, and a deadline or an end came first
        refused = record.state == "permitted" and _failed(tables, run_id, call_id)  # too late to start, or not allowed: nobody will
        by_people = record.state == "doubt" and record.permit.tool == "wire"  # the ledger keeps what the gateway knew
        if record.state in ("started", "doubt", "permitted") and not (by_people or failed or refused):
            yield f"run {run_id} has ended, its call {call_id} is {record.state} in the ledger"
    yield from (f"message {message_id} is in the inbox for ever" for message_id in sorted(tables.inbox))
    yield from (f"approval {row.approval_id} is open for ever" for row in tables.approvals.values() if row.state == "open")
    for dead_id, record in tables.dead.items():
        if POISON not in record.body:
            yield f"dead letter {dead_id} from {record.origin}: {record.reason}"
