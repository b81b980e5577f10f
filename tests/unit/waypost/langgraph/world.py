"""A coordinator, a gateway and people in a few lines each, around one run of a graph in memory; the worker can die at any moment.

The log is kept as the coordinator keeps it: one event an item. `crash` drops the execution with everything that was not taken, and makes
another from the log.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from typing import Any, Protocol

from msgspec import Raw

from tests.unit.waypost.execution.world import event_of as plain_event_of
from waypost.execution import Beginning, EffectResult, GraphShown, LocalEffect, failure_of
from waypost.langgraph import LangGraphAgent
from waypost.langgraph.execution import GraphExecution
from waypost.tool_context import ToolContext
from waypost_core.checkpoints import saved
from waypost_proto import commands as cmd
from waypost_proto import events as ev
from waypost_proto.codec import encode
from waypost_proto.ids import RunId
from waypost_proto.values import Failure
from waypost_proto.work import Entry

RUN = RunId("0192f0c1-7a3e-7c21-8f00-3b1d6a9c4e55")


def event_of(item: cmd.AnyItem) -> ev.AnyData:
    """The event that the coordinator writes for an item."""
    match item:
        case cmd.SaveCheckpoint() | cmd.SaveWrites():
            return saved(item)
        case cmd.AskQuestion():
            return ev.QuestionAsked(
                seen=item.seen,
                call_id=item.id,
                question_id=item.id,
                role=item.role,
                question=item.question,
                expires_at=2_000.0,
                answer_schema=item.answer_schema,
            )
        case cmd.FinishStep(error=None):
            return ev.StepCompleted(
                seen=item.seen, call_id=item.id, name=item.name, at=item.at, result=item.result, usage=item.usage, model=item.model
            )
        case _:
            return plain_event_of(item)


class Watcher(Protocol):
    """Somebody who watches the run: what the graph shows, and the log."""

    def opened(self, worker: int) -> GraphShown: ...
    def recorded(self, entry: Entry) -> None: ...


class World:
    """See the module. `answer` gives what people answer to a question, by its item; without it questions wait."""

    def __init__(
        self,
        agent: LangGraphAgent,
        value: Any,
        *,
        answer: Callable[[cmd.AskQuestion], Any] | None = None,
        watcher: Watcher | None = None,
    ) -> None:
        self.agent = agent
        self.watcher = watcher
        self.log: list[Entry] = []
        self.items: list[cmd.AnyItem] = []
        self.tool_calls: Counter[str] = Counter()
        self.questions: list[cmd.AskQuestion] = []
        self.outcome: cmd.CompleteRun | cmd.FailRun | None = None
        self.hold_tools = False
        self.crashes = 0
        self.crash_after: Callable[[cmd.AnyItem], bool] = lambda _: False
        self._answer = answer
        self._seen = 0
        self._held: list[cmd.CallTool] = []
        self._tasks: set[asyncio.Task[Any]] = set()
        self._ended = asyncio.Event()
        self._append(ev.RunStarted(input=Raw(json.dumps(value).encode())))
        self.execution = self._begin()
        self.execution.feed(self.log)

    # -- what a test asks

    async def end(self, seconds: float = 20.0) -> Any:
        """Wait for the run's end; its result. Raises `AssertionError` with the failure if it failed."""
        async with asyncio.timeout(seconds):
            await self._ended.wait()
        assert isinstance(self.outcome, cmd.CompleteRun), self.outcome
        return json.loads(bytes(self.outcome.result))  # type: ignore[arg-type]

    async def failed(self, seconds: float = 20.0) -> Failure:
        """Wait for the run's failure."""
        async with asyncio.timeout(seconds):
            await self._ended.wait()
        assert isinstance(self.outcome, cmd.FailRun), self.outcome
        return self.outcome.error

    async def until(self, condition: Callable[[], bool], seconds: float = 20.0) -> None:
        """Wait until the condition holds, looking at every turn of the loop."""
        async with asyncio.timeout(seconds):
            while not condition():
                await asyncio.sleep(0)

    def crash(self) -> None:
        """The worker dies; another takes the run up from the log."""
        self.crashes += 1
        self.execution.close()
        self.execution = self._begin()
        self.execution.replay(self.log, self._seen)
        self._schedule()

    def answer(self, question: cmd.AskQuestion, value: Any) -> None:
        """Somebody answers."""
        data = ev.QuestionAnswered(call_id=question.id, question_id=question.id, by="ada", answer=Raw(json.dumps(value).encode()))
        self.execution.feed([self._append(data)])
        self._schedule()

    def release(self) -> None:
        """Let the tools that are held run."""
        self.hold_tools = False
        held, self._held = self._held, []
        for call in held:
            self._call(call)

    def types(self) -> Counter[str]:
        return Counter(entry.type for entry in self.log)

    async def close(self) -> None:
        self.execution.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # -- the worker

    def _begin(self) -> GraphExecution:
        execution: GraphExecution

        def start(effect: LocalEffect) -> None:
            self._spawn(self._effect(execution, effect))

        def changed() -> None:
            if self.execution is execution:
                self._schedule()

        watcher = self.watcher
        shown = None if watcher is None else lambda: watcher.opened(self.crashes)
        execution = GraphExecution(self.agent, Beginning(run_id=RUN, start_effect=start, changed=changed, graph_shown=shown))
        return execution

    async def _effect(self, execution: GraphExecution, effect: LocalEffect) -> None:
        result, error = None, None
        try:
            result = await effect.run()
        except Exception as failure:  # noqa: BLE001 - as the worker does
            error = failure_of(failure)
        if execution is self.execution:
            execution.finish_effect(
                EffectResult(
                    call_id=effect.call_id, at=1_000.0, result=result, error=error, usage=effect.meter.usage, model=effect.meter.model
                )
            )
            self._schedule()

    def _schedule(self) -> None:
        asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        items = self.execution.take_items()
        for item in items:
            self._accept(item)
            if self.crash_after(item):
                self.crash()
                return
        if items:
            self._schedule()

    # -- the coordinator

    def _accept(self, item: cmd.AnyItem) -> None:
        assert item.seen >= self._seen
        self._seen = item.seen
        self.items.append(item)
        if isinstance(item, cmd.CancelCall):
            return
        self._append(event_of(item))
        match item:
            case cmd.CallTool():
                self._call(item)
            case cmd.AskQuestion():
                self.questions.append(item)
                if self._answer is not None:
                    value = self._answer(item)
                    asyncio.get_running_loop().call_soon(self.answer, item, value)
            case cmd.CompleteRun() | cmd.FailRun():
                self.outcome = item
                self._ended.set()

    def _append(self, data: ev.AnyData) -> Entry:
        tag: Any = data.__struct_config__.tag
        entry = Entry(seq=len(self.log) + 1, type=tag, at=1_000.0, data=Raw(encode(data)))
        self.log.append(entry)
        if self.watcher is not None:
            self.watcher.recorded(entry)
        return entry

    # -- the gateway

    def _call(self, item: cmd.CallTool) -> None:
        if self.hold_tools:
            self._held.append(item)
        else:
            self._spawn(self._run_tool(item))

    async def _run_tool(self, item: cmd.CallTool) -> None:
        tool = self.agent.tools[item.tool]
        self.tool_calls[item.tool] += 1
        data: ev.AnyData
        try:
            body = await tool.invoke(ToolContext(tool=tool.name), bytes(item.args))  # type: ignore[arg-type]
            data = ev.ToolCallCompleted(call_id=item.id, tool=item.tool, attempt=1, result=Raw(body))
        except Exception as error:  # noqa: BLE001 - as the gateway does
            data = ev.ToolCallFailed(call_id=item.id, tool=item.tool, attempt=1, error=failure_of(error))
        self.execution.feed([self._append(data)])
        self._schedule()

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
