"""Runs a graph: invokes it, turns what interrupts it into questions, and goes on with their answers. Owns the graph's task."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable, Collection, Container
from typing import TYPE_CHECKING, Any

import msgspec
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.serde.types import INTERRUPT
from langgraph.types import Command, Interrupt
from msgspec import Raw, Struct

from waypost.errors import Unanswered
from waypost.execution.effects import failure_of, text_of
from waypost.execution.ports import Beginning
from waypost.langgraph.calls import INSIDE, Calls
from waypost.langgraph.history import first_checkpoint, fork_of
from waypost.langgraph.questions import QUESTION as _QUESTION
from waypost.langgraph.questions import Question, breakpoint_question, question_of
from waypost.langgraph.records import Chosen
from waypost.langgraph.saver import LogSaver
from waypost.langgraph.stream_modes import GraphShow
from waypost.langgraph.thread import Thread
from waypost_core.checkpoints import saved
from waypost_proto import commands as cmd
from waypost_proto.codec import encode
from waypost_proto.errors import ContractError
from waypost_proto.ids import CallId
from waypost_proto.values import Failure

if TYPE_CHECKING:
    from waypost.langgraph.agent import LangGraphAgent

_TRACEBACK_CHARS = 4_000


class Ended(Struct, frozen=True, kw_only=True):
    """How a graph ended: with its output, or with an error."""

    result: Any = None
    error: Failure | None = None


class OneThread:
    """`Threads` of the one run: what is saved becomes an item. Its methods may be called from the threads of plain nodes."""

    def __init__(self, run_id: str, thread: Thread, calls: Calls, *, waits: bool) -> None:
        self._run_id = run_id
        self._thread = thread
        self._calls = calls
        self._waits = waits
        self._untaken: list[asyncio.Future[None]] = []
        self._unstored: list[asyncio.Future[None]] = []

    def find(self, thread_id: str) -> Thread | None:
        return self._thread if thread_id == self._run_id else None

    def open(self, thread_id: str) -> Thread:
        if thread_id != self._run_id:
            raise ContractError(
                f"thread {thread_id!r}: a graph's thread is its run, {self._run_id!r}; start another run for another thread"
            )
        return self._thread

    def names(self) -> Collection[str]:
        return (self._run_id,)

    def put(self, thread_id: str, item: cmd.SaveCheckpoint | cmd.SaveWrites) -> None:
        self.open(thread_id)
        calls = self._calls
        if not calls.closed:
            calls.items.append(msgspec.structs.replace(item, seen=calls.seen))
            calls.loop.call_soon_threadsafe(calls.activity.stir, context=calls.outer)

    async def stored(self, thread_id: str) -> None:  # noqa: ARG002 - there is one
        if not self._waits or self._calls.closed:
            return
        future: asyncio.Future[None] = self._calls.loop.create_future()
        self._untaken.append(future)
        activity = self._calls.activity
        activity.in_store += 1
        activity.stir()
        try:
            await future
        finally:
            activity.in_store -= 1
            activity.stir()

    def was_taken(self) -> None:
        """The items so far are on their way."""
        self._unstored += self._untaken
        self._untaken = []

    def was_stored(self) -> None:
        """What was on its way is stored."""
        unstored, self._unstored = self._unstored, []
        for future in unstored:
            if not future.done():
                future.set_result(None)

    def close(self) -> None:
        """Nobody will store anything any more."""
        for future in (*self._untaken, *self._unstored):
            future.cancel()


class Driver:
    """See the module. `ended` is called once, from the graph's task."""

    def __init__(self, agent: LangGraphAgent, beginning: Beginning, calls: Calls, thread: Thread, ended: Callable[[Ended], None]) -> None:
        self.input: bytes | None = None
        self.taint: tuple[str, ...] = ()
        self.agent = agent
        self.beginning = beginning
        self.calls = calls
        self.chosen = Chosen()
        self.threads = OneThread(beginning.run_id, thread, calls, waits=agent.durability == "sync")
        self._thread = thread
        self._show = GraphShow(agent.shows, beginning.graph_shown, thread.namespaces)
        self._ended = ended
        self._task: asyncio.Task[None] | None = None
        self._asked: dict[CallId, int] = {}
        self._answers: dict[CallId, bytes] = {}
        self._refusals: dict[CallId, Failure] = {}
        self._passed: set[CallId] = set()
        self._news = asyncio.Event()
        calls.anchored = self._anchored

    @property
    def namespaces(self) -> Container[str]:
        """The graphs of the run whose checkpoints are kept."""
        return self._thread.namespaces

    def _anchored(self, namespace: str, checkpoint: str) -> bool:
        space = self._thread.namespaces.get(namespace)
        return space is None or checkpoint in space.checkpoints

    # -- what is known from the log

    def asked(self, call_id: CallId) -> None:
        """The log has this question, and this many checkpoints and writes before it."""
        self._asked[call_id] = self._thread.entries

    def answered(self, call_id: CallId, answer: bytes) -> None:
        """Somebody has answered."""
        self._answers[call_id] = answer
        self._told()

    def unanswered(self, call_id: CallId, failure: Failure) -> None:
        """Nobody will."""
        self._refusals[call_id] = failure
        self._told()

    def _told(self) -> None:
        if self._task is not None:
            self.calls.activity.driven = True
        self._news.set()

    def go(self) -> None:
        """Begin, where there is an input and it has not begun."""
        if self._task is None and self.input is not None:
            self.calls.activity.driven = True
            self._task = self.calls.loop.create_task(self._run(), name=f"graph {self.beginning.run_id}")

    def close(self) -> None:
        """End the graph, telling nobody. Idempotent."""
        self.threads.close()
        if self._task is not None:
            self._task.cancel()

    # -- the graph's task

    async def _run(self) -> None:
        INSIDE.set(self)
        try:
            result = await self._to_end()
        except asyncio.CancelledError:
            if not self.calls.closed:  # its own code did that
                self._ended(Ended(error=Failure(type="CancelledError", message="the graph's code cancelled itself")))
            raise
        except Exception as error:  # noqa: BLE001 - the supervisor of the graph: whatever it raises is how the run failed
            if not self.calls.closed:
                self._ended(Ended(error=_failure(error)))
        else:
            self._ended(Ended(result=result))
        finally:
            self.calls.activity.driven = False

    async def _to_end(self) -> Any:
        graph = self.agent.compiled(LogSaver(self.threads, serde=self.agent.serializer))
        config = self._config()
        known = "" in self._thread.namespaces or self._begin_fork()
        given: Any = await self._goes_on(graph, config, first=True) if known else self.agent.decode_input(self.input or b"null")
        output: Any = None
        while given is not _THROUGH:
            self.calls.book.begin()
            self.calls.activity.begin()
            self._show.begin()
            try:
                output = await self._invoke(graph, given, config)
            except Exception as error:
                self._show.end(error)
                raise
            finally:
                self.calls.activity.end()
            self._show.end()
            given = await self._goes_on(graph, config, first=False)
        return (await graph.aget_state(config)).values if output is None else output

    def _begin_fork(self) -> bool:
        """Whether the run begins at another run's checkpoint, which is its own first one then."""
        beginning = fork_of(self.input or b"")
        if beginning is None:
            return False
        item = first_checkpoint(beginning, self.calls.seen)
        self._thread.fold(saved(item), bytes(beginning.state))
        self.calls.issue(item)
        return True

    def _config(self) -> RunnableConfig:
        mine = self.agent.config
        return {**mine, "configurable": {**mine.get("configurable", {}), "thread_id": self.beginning.run_id}}

    async def _invoke(self, graph: Any, given: Any, config: RunnableConfig) -> Any:
        """The graph's output when it comes back: through, interrupted, or at a breakpoint."""
        activity, show = self.calls.activity, self._show
        output: Any = None
        modes = list({"values", "tasks", *show.modes})
        chunks = graph.astream(
            given, config, stream_mode=modes, subgraphs=True, durability=self.agent.durability, context=self.agent.context
        )
        async for namespace, mode, chunk in chunks:
            show.take(namespace, mode, chunk)
            if mode == "values":
                output = chunk if not namespace else output
            elif mode != "tasks":
                continue
            elif "triggers" in chunk:
                activity.opened(chunk["id"], "|".join(namespace))
            else:
                activity.closed(chunk["id"])
        return output

    # -- interrupts

    async def _goes_on(self, graph: Any, config: RunnableConfig, *, first: bool) -> Any:
        """What to go on with once it can: answers, None to go on from the last checkpoint, or `_THROUGH`.

        `first`: the graph is taken up from the log. If it was not interrupted by a question but by the end of a worker, it goes on.
        """
        while True:
            pending = self._pending()
            if not pending:
                stops = await self._breakpoint(graph, config)
                if stops is None:
                    return None if first else _THROUGH
                questions = [stops]
            elif first and not self._rests(pending):
                return None  # the tasks under way run again, and ask again what they still have to
            else:
                questions = [question_of(interrupt, self.agent.asks) for interrupt in pending]
            for question in questions:
                self._ask(question)
            answers = self._answers_to(pending)
            if answers:
                return Command(resume=answers)
            if not pending and self._answer(questions[0]) is not None:
                return None
            self._news.clear()
            self.calls.activity.driven = False
            self.calls.activity.stir()
            await self._news.wait()

    def _pending(self) -> list[Interrupt[Any]]:
        """The interrupts at the newest checkpoint of the root, of tasks that have not ended since."""
        root = self._thread.namespaces.get("")
        writes = self._thread.writes_of("", root.newest) if root is not None else []
        ended = {write.task for write in writes if write.index >= 0}
        lists = [self._thread.load(write) for write in writes if write.channel == INTERRUPT and write.task not in ended]
        return [interrupt for interrupts in lists for interrupt in interrupts]

    def _rests(self, pending: list[Interrupt[Any]]) -> bool:
        """Of a graph that is taken up: it had come back with these interrupts, and nothing has been saved since they were asked."""
        asked = [self._asked.get(CallId(_QUESTION + interrupt.id), -1) for interrupt in pending]
        return min(asked) >= 0 and max(asked) == self._thread.entries

    async def _breakpoint(self, graph: Any, config: RunnableConfig) -> Question | None:
        """The question at a `compile(interrupt_before=…)`; None where there is none, or it is answered."""
        before = graph.interrupt_before_nodes
        if not before:
            return None
        following = (await graph.aget_state(config)).next
        stops = [node for node in following if before == "*" or node in before]
        question = breakpoint_question(self._thread.namespaces[""].newest, stops, self.agent.asks) if stops else None
        return None if question is None or question.call_id in self._passed else question

    def _ask(self, question: Question) -> None:
        if question.call_id not in self._asked:
            self._asked[question.call_id] = self._thread.entries
            self.calls.issue(question.item(self.calls.seen))

    def _answers_to(self, pending: list[Interrupt[Any]]) -> dict[str, Any]:
        """By interrupt; of those that were answered."""
        found = ((interrupt, self._answer(question_of(interrupt, self.agent.asks))) for interrupt in pending)
        return {interrupt.id: answer[0] for interrupt, answer in found if answer is not None}

    def _answer(self, question: Question) -> tuple[Any] | None:
        """The answer in a tuple, or None if there is none yet. Raises `Unanswered` where there will be none."""
        body = self._answers.get(question.call_id)
        if body is not None:
            self._passed.add(question.call_id)
            return (msgspec.json.decode(body),)
        refusal = self._refusals.get(question.call_id)
        if refusal is None:
            return None
        error = Unanswered(question.role, question.call_id, refusal)
        if self.agent.unanswered is None or question.interrupt is None:
            raise error
        return (self.agent.unanswered(question.interrupt, error),)


_THROUGH = object()


def _failure(error: BaseException) -> Failure:
    failure = failure_of(error)
    try:
        text = "".join(traceback.format_exception(error))[-_TRACEBACK_CHARS:]
    except Exception:  # noqa: BLE001 - it shows the user's objects, which may fail in any way
        return failure
    return msgspec.structs.replace(failure, details=Raw(encode({"traceback": text_of(text)})))


__all__ = ["Driver", "Ended", "OneThread"]
