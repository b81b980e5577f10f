"""One run of a graph on a worker: fed with the log, it answers with items. Owns the graph's task; the nodes run on the worker's own loop.

Nothing is replayed. After a crash, or when a worker takes the run up, the graph goes on from its last checkpoint, which is folded from the
log; the nodes that were under way run again from their tops, and what they ask for again is answered from the log.
"""

from __future__ import annotations

import contextvars
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from msgspec import UNSET, Raw, UnsetType

from waypost.execution.effects import EffectResult, failure_of, text_of
from waypost.execution.execution import recalled_step, refs_of
from waypost.execution.ports import Beginning
from waypost.langgraph.activity import Activity
from waypost.langgraph.book import Book, Outcome
from waypost.langgraph.calls import Calls
from waypost.langgraph.driver import Driver, Ended
from waypost.langgraph.history import fork_of, serializer_of_forks
from waypost.langgraph.thread import Thread
from waypost_proto import commands as cmd
from waypost_proto import events as ev
from waypost_proto.codec import decode_union
from waypost_proto.commands import AnyItem
from waypost_proto.errors import BadInput, ContractError, NotFound
from waypost_proto.ids import CallId
from waypost_proto.taint import merged
from waypost_proto.values import BlobRef, Failure
from waypost_proto.work import Entry

if TYPE_CHECKING:
    from waypost.langgraph.agent import LangGraphAgent

_NO_BLOBS: Mapping[str, bytes] = {}


