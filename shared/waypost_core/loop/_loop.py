"""The loop. Theory of operation:

*Driving.* The worker's real loop and this one live in one thread. `run_until_quiescent` is called from a plain
callback of the real loop (or from no loop at all), makes this loop the running one, runs what is ready in FIFO order,
and puts everything back in `finally`. It is synchronous: the real loop sees one long callback.

*Internals used* (the same on CPython 3.11, 3.12 and 3.13): `asyncio._get_running_loop`, `asyncio._set_running_loop`
(documented as "intended for event loop implementations"), `Handle._run` and the attributes of `Handle`,
`Task._log_destroy_pending`, `Task._log_traceback`, `tasks._GatheringFuture`. The table of current tasks is
keyed by loop, so a slice inside a task of another loop works as well; CPython 3.14 keeps it per thread and
would refuse that, which is why "from a plain callback" is the rule.

*Order.* Callbacks run in the order in which they became ready. Nothing else may influence the order: tasks and
futures hash by creation (`_tasks`), asyncio's own exceptions to the rule are replaced (`_asyncio`), the cyclic garbage
collector is off during a slice so that finalisers run where the code drops things and not at some allocation.

*Identity.* A command's id is the path of the task that issued it and a counter within that task, so ids do not depend
on how tasks interleave. Code outside any task (a bare `call_soon` callback) counts on the path `x`.

*Time.* `time()` is the run's clock: it moves only with `advance_clock` and `fire_timer`, and never back.

*Asynchronous generators.* One that is dropped by the code during a slice is closed in a task of its own, as asyncio does
it. One that the garbage collector finds later, at a moment that no replay will meet again, is kept until `close`.

*Closing.* `close` mutes first: from then on everything that the code asks for raises `Evicted`, and nothing is scheduled. Code that
catches even that and tries again would hang the worker: after `REFUSALS` times it is left waiting for something that never comes.
"""

from __future__ import annotations

import asyncio
import contextvars
import gc
import hashlib
import math
import sys
import weakref
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import Any, Protocol, TypeVar, TypeVarTuple, Unpack

from waypost_core.loop import _asyncio
from waypost_core.loop._closing import close_coroutine, close_generator
from waypost_core.loop._errors import AgentSpins, Evicted
from waypost_core.loop._forbidden import WithoutInputOutput
from waypost_core.loop._handles import Handle, Timer
from waypost_core.loop._tasks import FUTURE_BIT, SERIAL_BITS, Future, Task
from waypost_proto.errors import ContractError

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

CALLBACKS_PER_FEED = 200_000
"""Some hundred milliseconds of callbacks: far more than an agent needs between two waits."""
REFUSALS = 100
"""How often a closed run's code is told so before it is left waiting."""
_PRUNE_FROM = 64


class LoopHooks(Protocol):
    """What the loop tells its owner, during a slice. Implementations must not run the agent's code."""

    def start_timer(self, timer_id: str, fire_at: float) -> None:
        """Call `fire_timer(timer_id)` once the run's clock reaches `fire_at` (Unix seconds)."""

    def cancel_timer(self, timer_id: str) -> None:
        """The code no longer waits for this timer."""

    def unhandled(self, context: dict[str, Any]) -> None:
        """An exception that nobody retrieves, in the form of `loop.call_exception_handler`."""


class _Nobody:
    """Of a loop that is closed. A muted loop tells nothing anyway."""

    def start_timer(self, timer_id: str, fire_at: float) -> None: ...
    def cancel_timer(self, timer_id: str) -> None: ...
    def unhandled(self, context: dict[str, Any]) -> None: ...


_NOBODY = _Nobody()


