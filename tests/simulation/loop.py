"""An asyncio event loop on virtual time, shared by simulated processes. Owns who runs next and what time it is.

Every callback belongs to the process in whose context it was scheduled. Within a process callbacks run in the order asyncio promises;
between processes the seed decides, burst by burst. When nobody has anything to do, time jumps to the next timer. A paused process
keeps what becomes ready until it is resumed; a killed one never runs again, not even its `finally` blocks.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from tests.simulation.chance import Chance
from tests.simulation.futures import fail, settle

EPOCH = 1_800_000_000.0
"""Unix seconds at virtual time 0, by a clock that is right."""
_MAX_BURST = 24
"""Callbacks of one process before another may run."""
_PRUNE_AT = 512


class Process:
    """One simulated process. `wall_offset` is how wrong its wall clock is, in seconds; its monotonic clock is never wrong."""

    def __init__(self, name: str, number: int) -> None:
        self.name = name
        self.number = number
        self.state = "running"
        self.wall_offset = 0.0
        self.hindered = False
        """It was paused, or cut off for a while: it may act on what is no longer true."""
        self.ready: deque[asyncio.Handle] = deque()
        self.tasks: list[asyncio.Task[Any]] = []
        """Kept so that a killed process's coroutines are not collected, which would run their `finally` blocks."""
        self.context = contextvars.copy_context()
        self.context.run(PROCESS.set, self)
        self.prune_at = _PRUNE_AT
        self.at_death: list[Callable[[], None]] = []

    @property
    def alive(self) -> bool:
        return self.state != "killed"

    def __repr__(self) -> str:
        return self.name


PROCESS: contextvars.ContextVar[Process] = contextvars.ContextVar("simulated process")


class Stuck(RuntimeError):
    """Nobody has anything to do and no timer is set: the simulation would wait for ever."""


class OrderedTask(asyncio.Task):  # type: ignore[type-arg]
    """A task that hashes by its number, so that sets of tasks iterate in the same order on every replay."""

    number = 0

    def __hash__(self) -> int:
        return self.number


class SimulatedLoop(asyncio.BaseEventLoop):
    """Run it with `run_until_complete`. `world` is the process of everything outside the services; it is never paused or killed."""

    def __init__(self, chance: Chance) -> None:
        super().__init__()
        self._chance = chance
        self.now = 0.0
        self.steps = 0
        self.world = Process("world", 0)
        self._living = [self.world]
        self._process_count = 1
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        """A heap; of those due at one time the one that was set first is the first."""
        self._timer_count = 0
        self._task_count = 0
        self.thread_seconds: Callable[[], float] = lambda: 0.001
        """How long a thread takes before it does something, and again after it."""
        self.set_task_factory(_make_task)
        self.set_exception_handler(_ignore)

    def time(self) -> float:
        return self.now

    # -- processes

    def process(self, name: str) -> Process:
        found = Process(name, self._process_count)
        self._process_count += 1
        self._living.append(found)
        return found

    def spawn(self, process: Process, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        """A task of `process`."""
        task: asyncio.Task[Any] = process.context.copy().run(self.create_task, work, name=name)
        return task

    def later(self, seconds: float, callback: Callable[..., None], *args: Any) -> asyncio.TimerHandle:
        """Call outside every process, whoever asks."""
        return self.call_at(self.now + seconds, callback, *args, context=self.world.context)

    def kill(self, process: Process) -> None:
        """It is gone between two callbacks. What it had sent is decided by whoever carries it."""
        process.state = "killed"
        process.ready.clear()
        if process in self._living:
            self._living.remove(process)
        for callback in process.at_death:
            callback()

    # -- what asyncio calls

    def _call_soon(self, callback: Any, args: Any, context: Any) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._put(handle)
        return handle

    def call_soon(self, callback: Any, *args: Any, context: Any = None) -> asyncio.Handle:
        return self._call_soon(callback, args, context)

    def call_at(self, when: float, callback: Any, *args: Any, context: Any = None) -> asyncio.TimerHandle:
        timer = asyncio.TimerHandle(when, callback, args, self, context)
        self._timer_count += 1
        heapq.heappush(self._timers, (when, self._timer_count, timer))
        return timer

    def call_later(self, delay: float, callback: Any, *args: Any, context: Any = None) -> asyncio.TimerHandle:
        return self.call_at(self.now + delay, callback, *args, context=context)

    def run_in_executor(self, executor: Any, func: Any, *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]
        """A thread: what it does happens at one moment, some time from now, and its result is known some time after that.

        Nobody can stop it but the end of its process; a paused process's threads stand still.
        """
        future = self.create_future()

        def work() -> None:
            try:
                outcome = func(*args)
            except Exception as error:  # noqa: BLE001 - it is for who awaits the thread
                self.call_at(self.now + self.thread_seconds(), fail, future, error)
            else:
                self.call_at(self.now + self.thread_seconds(), settle, future, outcome)

        self.call_at(self.now + self.thread_seconds(), work)
        return future

    def call_soon_threadsafe(self, callback: Any, *args: Any, context: Any = None) -> asyncio.Handle:
        return self._call_soon(callback, args, context)

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """It is skipped when its time comes."""

    def _put(self, handle: asyncio.Handle) -> None:
        process = handle._context.get(PROCESS, self.world)  # type: ignore[attr-defined]
        if process.state != "killed":
            process.ready.append(handle)

    def _run_once(self) -> None:
        process = self._next()
        if process is None:
            return
        ready = process.ready
        for _ in range(min(len(ready), self._chance.burst(_MAX_BURST))):
            if not ready:  # killed by its own call
                break
            handle = ready.popleft()
            if not handle._cancelled:  # type: ignore[attr-defined]
                self.steps += 1
                handle._run()  # type: ignore[attr-defined]
            if process.state == "paused":
                break

    def _next(self) -> Process | None:
        while True:
            timers = self._timers
            while timers and (timers[0][0] <= self.now or timers[0][2]._cancelled):  # type: ignore[attr-defined]
                _, _, timer = heapq.heappop(timers)
                if not timer._cancelled:  # type: ignore[attr-defined]
                    self._put(timer)
            runnable = [process for process in self._living if process.ready and process.state == "running"]
            if runnable:
                return runnable[0] if len(runnable) == 1 else self._chance.pick(runnable)
            if self._stopping:  # type: ignore[attr-defined]
                return None
            if not timers:
                raise Stuck("nothing is ready and no timer is set")
            self.now = timers[0][0]


def _make_task(loop: asyncio.AbstractEventLoop, coro: Any, **more: Any) -> asyncio.Task[Any]:
    assert isinstance(loop, SimulatedLoop)
    task = OrderedTask(coro, loop=loop, **more)
    loop._task_count += 1
    task.number = loop._task_count
    task._log_destroy_pending = False  # type: ignore[attr-defined]
    process = PROCESS.get(loop.world)
    process.tasks.append(task)
    if len(process.tasks) > process.prune_at:
        process.tasks = [kept for kept in process.tasks if not kept.done()]
        process.prune_at = 2 * len(process.tasks) + _PRUNE_AT
    return task


def _ignore(_loop: asyncio.AbstractEventLoop, _context: dict[str, Any]) -> None:
    """What nobody awaited is not lost: services' ends and error logs are looked at by the simulation."""
