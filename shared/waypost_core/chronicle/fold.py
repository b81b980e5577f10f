"""The fold of a run's chronicle: the run itself, its pauses, and notes; it sends calls and waits to their families.

Unlike a state of the run it forgets nothing: its size is the log's. Feed it a run that somebody wants to read.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Final

from msgspec import UNSET, DecodeError, Raw, UnsetType, json, structs

from waypost_core import genai
from waypost_core.chronicle import calls, waiting
from waypost_core.chronicle.entries import Account, Entry, Totals, when
from waypost_core.chronicle.now import pending_of
from waypost_core.chronicle.sentences import counted
from waypost_core.tracing.capture import Capture
from waypost_proto import events as ev
from waypost_proto.forks import Recalled
from waypost_proto.ids import RunId
from waypost_proto.task import parse_time
from waypost_proto.usage import Lease, Usage, usd_of
from waypost_proto.values import BlobRef, Budget

EVERYTHING: Final = Capture(intent=True, content=True)
"""Shows all that the log has; a command puts the operator's redaction in."""
_DECODER: Final = json.Decoder(ev.AnyData)
_LIMITS = {"max_steps": "steps", "max_tokens": "tokens", "max_cost_usd": "US dollars", "max_seconds": "seconds", "max_repeats": "repeats"}


class Chronicle:
    """One run's. `feed` it every event from the first; `account` may be asked at any time."""

    def __init__(self, run_id: RunId, capture: Capture = EVERYTHING) -> None:
        self.run_id = run_id
        self.capture = capture
        self.seq = 0
        self.entries: list[Entry] = []
        self.open: dict[str, Entry] = {}
        """Calls and waits that have not ended, by call id."""
        self.signals: dict[str, list[Entry]] = {}
        """What arrived before anybody waited, by the signal's name."""
        self.totals = Totals()
        self.cost_micros = self.children_micros = 0
        self.start: ev.RunStarted | None = None
        self.agent = self.build = self.tenant = self.correlation_id = ""
        self.budget = Budget()
        self.began = self.last = when(0)
        self.ended: datetime | None = None
        self.deadline: datetime | None = None
        self.status = "open"
        self.outcome = self.result = self.error = ""
        self.pause: Entry | None = None
        self.trip = ""
        """Why the breaker tripped, until the pause that follows."""
        self.unread = 0
        """The last event that the agent's code is to be given and has not seen; 0: none."""
        self.unread_since = self.began
        self.running = 0
        """Local steps that a worker has said it works on."""

    def feed(self, event: ev.Event) -> Entry | None:
        """Take the next event; the entry that it began or changed, if any. Feeding twice, or after a gap, raises `ValueError`.

        Types of a newer version are counted and noted, never refused.
        """
        if event.seq != self.seq + 1:
            raise ValueError(f"event {event.seq} of run {self.run_id} does not follow event {self.seq}: feed every event once, in order")
        self.seq = self.totals.events = event.seq
        at = self.last = when(parse_time(event.recorded_at))
        try:
            data: ev.Data = _DECODER.decode(event.data)
        except DecodeError:
            unknown = self.note(at, f"an event of type {event.type}, which this version does not know")
            if event.type in ev.TERMINAL_TYPES:
                self.end(at, event.type.removeprefix("run_"), "how, this version cannot read")
            return unknown
        if isinstance(data, ev.RunStarted):
            self._begin(event, data, at)
        handler = HANDLERS.get(type(data))
        entry = None if handler is None else handler(self, at, data)
        recalled = getattr(data, "recalled", None)
        if entry is not None and isinstance(recalled, Recalled) and recalled.seq:
            entry.more = [*entry.more, f"repeated from the source's log (its event {recalled.seq}): nothing was done or paid for again"]
        if event.type in ev.OUTSIDE:
            if not self.unread:
                self.unread_since = at
            self.unread = event.seq
        if isinstance(data, ev.FromWorker) and data.mark is not None:
            self.build = data.mark.build or self.build
            self.running = data.mark.running
            if self.unread and data.mark.seen >= self.unread:
                self.unread = 0
        return entry

    def account(self) -> Account:
        """All of it so far. Before the first event there is nothing to tell: `ValueError`."""
        start = self.start
        if start is None:
            raise ValueError(f"run {self.run_id} has no event: nothing can be told")
        self.totals.cost_usd, self.totals.children_cost_usd = usd_of(self.cost_micros), usd_of(self.children_micros)
        return Account(
            run_id=self.run_id,
            agent=self.agent,
            status=self.status,
            outcome=self.outcome,
            build=self.build,
            tenant=self.tenant,
            started_by=start.starter,
            started_at=self.began,
            ended_at=self.ended,
            deadline=self.deadline,
            parent_run="" if start.parent is None else start.parent.run_id,
            parent_agent="" if start.parent is None else start.parent.agent,
            correlation_id=self.correlation_id,
            idempotency_key=start.idempotency_key or "",
            labels=start.labels,
            budget=self.budget,
            input=self.value(genai.INPUT, start.input, start.input_ref),
            result=self.result,
            error=self.error,
            totals=self.totals,
            entries=self.entries,
            pending=pending_of(self),
        )

    # -- what the families use

    def add(self, entry: Entry) -> Entry:
        """A new entry; it is open under its call id until it has ended."""
        self.entries.append(entry)
        if entry.call_id and entry.ended is None:
            self.open[entry.call_id] = entry
        return entry

    def note(self, at: datetime, text: str, by: str = "") -> Entry:
        """Something that happened at one moment."""
        return self.add(Entry(kind="note", seq=self.seq, began=at, ended=at, outcome="completed", text=text, by=by))

    def close(self, call_id: str, at: datetime, outcome: Any, **fields: Any) -> Entry | None:
        """The entry under `call_id` has ended; None if there is none (a log that began before what this version knows)."""
        entry = self.open.pop(call_id, None)
        if entry is None:
            return None
        entry.ended, entry.outcome = at, outcome
        for name, value in fields.items():
            setattr(entry, name, value)
        for wait in entry.waits:
            wait.ended = wait.ended or at
        return entry

    def value(self, name: str, value: Raw | UnsetType, ref: BlobRef | UnsetType) -> str:
        """A recorded value as the policy shows it."""
        return " ".join(self.capture.value(name, value, ref).split())

    def used(self, usage: Usage | None, entry: Entry | None) -> None:
        """A call said what it used."""
        if usage is not None:
            self.cost_micros += usage.cost_micros
            if entry is not None:
                entry.cost_usd = usd_of(usage.cost_micros)

    def words(self, text: str) -> str:
        """What somebody wrote: shown, but redacted."""
        return " ".join(self.capture.error(text).split())

    # -- the run

    def _begin(self, event: ev.Event, data: ev.RunStarted, at: datetime) -> None:
        self.start, self.began, self.budget = data, at, data.budget
        self.deadline = None if data.deadline_at is None else when(data.deadline_at)
        self.agent, self.tenant, self.correlation_id = event.agent, event.tenant, event.correlation_id

    def end(self, at: datetime, status: str, outcome: str) -> None:
        """The run has ended: so has all that was open."""
        self.status, self.outcome, self.ended = status, outcome, at
        for call_id in list(self.open):
            self.close(call_id, at, "dropped")
        if self.pause is not None:
            self.pause.ended, self.pause.outcome, self.pause = at, "dropped", None
        self.unread = 0