class DeterministicLoop(WithoutInputOutput, _asyncio.LoopKind):
    """One run's event loop. `seed` (the run id) keeps hashes of different runs apart; `clock` is in Unix seconds."""

    def __init__(self, hooks: LoopHooks, *, seed: str = "", clock: float = 0.0, callbacks_per_feed: int = CALLBACKS_PER_FEED) -> None:
        _asyncio.install()
        self._hooks = hooks
        self._clock = clock
        self._limit = callbacks_per_feed
        self._ready: deque[asyncio.Handle] = deque()
        self._timers: dict[str, Timer] = {}
        self.reseed(seed)
        self._tasks_made = self._futures_made = self._loose_commands = self._loose_tasks = self._closing_tasks = 0
        self._tasks: list[Task[Any]] = []
        self._prune_at = _PRUNE_FROM
        self._generators: weakref.WeakSet[AsyncGenerator[Any, Any]] | None = None
        """Those that were begun; made for the first, which most runs never have."""
        self._abandoned: list[AsyncGenerator[Any, Any]] = []
        self._handler: Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object] | None = None
        self._running = False
        self._muted = False
        self._refused = 0

    def __repr__(self) -> str:
        state = "closed" if self._muted else "running" if self._running else "quiescent"
        return f"<DeterministicLoop {state} time={self._clock}>"

    # -- for the owner

    def reseed(self, seed: str) -> None:
        """Take another seed; before anything runs."""
        self._identity = int.from_bytes(hashlib.blake2b(seed.encode(), digest_size=5).digest(), "big") << SERIAL_BITS

    def start(self, coro: Coroutine[Any, Any, T]) -> Task[T]:
        """Make the run's root task, with path `0`, in an empty context."""
        return self._make_task(coro, "0", None, contextvars.Context())

    def run_until_quiescent(self) -> None:
        """Run what is ready, and what that makes ready, until nothing is. No effect on a closed loop.

        Raises `AgentSpins` past the limit of callbacks, and `ContractError` when called from an agent's code.
        `SystemExit` and `KeyboardInterrupt` stay in the task that raised them: the process has signal handlers of its own.
        """
        if not self._ready or self._muted:
            return
        self._slice(self._run_ready)

    def advance_clock(self, at: float) -> None:
        """Move the run's clock forward to `at` (Unix seconds); it never goes back."""
        self._clock = max(self._clock, at)

    def fire_timer(self, timer_id: str) -> bool:
        """A timer's time has come: False if the code no longer waits for it. The clock is then at least `fire_at`."""
        timer = self._timers.pop(timer_id, None)
        if timer is None or self._muted:
            return False
        timer.timer_id = None
        self.advance_clock(timer.when())
        self._ready.append(timer)
        return True

    def waits_for(self, timer_id: str) -> bool:
        """The timer was started and has neither fired nor been cancelled."""
        return timer_id in self._timers

    def next_id(self) -> str:
        """The id of a command that the code issues now: the current task's path, a colon, a counter within the task."""
        task = asyncio.current_task(self)
        if not isinstance(task, Task):
            self._loose_commands += 1
            return f"x:{self._loose_commands}"
        task.commands += 1
        return f"{task.path}:{task.commands}"

    def current(self) -> Task[Any] | None:
        """The task that runs, if it is one of ours (not an `asyncio.Task(…)` made by hand)."""
        task = asyncio.current_task(self)
        return task if isinstance(task, Task) else None

    @property
    def in_slice(self) -> bool:
        """The agent's code runs right now, on this loop."""
        return self._running

    @property
    def muted(self) -> bool:
        """The run was evicted or has ended: whatever the code does has no effect."""
        return self._muted

    def refuse(self) -> None:
        """The code of a muted run asks for something. Raises `Evicted`, but no more than `REFUSALS` times in all."""
        self._refused += 1
        if self._refused <= REFUSALS:
            raise Evicted

    def halt(self) -> None:
        """From a callback: nothing more runs in this slice, nor later. `close` must follow.

        Tasks that failed unobserved are reported first: they are kept alive, so their finalisers came too late.
        """
        if self._muted:
            return
        for task in self._tasks:
            if task.done() and task._log_traceback:
                self._hooks.unhandled({"message": "Task exception was never retrieved", "exception": task.exception(), "task": task})
        self._ready.clear()
        self._timers.clear()
        self._muted = True

    def close(self) -> None:
        """Mute, close every coroutine and generator that is suspended, forget everything. Idempotent."""
        if self._running:
            raise ContractError("a loop cannot be closed from the code that runs on it")
        self.halt()
        if self._tasks or self._generators or self._abandoned:
            self._slice(self._close_code)
        self._hooks = _NOBODY  # the owner has us as well: without this only a collector would free the two

    # -- slices

    def _slice(self, work: Callable[[], None]) -> None:
        outer = asyncio._get_running_loop()
        if isinstance(outer, _asyncio.LoopKind):
            raise ContractError("an agent's code cannot drive a run: this must be called from the worker's own loop")
        hooks = sys.get_asyncgen_hooks()
        collecting = gc.isenabled()
        gc.disable()
        asyncio._set_running_loop(self)
        sys.set_asyncgen_hooks(firstiter=self._note_generator, finalizer=self._finalize_generator)
        self._running = True
        try:
            work()
        finally:
            self._running = False
            sys.set_asyncgen_hooks(*hooks)
            asyncio._set_running_loop(outer)
            if collecting:
                gc.enable()

    def _run_ready(self) -> None:
        ready = self._ready
        left = self._limit
        while ready:
            handle = ready.popleft()
            if handle._cancelled:
                continue
            if not left:
                raise AgentSpins(self._limit, repr(handle))
            left -= 1
            try:
                handle._run()
            except (SystemExit, KeyboardInterrupt):
                continue  # it is the result of the task that raised it; a worker does not exit for an agent, and signals come otherwise

    def _close_code(self) -> None:
        tasks, self._tasks = self._tasks, []
        for task in reversed(tasks):
            if task.done():
                continue
            coroutine = task.get_coro()
            if coroutine is not None:
                close_coroutine(coroutine)
        generators = [*self._abandoned, *(self._generators or ())]
        self._abandoned.clear()
        for generator in generators:
            close_generator(generator)

    def _note_generator(self, generator: AsyncGenerator[Any, Any]) -> None:
        if self._generators is None:
            self._generators = weakref.WeakSet()
        self._generators.add(generator)

    def _finalize_generator(self, generator: AsyncGenerator[Any, Any]) -> None:
        if self._muted:
            if self._running:
                close_generator(generator)
        elif self._running:
            self._closing_tasks += 1
            self._make_task(generator.aclose(), f"g{self._closing_tasks}", None, None)
        else:
            self._abandoned.append(generator)

    # -- the event loop interface

    def time(self) -> float:
        """The run's clock in Unix seconds."""
        return self._clock

    def call_soon(self, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: contextvars.Context | None = None) -> asyncio.Handle:
        handle = Handle(callback, args, self, context)
        if self._muted:
            handle.cancel()  # futures schedule their callbacks while code is being closed
        else:
            self._ready.append(handle)
        return handle

    def call_later(
        self, delay: float, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self._clock + delay, callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[[Unpack[Ts]], object], *args: *Ts, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        """A timer of the run; what is due already runs soon and needs none. An infinite one never fires and is not announced."""
        if math.isnan(when):
            raise ValueError("a timer cannot be set to NaN")
        timer = Timer(when, callback, args, self, context)
        timer.timer_id = None
        if self._muted:
            self.refuse()
        elif when <= self._clock:
            self._ready.append(timer)
        elif when != math.inf:
            timer.timer_id = self.next_id()
            self._timers[timer.timer_id] = timer
            self._hooks.start_timer(timer.timer_id, when)
        return timer

    def forget_timer(self, timer: Timer) -> None:
        """The code cancelled `timer`."""
        if timer.timer_id is not None and self._timers.pop(timer.timer_id, None) is not None and not self._muted:
            self._hooks.cancel_timer(timer.timer_id)

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Called by `TimerHandle.cancel`; `forget_timer` has done it."""

    def create_future(self) -> Future[Any]:
        if self._muted:
            self.refuse()
        self._futures_made += 1
        return Future(self, self._identity + FUTURE_BIT + self._futures_made)

    def gathered_identity(self) -> int:
        self._futures_made += 1
        return self._identity + FUTURE_BIT + self._futures_made

    def create_task(
        self,
        coro: Any,
        *,
        name: str | None = None,
        context: contextvars.Context | None = None,
        **_: Any,
    ) -> Task[Any]:
        if self._muted:
            close_coroutine(coro)
            raise Evicted
        parent = asyncio.current_task(self)
        if not isinstance(parent, Task):
            self._loose_tasks += 1
            path = f"x.{self._loose_tasks}"
        else:
            parent.children += 1
            path = f"{parent.path}.{parent.children}"
        return self._make_task(coro, path, name, context)

    def _make_task(self, coro: Any, path: str, name: str | None, context: contextvars.Context | None) -> Task[Any]:
        self._tasks_made += 1
        task: Task[Any] = Task(coro, self, path, self._identity + self._tasks_made, name, context)
        task._log_destroy_pending = False  # type: ignore[attr-defined]  # a run dropped without `close` is no news either
        tasks = self._tasks  # a strong reference: asyncio's own is weak, and what the collector takes would not replay
        tasks.append(task)
        if len(tasks) > self._prune_at:
            self._tasks = [task for task in tasks if not task.done()]
            self._prune_at = max(_PRUNE_FROM, 2 * len(self._tasks))
        return task

    def get_task_factory(self) -> None:
        return None

    def get_debug(self) -> bool:
        return False

    def set_debug(self, enabled: bool) -> None:
        """Has no effect: debug mode would read the clock."""

    def is_running(self) -> bool:
        return self._running

    def is_closed(self) -> bool:
        return self._muted

    def get_exception_handler(self) -> Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object] | None:
        return self._handler

    def set_exception_handler(self, handler: Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object] | None) -> None:
        self._handler = handler

    def default_exception_handler(self, context: dict[str, Any]) -> None:
        if not self._muted:
            self._hooks.unhandled(context)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Told of exceptions that nobody retrieves. Futures call this from finalisers, at any time: never runs code then."""
        if self._handler is not None and self._running and not self._muted:
            self._handler(self, context)
        else:
            self.default_exception_handler(context)
