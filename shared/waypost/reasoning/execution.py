"""One reasoning run in memory: an `AgentExecution` without a coroutine. It folds what happens, and asks `decide` what comes next.

What it issues is folded in the same way as what it reads from a journal, so that live and replay cannot differ. Of its own it knows only
what no journal holds: which model call is under way, and what was not taken yet.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from msgspec import UNSET, Raw, structs

from waypost.execution.effects import EffectResult, LocalEffect, failure_of
from waypost.execution.execution import recalled_step, refs_of
from waypost.execution.ports import Beginning
from waypost.execution.steps import LocalSteps
from waypost.models.messages import ModelRequest
from waypost.reasoning.asking import model_effect
from waypost.reasoning.deciding import Ask, decide
from waypost.reasoning.facts import fact_of
from waypost.reasoning.folding import Keep, fold, value_of
from waypost.reasoning.handing_over import input_of
from waypost.reasoning.options import CHARS_PER_TOKEN
from waypost.reasoning.requests import request_of
from waypost.reasoning.state import Answer, CannotFold, State
from waypost_proto import commands as cmd
from waypost_proto import events as ev
from waypost_proto.codec import decode, decode_union, encode
from waypost_proto.commands import AnyItem
from waypost_proto.errors import BadInput, BadMessage, ContractError, NotFound
from waypost_proto.ids import CallId
from waypost_proto.values import Failure
from waypost_proto.work import Entry

if TYPE_CHECKING:
    from waypost.reasoning.agent import ReasoningAgent

_NO_BLOBS: Mapping[str, bytes] = {}
_COUNTED = (cmd.CallTool, cmd.StartChild, cmd.FinishStep)
"""What takes a step from the allowance."""


class ReasoningExecution:
    """See the module, and `waypost.execution.ports.AgentExecution`."""

    def __init__(self, agent: ReasoningAgent[Any, Any], beginning: Beginning) -> None:
        self.finished = False
        self.diverged = False
        self.state = State()
        """The folded journal; to be read only."""
        self._agent = agent
        self._run_id = self._identity = beginning.run_id
        self._recalls = False
        self._notes: dict[int, int] = {}
        """In a fork, what the source had heard: our seq → its seq."""
        self._start_effect = beginning.start_effect
        self._steps = LocalSteps(beginning.steps_left, self._request_step)
        self._seen = self._floor = 0
        self._items: list[AnyItem] = []
        self._asked: CallId | None = None
        self._replaying = self._begun = False
        self._closed = False
        self._instructions: str | None = None
        window = agent.plan.window
        self._keep = Keep(result=window.max_result_chars, opening=window.max_tokens * CHARS_PER_TOKEN // 2)

    @property
    def seen(self) -> int:
        """Seq of the last outside event that it was given."""
        return self._seen

    @property
    def running(self) -> int:
        """Model calls handed out and not yet finished."""
        return self._steps.running

    # -- what the worker tells

    def replay(self, journal: Sequence[Entry], seen: int, blobs: Mapping[str, bytes] | None = None) -> None:
        """Fold the journal in the order in which the run lived it: what a worker reported comes after the outside events it had seen."""
        if self._seen or self._items:
            raise ContractError(f"run {self._run_id}: replay comes first and once; make a new execution")
        blobs = self._checked(journal, blobs)
        entries = sorted(journal, key=lambda entry: entry.seq)
        outside = [entry for entry in entries if entry.type in ev.OUTSIDE and entry.seq <= seen]
        own = [decode_union(ev.AnyData, entry.data) for entry in entries if entry.type not in ev.OUTSIDE]
        requested = {data.call_id: data.attempt for data in own if isinstance(data, ev.StepRequested)}
        self._replaying = True
        self._begun = bool(own)
        self._floor = seen
        try:
            given = 0
            for data in own:
                while given < len(outside) and outside[given].seq <= getattr(data, "seen", 0):
                    self._give(outside[given], blobs)
                    given += 1
                fold(self.state, data, value_of(data, blobs), 0, self._keep)
            for entry in outside[given:]:
                self._give(entry, blobs)
        except CannotFold as difference:
            self._diverge(difference)
            return
        self.finished = self.state.ended
        self._go_on()
        self._replaying = False
        if not self._over:
            self._steps.release(requested)
        self.feed([entry for entry in entries if entry.type in ev.OUTSIDE and entry.seq > seen], blobs)

    def feed(self, entries: Sequence[Entry], blobs: Mapping[str, bytes] | None = None) -> None:
        """Fold new outside events and go on. Entries up to `seen` are skipped, so feeding twice has no effect."""
        blobs = self._checked(entries, blobs)
        for entry in entries:
            if entry.seq <= self._seen or entry.type not in ev.OUTSIDE or self._over:
                continue
            try:
                self._give(entry, blobs)
            except CannotFold as difference:
                self._diverge(difference)
                return
            self._go_on()
        self._hand_out()

    def finish_effect(self, result: EffectResult) -> None:
        """A model call ended: its `FinishStep` comes first, then what it chose. Finishing one twice has no effect."""
        name = self._steps.name_of(result.call_id)
        if self._steps.settle(result.call_id) is None or self._over:
            return
        self._asked = None
        value = result.result if result.result is not None else b"null"
        self._issue(
            cmd.FinishStep(
                seen=self._at_least(),
                id=result.call_id,
                name=name,
                at=max(result.at, self.state.clock),
                duration_seconds=max(0.0, result.duration_seconds),
                result=Raw(value) if result.error is None else UNSET,
                error=result.error,
                usage=result.usage,
                fingerprint=result.fingerprint,
                model=result.model,
            )
        )
        self._go_on()
        self._hand_out()

    def metered(self, metered: bool, unfunded: Sequence[CallId] = ()) -> None:
        self._steps.metered = metered
        self._steps.unfunded = frozenset(unfunded)

    def grant(self, steps_left: int | None) -> None:
        if not self._over:
            self._steps.grant(steps_left)
            self._hand_out()

    def take_items(self) -> list[AnyItem]:
        """What is new since the last call, in order, each with its `seen`."""
        items, self._items = self._items, []
        self._steps.taken()
        return items

    def close(self) -> None:
        """Mute and drop. Idempotent."""
        if not self._closed:
            self._closed = True
            self._steps.drop_all()

    # -- inside

    @property
    def _over(self) -> bool:
        return self.finished or self.diverged or self._closed

    def _at_least(self) -> int:
        """What new items say that they have seen: the coordinator takes none that has seen less than it knows of."""
        return max(self._seen, self._floor)

    def _give(self, entry: Entry, blobs: Mapping[str, bytes]) -> None:
        data: ev.AnyData = decode_union(ev.AnyData, entry.data)
        self._seen = entry.seq
        self.state.clock = max(self.state.clock, entry.at)
        value = b""
        match data:
            case ev.StepRecalled():
                self._steps.settle(data.call_id)
                self._asked = None
                data = recalled_step(data, entry.at)
                value = self._in_our_numbers(value_of(data, blobs))
            case ev.RunForked() | ev.ForkToolsChanged():
                self._recalls, self._identity = data.tools != "live", data.identity
            case ev.RunStarted() if data.fork is not None:
                self._identity = data.fork.identity
            case ev.SignalReceived() | ev.InstructionAdded() if data.recalled is not None:
                self._notes[entry.seq] = data.recalled.seq
            case _:
                pass
        value = value or value_of(data, blobs)
        fold(self.state, data, value, entry.seq, self._keep)
        if isinstance(data, ev.RunStarted):
            self._begin(value)

    def _in_our_numbers(self, value: bytes) -> bytes:
        """A source's answer says up to which of its events the model had heard; what that was here."""
        try:
            answer = decode(Answer, value)
        except BadMessage:
            return value  # a step of another kind, or one that the fold will refuse
        known = [note.seq for note in self.state.notes if self._notes.get(note.seq, note.seq) <= answer.heard]
        return encode(structs.replace(answer, heard=max(known, default=0)))

    def _begin(self, body: bytes) -> None:
        try:
            self._instructions = self._agent.instructions_for(input_of(body))
        except Exception as error:
            if self._begun:  # other code took this input: nothing is lost by waiting for code that does
                raise CannotFold("an input that the run began with", f"one that this build takes: {error}") from error
            failure = Failure(type="InputInvalid", message=str(error)) if isinstance(error, BadInput) else failure_of(error)
            self._issue(cmd.FailRun(seen=self._at_least(), error=failure))

    def _go_on(self) -> None:
        """Issue what follows, until the run waits."""
        while not self._over and self._asked is None:
            try:
                following = decide(self.state, self._agent, self._at_least(), self._identity)
            except Exception as error:  # noqa: BLE001 - a condition of the agent's own, or a tool's own check of its arguments
                following = [cmd.FailRun(seen=self._at_least(), error=failure_of(error))]
            if following is None:
                return
            if isinstance(following, Ask):
                self._ask(following)
                return
            for item in following:
                if isinstance(item, _COUNTED):
                    self._steps.spend()
                self._issue(item)

    def _issue(self, item: AnyItem) -> None:
        self._items.append(item)
        if isinstance(item, cmd.CompleteRun | cmd.FailRun):
            self.finished = True
            self._steps.drop_all()
        fact = fact_of(item)
        fold(self.state, fact, value_of(fact, _NO_BLOBS), 0, self._keep)

    def _ask(self, ask: Ask) -> None:
        call_id = self.state.next_model_id
        plan = self._agent.plan
        model = plan.window.model if ask.kind == "compact" and plan.window.model is not None else plan.model

        def question() -> tuple[ModelRequest, int]:
            return request_of(self.state, self._agent, ask, self._instructions or ""), self._seen

        try:
            effect = model_effect(call_id, ask, model, question, metered=self._steps.metered)
        except Exception as error:  # noqa: BLE001 - a model of the user's own says what it costs
            self._issue(cmd.FailRun(seen=self._at_least(), error=failure_of(error)))
            return
        self._asked = call_id
        if self._replaying:
            self._steps.hold(effect, call_id)
        else:
            self._steps.admit(effect, call_id)

    def _request_step(self, effect: LocalEffect) -> None:
        seen = self._at_least()
        asked = effect.asks() if self._recalls else ""
        self._items.append(
            cmd.RequestStep(
                seen=seen,
                id=effect.call_id,
                name=effect.name,
                reserve=effect.reserve,
                attempt=effect.attempt,
                asked=asked,
                model=effect.model,
            )
        )

    def _hand_out(self) -> None:
        if not self._over:
            self._steps.flush(self._start_effect)

    def _diverge(self, difference: CannotFold) -> None:
        self.diverged = True
        self.finished = False
        self._items = [cmd.ReportDivergence(seen=self._at_least(), expected=difference.expected, found=difference.found)]
        self.close()

    def _checked(self, entries: Sequence[Entry], blobs: Mapping[str, bytes] | None) -> Mapping[str, bytes]:
        blobs = blobs or _NO_BLOBS
        for ref in refs_of(entries):
            if ref.sha256 not in blobs:
                raise NotFound(f"run {self._run_id}: the value {ref.sha256} ({ref.size} bytes) was not passed in `blobs`")
        return blobs


__all__ = ["ReasoningExecution"]