def _tripped(tale: Chronicle, _at: datetime, data: ev.BreakerTripped) -> None:
    if data.limit == "divergence":
        tale.trip = f"the agent's code no longer does what the log says it did: {tale.words(data.message)}"
    else:
        tale.trip = tale.words(data.message) or f"{data.limit} reached: {data.value:g} of {data.maximum:g}"


def _looped(tale: Chronicle, _at: datetime, data: ev.LoopDetected) -> None:
    tale.trip = f"it goes in circles: {tale.words(data.message)} (events {', '.join(map(str, data.seqs))})"


def _paused(tale: Chronicle, at: datetime, data: ev.RunPaused) -> Entry:
    why = tale.words(data.reason)
    text = tale.trip if not why or why in tale.trip else f"{why}: {tale.trip}" if tale.trip and tale.trip not in why else why
    entry = tale.pause = tale.add(Entry(kind="pause", seq=tale.seq, began=at, text=text, by=data.by))
    tale.status, tale.trip = "paused", ""
    return entry


def _resumed(tale: Chronicle, at: datetime, data: ev.RunResumed) -> Entry | None:
    entry, tale.pause = tale.pause, None
    tale.status = "open"
    limits = (
        []
        if data.budget is None
        else [f"{name} {value:g}" for name in data.budget.__struct_fields__ if (value := getattr(data.budget, name))]
    )
    if data.budget is not None:
        new = {name: value for name in data.budget.__struct_fields__ if (value := getattr(data.budget, name)) is not None}
        tale.budget = structs.replace(tale.budget, **new)
    if entry is None:
        return None
    entry.ended, entry.outcome, entry.via = at, "resumed", data.by
    if limits:
        entry.more = [*entry.more, f"new limits: {', '.join(limits)}"]
    return entry


def _instructed(tale: Chronicle, at: datetime, data: ev.InstructionAdded) -> Entry:
    return tale.note(at, f"the agent was told: {tale.words(data.text)}", data.by)


def _warned(tale: Chronicle, at: datetime, data: ev.LimitWarning) -> Entry:
    return tale.note(at, f"a limit is near: {data.value:g} of {data.maximum:g} {_LIMITS.get(data.limit, data.limit)}")


def _deadline(tale: Chronicle, at: datetime, data: ev.DeadlineNear) -> Entry:
    return tale.note(at, f"the deadline is near: {when(data.deadline_at):%Y-%m-%d %H:%M:%S} UTC")


def _escalated(tale: Chronicle, at: datetime, data: ev.NoticeEscalated) -> Entry:
    text = f"nobody acted: level {data.level} of the supervisors{f' ({data.to})' if data.to else ''} was told"
    entry = tale.open.get(data.call_id or "") or tale.pause
    if entry is None:
        return tale.note(at, text)
    entry.more = [*entry.more, f"{text} at {at:%H:%M:%S} UTC"]
    return entry


