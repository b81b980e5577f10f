"""What must hold after a storm, judged from outside: by the provider's effects, by Postgres, and by what customers were told.

Each check yields what is wrong, in words. Nothing here looks into a service.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec

from tests.chaos.storm.customers import Hold, Order
from tests.chaos.storm.programs import EXPECTED
from tests.chaos.storm.provider import Effect
from tests.states import differ
from waypost_proto.codec import decode
from waypost_proto.events import TERMINAL_TYPES, Event

RESULTS = frozenset(
    {"tool_call_completed", "tool_call_failed", "tool_call_cancelled", "step_completed", "step_failed", "child_completed", "child_failed"}
)
DOUBT_ENDS = RESULTS | {"tool_call_in_doubt", "tool_attempt_failed"}
TIMER_ENDS = frozenset({"timer_fired", "timer_cancelled"})
EFFECTS = frozenset({"pay", "wire", "post"})
CLOCK_SECONDS = 0.5
"""What the coordinator's idea of the database's time may be off."""


def log_of(run_id: str, events: Sequence[Event], state: bytes) -> Iterator[str]:
    """One run's log by itself: gapless, one end, one result each, times in order, and its fold is the stored state."""
    seqs = [event.seq for event in events]
    if seqs != list(range(1, len(seqs) + 1)):
        yield f"run {run_id}: the log has the seqs {seqs}"
        return
    types = [event.type for event in events]
    if any(kind in TERMINAL_TYPES for kind in types[:-1]):
        yield f"run {run_id}: events after the end: {types}"
    times = [event.recorded_at for event in events]
    if times != sorted(times):
        yield f"run {run_id}: recorded_at runs backwards"
    results: Counter[tuple[str, str]] = Counter()
    for event in events:
        if event.type in RESULTS | TIMER_ENDS:
            results["timer" if event.type in TIMER_ENDS else "call", str(msgspec.json.decode(event.data)["call_id"])] += 1
    yield from (f"run {run_id}: {count} results of {kind} {key}" for (kind, key), count in results.items() if count > 1)
    difference = differ(events, state)
    if difference:
        yield f"run {run_id}: the stored state is not the fold of the log:\n  {difference}"


def order_of(order: Order, row: Mapping[str, Any] | None) -> Iterator[str]:
    """What a customer was promised: the run is there, has ended, with the right result, or cancelled because that was asked for."""
    who = f"run {order.run_id} ({order.agent} {order.number}, order {order.key})"
    if row is None:
        yield f"{who} was accepted and is lost"
    elif row["open"]:
        yield f"{who} has not ended: {row['status']}"
    elif row["status"] == "cancelled":
        if order.cancel_after is None:
            yield f"{who} is cancelled and nobody asked for it"
    elif row["status"] != "completed":
        yield f"{who} {row['status']}: {row['outcome']!r}"
    else:
        outcome = msgspec.json.decode(row["outcome"])
        expected = EXPECTED[order.agent](order.number)
        if outcome.get("result", outcome) != expected:
            yield f"{who}: result {outcome!r} instead of {expected!r}"


def effects_of(effects: Iterable[Effect], logs: Mapping[str, Sequence[Event]], ends: Mapping[str, float]) -> Iterator[str]:
    """At most one effect per key; exactly one for each that a run knows of; none that a completed run does not; none after the end."""
    counts: Counter[str] = Counter()
    known = {run_id: set(_recorded(events)) for run_id, events in logs.items()}
    for effect in effects:
        counts[effect["key"]] += 1
        if effect["run"] in known and logs[effect["run"]][-1].type == "run_completed" and effect["key"] not in known[effect["run"]]:
            yield f"run {effect['run']}: {effect['op']} {effect['key']} took effect, and the run completed without knowing of it"
        late = effect["at"] - ends.get(effect["run"], float("inf"))
        if late > CLOCK_SECONDS:
            yield f"run {effect['run']}: {effect['op']} {effect['key']} took effect {late:.2f} s after the run's end"
    yield from (f"key {key}: {count} effects" for key, count in counts.items() if count > 1)
    for keys in known.values():
        yield from (f"key {key}: recorded as made, and made {counts[key]} times" for key in keys if counts[key] != 1)


def _recorded(events: Sequence[Event]) -> Iterator[str]:
    """The idempotency keys of what a run knows to have been made."""
    for event in events:
        if event.type == "tool_call_completed":
            data = msgspec.json.decode(event.data)
            if data["tool"] in EFFECTS:
                yield f"{event.run_id}/{data['call_id']}"