class GraphExecution:
    """`waypost.execution.AgentExecution` for a graph."""

    def __init__(self, agent: LangGraphAgent, beginning: Beginning) -> None:
        self.finished = False
        self.diverged = False
        """Never: what a graph asks for is not compared with the log, it is answered from it."""
        self._agent = agent
        self._beginning = beginning
        self._outer = contextvars.copy_context()
        self._thread = Thread(agent.serializer)
        self._activity = Activity(self._settled, self._outer)
        self._calls = Calls(Book(), self._activity, beginning.steps_left, self._outer)
        self._driver = Driver(agent, beginning, self._calls, self._thread, self._ended)
        self._blobs = _NO_BLOBS
        self._taken = False
        self._started = False
        self._closed = False

    @property
    def seen(self) -> int:
        return self._calls.seen

    @property
    def running(self) -> int:
        return self._calls.steps.running + int(not self._over and self._activity.works)

    # -- what the worker tells

    def replay(self, journal: Sequence[Entry], seen: int, blobs: Mapping[str, bytes] | None = None) -> None:
        if self._started:
            raise ContractError(f"run {self._beginning.run_id}: replay comes first and once; make a new execution")
        self._take_blobs(journal, blobs)
        self._calls.seen = seen
        for entry in sorted(journal, key=lambda e: e.seq):
            self._take(entry)
        self._calls.book.begin()
        self._go()

    def feed(self, entries: Sequence[Entry], blobs: Mapping[str, bytes] | None = None) -> None:
        self._take_blobs(entries, blobs)
        for entry in entries:
            if entry.seq > self._calls.seen and not self._over:
                self._take(entry)
        self._go()

    def finish_effect(self, result: EffectResult) -> None:
        self._calls.finish_effect(result)
        self._start_steps()

    def metered(self, metered: bool, unfunded: Sequence[CallId] = ()) -> None:
        self._calls.steps.metered = metered
        self._calls.steps.unfunded = frozenset(unfunded)

    def grant(self, steps_left: int | None) -> None:
        if not self._over:
            self._calls.steps.grant(steps_left)
            self._start_steps()

    def take_items(self) -> list[AnyItem]:
        if self._taken:
            self._taken = False
            self._driver.threads.was_stored()
        if self._activity.settling and not self._over:
            return []
        items = self._calls.take_items()
        self._calls.steps.taken()
        self._taken = bool(items)
        if self._taken:
            self._driver.threads.was_taken()
        return items

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._calls.close()
            self._driver.close()

    # -- one entry

    @property
    def _over(self) -> bool:
        return self.finished or self._closed

    def _take(self, entry: Entry) -> None:
        data = decode_union(ev.AnyData, entry.data)
        if entry.type in ev.OUTSIDE:
            self._calls.seen = max(self._calls.seen, entry.seq)
        self._calls.clock = max(self._calls.clock, entry.at)
        taint = getattr(data, "taint", ())
        if taint:
            self._driver.taint = merged(self._driver.taint, taint)
        match data:
            case ev.RunStarted():
                self._driver.input = body = self._value(data.input, data.input_ref)
                if fork_of(body) is not None:
                    self._thread.pieces.serializer = serializer_of_forks(self._agent)
            case ev.QuestionAnswered():
                self._driver.answered(data.call_id, b"null" if data.answer is UNSET else bytes(data.answer))
            case ev.QuestionUnanswered():
                self._driver.unanswered(data.call_id, data.error)
            case ev.CheckpointSaved():
                self._thread.fold(data, self._value(data.state, data.state_ref, b"{}"))
            case ev.WritesSaved():
                self._thread.fold(data, self._value(data.writes, data.writes_ref, b"{}"))
            case _:
                self._settle(data)

    def _settle(self, data: ev.AnyData) -> None:
        """What came of a call."""
        calls = self._calls
        match data:
            case ev.ToolCallCompleted() | ev.ChildCompleted():
                calls.settle(data.call_id, "", Outcome(value=self._value(data.result, data.result_ref), event=data))
            case ev.ToolCallFailed() | ev.ChildFailed():
                calls.settle(data.call_id, "", Outcome(error=data.error, event=data))
            case ev.StepCompleted():
                value = self._value(data.result, data.result_ref)
                calls.settle(data.call_id, data.name, Outcome(value=value))
                if data.model is not None:
                    self._driver.chosen.learn(data.call_id, value)
            case ev.StepRecalled():
                calls.steps.settle(data.call_id)
                self._settle(recalled_step(data))
            case ev.StepFailed():
                calls.settle(data.call_id, data.name, Outcome(error=data.error))
            case _:
                self._remember(data)

    def _remember(self, data: ev.AnyData) -> None:
        """What the log says that a graph had asked for."""
        book = self._calls.book
        match data:
            case ev.ToolCallRequested():
                book.learn(data.call_id, data.tool)
            case ev.ChildRequested():
                book.learn(data.call_id, data.child_agent)
            case ev.StepRequested():
                call = book.learn(data.call_id, data.name)
                if call is not None:
                    call.requests = data.attempt
            case ev.QuestionAsked():
                self._driver.asked(data.call_id)
            case ev.ToolCallCancelled() | ev.ToolCallCancelRequested() | ev.ChildCancelRequested():
                call = book.by_id.get(data.call_id)
                if call is not None and data.seen > 0:
                    call.cancelled = True
            case _:
                pass  # nothing that a graph is told

    # -- going on

    def _go(self) -> None:
        if not self._over:
            self._started = True
            self._driver.go()
            self._start_steps()

    def _start_steps(self) -> None:
        if not self._over:
            self._calls.steps.flush(self._beginning.start_effect)

    def _settled(self) -> None:
        if not self._closed:
            self._start_steps()
            self._beginning.changed()

    def _ended(self, ended: Ended) -> None:
        """The graph is through, or failed."""
        if self._over:
            return
        seen = self._calls.seen
        ending: cmd.CompleteRun | cmd.FailRun
        if ended.error is not None:
            ending = cmd.FailRun(seen=seen, error=ended.error)
        else:
            try:
                ending = cmd.CompleteRun(seen=seen, result=Raw(self._agent.encode_result(ended.result)))
            except BadInput as unfit:
                ending = cmd.FailRun(seen=seen, error=Failure(type="ResultNotEncodable", message=text_of(str(unfit))))
            except Exception as broken:  # noqa: BLE001 - the user's own `output=` function
                ending = cmd.FailRun(seen=seen, error=failure_of(broken))
        self._calls.issue(ending)
        self.finished = True
        self._calls.closed = True
        self._calls.steps.drop_all()
        self._activity.stir()

    # -- large values

    def _take_blobs(self, entries: Sequence[Entry], blobs: Mapping[str, bytes] | None) -> None:
        self._blobs = blobs or _NO_BLOBS
        for ref in refs_of(entries):
            if ref.sha256 not in self._blobs:
                raise NotFound(f"run {self._beginning.run_id}: the value {ref.sha256} ({ref.size} bytes) was not passed in `blobs`")

    def _value(self, value: Raw | UnsetType, ref: BlobRef | UnsetType, empty: bytes = b"null") -> bytes:
        if ref is not UNSET:
            return self._blobs[ref.sha256]
        return empty if value is UNSET else bytes(value)


__all__ = ["GraphExecution"]
