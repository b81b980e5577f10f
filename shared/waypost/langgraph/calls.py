"""What a graph's nodes ask for: from a call of a node to an item of the run, and from what is recorded to its answer.

Everything here runs on the worker's event loop, in the tasks of the graph; `in_thread_of_node` brings the calls of plain nodes here.
"""

from __future__ import annotations

import asyncio
import contextvars
import queue
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future as ThreadFuture
from contextvars import ContextVar
from typing import Any, TypeVar

from msgspec import UNSET, Raw, structs

from waypost.execution.effects import EffectResult, LocalEffect
from waypost.execution.steps import LocalSteps
from waypost.langgraph.activity import Activity
from waypost.langgraph.book import Ask, Book, Call, Outcome
from waypost.metering import CURRENT as METER
from waypost_proto import commands as cmd
from waypost_proto.commands import AnyItem
from waypost_proto.errors import ContractError
from waypost_proto.ids import CallId
from waypost_proto.usage import Usage

T = TypeVar("T")
GRACE_SECONDS = 1.0
"""How long a call that asks something else than what is recorded waits for those that may still ask for exactly that."""
_LOOK_SECONDS = 0.002
"""Between two looks whether a thread has saved."""


class Calls:
    """The calls of one run in memory, and the items that tell of them."""

    def __init__(self, book: Book, activity: Activity, steps_left: int | None, outer: contextvars.Context) -> None:
        self.book = book
        self.activity = activity
        self.items: deque[AnyItem] = deque()
        """What is new. Threads of plain nodes add checkpoints to it."""
        self.seen = 0
        self.clock = 0.0
        """Of the run: the time of the last thing it was told."""
        self.closed = False
        self.grace_seconds = GRACE_SECONDS
        self.anchored: Callable[[str, str], bool] = lambda _namespace, _checkpoint: True
        """Whether a checkpoint is saved, or its graph keeps none."""
        self.steps = LocalSteps(steps_left, self._request_step)
        self.loop = asyncio.get_running_loop()
        self.outer = outer
        self._futures: dict[CallId, asyncio.Future[Outcome]] = {}
        self._given = asyncio.Event()
        self._told = 0

    # -- for nodes

    async def ask(self, ask: Ask, task_id: str, start: Callable[[Call], None]) -> Outcome:
        """The outcome of a call: recorded, awaited, or begun with `start`. Raises `CancelledError` when the run is let go."""
        self._check_open()
        call = await self._recorded(ask)
        if call is None:
            await self._anchored(ask)
            call = self.book.new(ask)
            start(call)
        elif call.outcome is None and call.id not in self._futures and call.kind in ("model", "step"):
            start(call)  # it was begun, and nobody knows what came of it
        if call.outcome is not None:
            return call.outcome
        future = self._futures.get(call.id)
        if future is None or future.done():
            future = self._futures[call.id] = self.loop.create_future()
        try:
            with self.activity.waiting(task_id):
                return await future
        except asyncio.CancelledError:
            self._abandon(call)
            raise
        finally:
            self.activity.taken(call.id)

    async def _recorded(self, ask: Ask) -> Call | None:
        """What is recorded of it. See `book` for what counts as the same."""
        until = self.loop.time() + self.grace_seconds
        while True:
            call = self.book.exact(ask)
            if call is not None:
                self._given.set()
                return call
            similar = self.book.similar(ask)
            left = until - self.loop.time()
            if similar is None:
                return None
            if left <= 0:
                return self.book.give(ask, similar)
            self._given.clear()
            try:
                async with asyncio.timeout(left):
                    await self._given.wait()
            except TimeoutError:
                continue

    async def _anchored(self, ask: Ask) -> None:
        """Wait, at most for the grace, until the checkpoint that the task follows from is among the items.

        A graph that a plain node invokes saves in threads of its own, while its first tasks are under way.
        """
        until = self.loop.time() + self.grace_seconds
        while ask.anchor is not None and not self.anchored(*ask.anchor) and self.loop.time() < until:  # noqa: ASYNC110 - a thread tells nobody
            await asyncio.sleep(_LOOK_SECONDS)

    def issue(self, item: AnyItem) -> None:
        """Tell the coordinator. What is asked for after the run was let go is dropped."""
        if not self.closed:
            self.items.append(item)
            self.activity.stir()

    def take_items(self) -> list[AnyItem]:
        """What is new, in order. `seen` never falls: a thread may have been a moment late."""
        taken: list[AnyItem] = []
        while self.items:
            item = self.items.popleft()
            if item.seen < self._told:
                item = structs.replace(item, seen=self._told)
            self._told = item.seen
            taken.append(item)
        return taken

    def begin_step(self, call: Call, run: Callable[[LocalEffect], Awaitable[bytes]], reserve: Usage | None = None) -> None:
        """Have `run` run as a local effect, in the context of the caller."""
        context = contextvars.copy_context()
        effect: LocalEffect

        async def body() -> bytes:
            context.run(METER.set, effect.meter)
            context.run(INSIDE.set, None)
            return await self.loop.create_task(_awaited(run(effect)), context=context)

        effect = LocalEffect(call.id, call.name, body, reserve, asked=call.asked, model=call.kind == "model")
        future = self._futures[call.id] = self.loop.create_future()
        if call.requests:
            self.steps.hold(effect, future)
            self.steps.release({call.id: call.requests})
        else:
            self.steps.admit(effect, future)
        self.activity.stir()

    # -- what happened

    def settle(self, call_id: CallId, name: str, outcome: Outcome) -> None:
        """A call has ended, here or in the log."""
        call = self.book.learn(call_id, name)
        if call is None or call.outcome is not None:
            return
        call.outcome = outcome
        future = self._futures.pop(call_id, None)
        if future is not None and not future.done():
            self.activity.given(call_id)
            future.set_result(outcome)
        self.activity.stir()

    def finish_effect(self, result: EffectResult) -> None:
        """A local effect has ended: its `FinishStep`."""
        name, asked = self.steps.name_of(result.call_id), self.steps.asked_of(result.call_id)
        future = self.steps.settle(result.call_id)
        if future is None or self.closed:
            self.activity.stir()
            return
        at = self.clock = max(result.at, self.clock)
        value = result.result if result.result is not None else b"null"
        self.issue(
            cmd.FinishStep(
                seen=self.seen,
                id=result.call_id,
                name=name,
                at=at,
                duration_seconds=max(0.0, result.duration_seconds),
                result=Raw(value) if result.error is None else UNSET,
                error=result.error,
                usage=result.usage,
                fingerprint=result.fingerprint,
                model=result.model,
                asked=asked,
            )
        )
        self.settle(result.call_id, name, Outcome(value=value, error=result.error))

    def close(self) -> None:
        """The run is let go: whoever waits is cancelled."""
        self.closed = True
        self.steps.drop_all()
        futures, self._futures = self._futures, {}
        for future in futures.values():
            future.cancel()

    # -- inside

    def _abandon(self, call: Call) -> None:
        if self.closed or call.outcome is not None:
            return
        call.cancelled = True
        self._futures.pop(call.id, None)
        if call.kind in ("model", "step"):
            if self.steps.cancel(call.id, (call.id,) if call.requests else ()):
                self.issue(cmd.CancelCall(seen=self.seen, target=call.id))
            self.activity.stir()
        else:
            self.issue(cmd.CancelCall(seen=self.seen, target=call.id))

    def _request_step(self, effect: LocalEffect) -> None:
        call = self.book.by_id[effect.call_id]
        call.requests = effect.attempt
        self.issue(
            cmd.RequestStep(
                seen=self.seen,
                id=effect.call_id,
                name=effect.name,
                reserve=effect.reserve,
                attempt=effect.attempt,
                asked=effect.asked,
                model=effect.model,
            )
        )

    def _check_open(self) -> None:
        if self.closed:
            raise asyncio.CancelledError("the run was let go by this worker")

    # -- for plain nodes, which run in threads

    def in_thread_of_node(self, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run a coroutine on the loop and wait for it in this thread. Raises `ContractError` on the loop's own thread."""
        self._check_thread()
        future: ThreadFuture[T] = asyncio.run_coroutine_threadsafe(make(), self.loop)
        return future.result()

    def step_in_thread(self, make: Callable[[Callable[[LocalEffect], Awaitable[bytes]]], Coroutine[Any, Any, T]], work: Work) -> T:
        """Like `in_thread_of_node` for a call whose `work` is plain code: it runs in this very thread, which waits for it anyway."""
        self._check_thread()
        orders: queue.SimpleQueue[tuple[LocalEffect, asyncio.Future[bytes]] | None] = queue.SimpleQueue()

        async def body(effect: LocalEffect) -> bytes:
            done: asyncio.Future[bytes] = self.loop.create_future()
            orders.put((effect, done))
            return await done

        future: ThreadFuture[T] = asyncio.run_coroutine_threadsafe(make(body), self.loop)
        future.add_done_callback(lambda _: orders.put(None))
        while (order := orders.get()) is not None:
            effect, done = order
            context = contextvars.copy_context()
            context.run(METER.set, effect.meter)
            context.run(INSIDE.set, None)
            try:
                result = context.run(work, effect)
            except Exception as error:  # noqa: BLE001 - the supervisor of user code: it is the failure of the step
                self.loop.call_soon_threadsafe(_fail, done, error)
            else:
                self.loop.call_soon_threadsafe(_give, done, result)
        return future.result()

    def _check_thread(self) -> None:
        try:
            here: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        except RuntimeError:
            here = None
        if here is self.loop:
            raise ContractError(
                "an `async def` node called a model or tool without awaiting it (invoke, stream, batch): that would stop every run of "
                "this worker. Await it (`ainvoke`, `astream`, `abatch`), or write the node as a plain function"
            )


Work = Callable[[LocalEffect], bytes]

INSIDE: ContextVar[Any] = ContextVar("waypost_graph_run", default=None)
"""The graph run whose code the current task or thread runs; None in the work of its own steps, and everywhere else."""


async def _awaited(awaitable: Awaitable[bytes]) -> bytes:
    return await awaitable


def _give(future: asyncio.Future[bytes], result: bytes) -> None:
    if not future.done():
        future.set_result(result)


def _fail(future: asyncio.Future[bytes], error: Exception) -> None:
    if not future.done():
        future.set_exception(RuntimeError(repr(error)) if isinstance(error, StopIteration) else error)


__all__ = ["GRACE_SECONDS", "INSIDE", "Calls"]