def holds_of(holds: Iterable[Hold], effects: Iterable[Effect]) -> Iterator[str]:
    """Nothing takes effect after a confirmed cancel or pause but what had been started before."""
    by_run: defaultdict[str, list[Effect]] = defaultdict(list)
    for effect in effects:
        by_run[effect["run"]].append(effect)
    for hold in holds:
        for effect in by_run[hold.run_id]:
            if hold.started is not None and hold.since < effect["at"] < hold.until and effect["key"] not in hold.started:
                late = effect["at"] - hold.since
                yield f"run {hold.run_id}: {effect['op']} {effect['key']} took effect {late:.2f} s after {hold.verb} was confirmed"


def doubts_of(doubts: Iterable[Mapping[str, Any]], logs: Mapping[str, Sequence[Event]]) -> Iterator[str]:
    """What the ledger shows as in doubt was settled in the log: by a person, of whom the ledger does not know.

    Settled as not done, it has no result yet: a run that is cancelled before the next attempt ends with a failed attempt.
    """
    for row in doubts:
        events = logs.get(row["run_id"], ())
        said = [event.type for event in events if event.type in DOUBT_ENDS and msgspec.json.decode(event.data)["call_id"] == row["call_id"]]
        if events and (not said or said[-1] == "tool_call_in_doubt"):
            yield f"run {row['run_id']} has ended, its call {row['call_id']} is in doubt"


DOUBTS = "select run_id::text, call_id from tool_ledger where state = 'doubt'"
QUERIES = {
    "run {run_id} ({agent}, parent {parent}) is open: {status}": "select run_id, agent, parent, status from runs where open",
    "partition {partition}: {count} events, positions {low} to {high}, {position} in its row": """
        select p.partition, p.position, count(e.position), coalesce(min(e.position), 0) low, coalesce(max(e.position), 0) high
        from partitions p left join events e using (partition) group by 1, 2
        having count(e.position) <> coalesce(max(e.position), 0) or coalesce(min(e.position), 1) <> 1
            or coalesce(max(e.position), 0) <> p.position""",
    "run {run_id} has ended, its call {call_id} is {state} in the ledger":
        "select run_id, call_id, state from tool_ledger where state in ('permitted', 'started')",
    "message {message_id} of run {run_id} is in the inbox for ever": "select message_id, run_id from inbox",
    "approval {approval_id} of run {run_id} is open for ever": "select approval_id, run_id from approvals where state = 'open'",
    "timer {timer_id} of run {run_id} is overdue":  # those of an ended run go when they are due
        "select timer_id, run_id from timers where due_at < clock_timestamp() - interval '30 seconds'",
    "dead letter {dead_id} from {origin}: {reason}": "select dead_id, origin, reason from dead",
    "audit: {leaves} leaves, {spanned} in spans, the log says {size}":
        """select size, coalesce(leaves, 0) leaves, coalesce(spanned, 0) spanned from (select coalesce(max(size), 0) size from audit_log) l,
        (select sum(length(hashes) / 32) leaves from audit_leaves) h, (select sum(count) spanned from audit_spans) s
        where coalesce(leaves, 0) <> size or coalesce(spanned, 0) <> size""",
    "audit: the leaf of position {position} of partition {partition} is not that of its event":
        """select s.partition, p.at as position from audit_spans s
        left join audit_leaves l on s.index >= l.index and s.index < l.index + l.count
        cross join lateral generate_series(s.position, s.position + s.count - 1) as p (at)
        left join events e on e.partition = s.partition and e.position = p.at
        where e.data is null or sha256('\\x0001'::bytea || uuid_send(e.run_id) || int8send(e.seq) || e.data)
           is distinct from substring(l.hashes from ((s.index - l.index + p.at - s.position) * 32 + 1)::integer for 32)""",
}  # fmt: skip
"""What is wrong when the query has a row, over the whole database."""
UNAUDITED = "select count(*) from events e left join audit_cursors c using (partition) where e.position > coalesce(c.position, 0)"


def rows_of(text: str, rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """The rows of one of `QUERIES`, in words."""
    for row in rows:
        yield text.format(**dict(row))


def events_of(rows: Iterable[Mapping[str, Any]]) -> dict[str, list[Event]]:
    """Events by run, in order."""
    logs: defaultdict[str, list[Event]] = defaultdict(list)
    for row in rows:
        logs[str(row["run_id"])].append(decode(Event, row["data"]))
    return logs
