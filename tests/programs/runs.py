"""One run as the coordinator has it: decided and folded by the real core, so that its journal is its event log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
from msgspec import Raw

from waypost_core.decide import decide
from waypost_core.decision import Decision
from waypost_core.effects import AnyEffect
from waypost_core.evolve import evolve, initial
from waypost_core.messages import AnyMessage, Env
from waypost_core.react import react
from waypost_core.state import RunState
from waypost_proto import events as ev
from waypost_proto import mailbox as mb
from waypost_proto.codec import decode_union, encode
from waypost_proto.ids import CallId, RunId
from waypost_proto.task import format_time, parse_time
from waypost_proto.work import Entry


@dataclass(frozen=True, slots=True)
class Logged:
    """One committed event."""

    seq: int
    at: float
    data: ev.AnyData
    cause: str = ""

    @property
    def type(self) -> str:
        return str(type(self.data).__struct_config__.tag)


class Run:
    """`tell` decides a message and commits its events."""

    def __init__(self, run_id: RunId, agent: str) -> None:
        self.run_id = run_id
        self.agent = agent
        self.log: list[Logged] = []
        self.journal: list[Entry] = []
        """What `runs.journal` answers: outside events and the worker's own."""
        self.requested: set[CallId] = set()
        self.recorded_steps: set[CallId] = set()
        self._state: RunState | None = None

    @staticmethod
    def recorded(events: Sequence[ev.Event]) -> Run:
        """A run as a real log has it. Raises `AssertionError` for a log that no run may have."""
        run = Run(events[0].run_id, events[0].agent)
        run._state = initial(events[0])
        for event in events:
            assert event.seq == len(run.log) + 1, f"event {event.seq} after {len(run.log)} events"
            run._append(Logged(event.seq, parse_time(event.recorded_at), decode_union(ev.AnyData, event.data), event.cause))
        return run

    @property
    def state(self) -> RunState:
        assert self._state is not None, f"run {self.run_id} was never started"
        return self._state

    def tell(self, message: AnyMessage, env: Env) -> tuple[Decision, list[AnyEffect]]:
        """The decision on `message`, its events in the log, and what follows from them."""
        decision = decide(self._state, message, env)
        if decision.events and self._state is None:
            correlation = message.correlation_id if isinstance(message, mb.StartRun) else None
            self._state = RunState(run_id=self.run_id, agent=self.agent, correlation_id=correlation or self.run_id)
            for event in decision.history:
                if event.seq == 1:
                    self._state = initial(event)
                self._append(Logged(event.seq, parse_time(event.recorded_at), decode_union(ev.AnyData, event.data)))
        first, cause = len(self.log) + 1, decision.cause
        for data in decision.events:
            self._append(Logged(len(self.log) + 1, env.now, data, cause))  # type: ignore[arg-type]
            cause = ""
        effects = list(decision.effects)
        for offset, data in enumerate(decision.events):
            effects.extend(react(self.state, first + offset, data))
        return decision, effects

    def fresh_entries(self) -> list[Entry]:
        """The outside events that no accepted advance has seen."""
        return [entry for entry in self.journal if entry.seq > self.state.seen and entry.type in ev.OUTSIDE]

    def events(self) -> list[ev.Event]:
        """The log as the coordinator stores it."""
        return [
            ev.Event(
                run_id=self.run_id, seq=e.seq, type=e.type, agent=self.agent, correlation_id=self.state.correlation_id,
                recorded_at=format_time(e.at), cause=e.cause, data=Raw(encode(e.data)),
            )
            for e in self.log
        ]  # fmt: skip

    def _append(self, event: Logged) -> None:
        assert not self.log or self.log[-1].type not in TERMINAL, f"{event.type} after the end of run {self.run_id}"
        self._count(event.data)
        evolve(self.state, event.seq, event.at, event.data, event.cause)
        self.log.append(event)
        if event.type in ev.OUTSIDE or isinstance(event.data, ev.FromWorker):
            recalled = getattr(event.data, "recalled", None)
            at = event.at if recalled is None else recalled.at
            self.journal.append(Entry(seq=event.seq, type=event.type, at=at, data=Raw(encode(event.data))))

    def _count(self, data: ev.AnyData) -> None:
        """No command twice, no step recorded twice."""
        match data:
            case ev.ToolCallRequested() | ev.ChildRequested() | ev.TimerStarted() | ev.SignalAwaited() | ev.StepRequested():
                assert data.call_id not in self.requested, f"{data.call_id} was asked for twice in run {self.run_id}"
                self.requested.add(data.call_id)
            case ev.StepCompleted() | ev.StepFailed():
                assert data.call_id not in self.recorded_steps, f"step {data.call_id} was recorded twice in run {self.run_id}"
                self.recorded_steps.add(data.call_id)

    def check_fold(self) -> None:
        """The log alone gives the state."""
        folded = RunState(run_id=self.run_id, agent=self.agent, correlation_id=self.state.correlation_id)
        for event in self.log:
            evolve(folded, event.seq, event.at, event.data, event.cause)
        assert msgspec.json.encode(folded) == msgspec.json.encode(self.state), "the fold of the log is not the live state"


TERMINAL = frozenset({"run_completed", "run_failed", "run_cancelled"})