def _leased(tale: Chronicle, at: datetime, data: ev.LeaseAsked | ev.LeaseReceived | ev.LeaseGranted) -> Entry:
    match data:
        case ev.LeaseAsked():
            return tale.note(at, f"it asked its parent for more budget: {_amount(data.need)}")
        case ev.LeaseReceived():
            return tale.note(at, f"its parent gave more budget: {_amount(data.lease)} in all")
        case _:
            return tale.note(at, f"child run {data.child_run_id} was given more budget: {_amount(data.lease)} in all")


def _amount(amount: Usage | Lease) -> str:
    parts = [counted(amount.steps, "step") if amount.steps else "", counted(amount.tokens, "token") if amount.tokens else ""]
    parts.append(f"{usd_of(amount.cost_micros):g} USD" if amount.cost_micros else "")
    return ", ".join(part for part in parts if part) or "nothing limited"


def _state(tale: Chronicle, at: datetime, data: ev.StateChanged) -> Entry:
    shown = tale.value(genai.OUTPUT, data.value, UNSET)
    return tale.note(at, f"it shows its state: {shown}" if shown else "it shows a new state")


def _checkpoint(tale: Chronicle, at: datetime, data: ev.CheckpointSaved) -> Entry:
    entry = Entry(kind="checkpoint", seq=tale.seq, began=at, ended=at, outcome="completed", name=data.namespace)
    entry.text = f"step {data.number} ({data.source})" if data.source else f"step {data.number}"
    return tale.add(entry)


def _ending(tale: Chronicle, at: datetime, data: ev.RunEnding) -> Entry:
    tale.status = "ending"
    why = f": {tale.words(data.reason)}" if data.reason else f": {tale.words(data.error.message)}" if data.error is not None else ""
    return tale.note(at, f"it is to end as {data.outcome}{why}; what has started and cannot be dropped is still awaited", data.by)


def _completed(tale: Chronicle, at: datetime, data: ev.RunCompleted) -> None:
    tale.result = tale.value(genai.OUTPUT, data.result, data.result_ref)
    tale.end(at, "completed", "the agent's code returned its result")


def _failed(tale: Chronicle, at: datetime, data: ev.RunFailed) -> None:
    tale.error = f"{data.error.type}: {tale.words(data.error.message)}"
    why = {"DeadlineExceeded": "its deadline passed", "NondeterminismError": "its code diverged from the log"}
    tale.end(at, "failed", why.get(data.error.type, "the agent's code raised an error that it did not handle"))


def _cancelled(tale: Chronicle, at: datetime, data: ev.RunCancelled) -> None:
    by = f" by {data.by}" if data.by else ""
    tale.end(at, "cancelled", f"it was cancelled{by}{f': {tale.words(data.reason)}' if data.reason else ''}")


def _forked(tale: Chronicle, at: datetime, data: ev.RunForked) -> Entry:
    """What precedes is the source's: it was not paid for by this run, and its pause and its limits are not this run's."""
    if tale.pause is not None:
        tale.pause.ended, tale.pause.outcome, tale.pause = at, "dropped", None
    tale.status, tale.trip, tale.cost_micros, tale.children_micros = "open", "", 0, 0
    tale.totals = Totals(events=tale.totals.events)
    tale.budget = data.budget
    tale.deadline = None if data.deadline_at is None else when(data.deadline_at)
    how = {"recorded": "tools answer what the source's did", "deny": "tools are denied", "live": "tools are called"}[data.tools]
    changed = " with another input" if data.changed else ""
    return tale.note(
        at, f"forked from run {data.source} at event {data.seq}{changed}: what precedes is a copy; {how} from here on", data.by
    )


def _tools_changed(tale: Chronicle, at: datetime, data: ev.ForkToolsChanged) -> Entry:
    return tale.note(at, f"from here on its tools are {data.tools}", data.by)


HANDLERS: Final[dict[type[ev.Data], Callable[[Chronicle, datetime, Any], Entry | None]]] = {
    **calls.HANDLERS,
    **waiting.HANDLERS,
    ev.BreakerTripped: _tripped,
    ev.LoopDetected: _looped,
    ev.RunPaused: _paused,
    ev.RunResumed: _resumed,
    ev.InstructionAdded: _instructed,
    ev.LimitWarning: _warned,
    ev.DeadlineNear: _deadline,
    ev.NoticeEscalated: _escalated,
    ev.LeaseAsked: _leased,
    ev.LeaseReceived: _leased,
    ev.LeaseGranted: _leased,
    ev.RunForked: _forked,
    ev.ForkToolsChanged: _tools_changed,
    ev.StateChanged: _state,
    ev.CheckpointSaved: _checkpoint,
    ev.RunEnding: _ending,
    ev.RunCompleted: _completed,
    ev.RunFailed: _failed,
    ev.RunCancelled: _cancelled,
}
