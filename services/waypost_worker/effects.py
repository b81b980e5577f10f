"""Runs local effects (`ctx.step`) as real tasks, never more than a bound at a time. Owns their tasks, nothing of their runs."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import Self

from waypost.execution import EffectResult, LocalEffect, failure_of
from waypost_proto.usage import Usage
from waypost_proto.values import Failure

_MAX_MESSAGE_CHARS = 8_000
"""A failure is read by people and kept for ever: what an exception says past this is cut."""

Done = Callable[[EffectResult], None]


class EffectRunner:
    """An async context manager; leaving cancels what still runs. Results go to the `done` that an effect was started with.

    `done` is not called for an effect whose handle was cancelled by `Handle.drop`: its run has let go of it.
    """

    def __init__(self, limit: int, clock: Callable[[], float] = time.time) -> None:
        """`clock` gives the Unix seconds that results carry: the database's time, for whoever has it."""
        self._clock = clock
        self._gate = Gate(limit)
        self._tasks = asyncio.TaskGroup()
        self._running: set[Handle] = set()

    async def __aenter__(self) -> Self:
        await self._tasks.__aenter__()
        return self

    async def __aexit__(self, *exc: object) -> None:
        for handle in self._running:
            handle.drop()
        await self._tasks.__aexit__(None, None, None)

    @property
    def running(self) -> int:
        """Effects that were started and have not ended, those that wait for their turn included."""
        return len(self._running)

    def start(self, effect: LocalEffect, done: Done) -> Handle:
        """Start one effect. `done` is called from the event loop, once, unless the handle is dropped first."""
        handle = Handle(effect, done, self._clock)
        task = self._tasks.create_task(self._run(handle))
        handle.task = task
        effect.on_cancel = task.cancel  # not the handle's: it refers to the effect, and only a collector would free the two
        self._running.add(handle)
        task.add_done_callback(lambda ended: self._ended(handle, ended))
        return handle

    def _ended(self, handle: Handle, task: asyncio.Task[None]) -> None:
        self._running.discard(handle)
        handle.report(task)

    async def _run(self, handle: Handle) -> None:
        """Keeps the outcome in the handle. Whatever the user's function raises, `SystemExit` too, is the failure of the step."""
        if not self._gate.enter():
            await self._gate.turn()
        try:
            handle.started = time.monotonic()
            handle.result = await handle.effect.run()
        except (asyncio.CancelledError, GeneratorExit):
            raise
        except BaseException as error:  # noqa: BLE001 - the supervisor of user code
            handle.error = shortened(failure_of(error))
        finally:
            self._gate.leave()


class Gate:
    """At most `limit` at a time, first come, first served: a semaphore that costs next to nothing while there is room.

    (`asyncio.Semaphore` is one of the things that the deterministic loop stands in for, so each use of it looks whose it is.)
    """

    def __init__(self, limit: int) -> None:
        self._free = limit
        self._waiting: deque[asyncio.Future[None]] = deque()

    def enter(self) -> bool:
        """Take a place; False if there is none, then `turn` is to follow. `leave` gives it back."""
        if self._free <= 0:
            return False
        self._free -= 1
        return True

    async def turn(self) -> None:
        """Wait for a place. Cancelled, it has none."""
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        try:
            await place
        except BaseException:
            if place.done() and not place.cancelled():
                self.leave()  # it was given one in the same turn of the loop
            raise

    def leave(self) -> None:
        """Give the place to whoever waits longest."""
        while self._waiting:
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(None)
                return
        self._free += 1


class Handle:
    """One effect under way."""

    __slots__ = ("_clock", "_done", "effect", "error", "result", "started", "task")

    def __init__(self, effect: LocalEffect, done: Done, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.effect = effect
        self.task: asyncio.Task[None] | None = None
        self.started: float | None = None
        self.result: bytes | None = None
        self.error: Failure | None = None
        self._done: Done | None = done

    def cancel(self) -> None:
        """Ask it to end; `done` is told that it was cancelled."""
        if self.task is not None:
            self.task.cancel()

    def drop(self) -> None:
        """Ask it to end and tell nobody. Idempotent."""
        self._done = None
        self.cancel()

    def report(self, task: asyncio.Task[None]) -> None:
        """The task is done: report, unless nobody wants to know."""
        done, self._done = self._done, None
        if done is None:
            return
        error = self.error
        if task.cancelled():
            error = Failure(type="Cancelled", message="the step was cancelled before it ended")
        elif task.exception() is not None:  # what `_run` lets through must not pass for a result
            error = shortened(failure_of(task.exception() or RuntimeError()))
        duration = 0.0 if self.started is None else time.monotonic() - self.started
        result = None if error is not None else self.result
        done(
            EffectResult(
                call_id=self.effect.call_id,
                at=self._clock(),
                duration_seconds=duration,
                result=result,
                error=error,
                usage=Usage() if self.started is None else self.effect.meter.usage,
                fingerprint=self.effect.meter.fingerprint,
                model=self.effect.meter.model,
            )
        )


def shortened(failure: Failure) -> Failure:
    """The failure with a message that people can read."""
    if len(failure.message) <= _MAX_MESSAGE_CHARS:
        return failure
    return Failure(type=failure.type, message=failure.message[:_MAX_MESSAGE_CHARS] + " … (cut)", details=failure.details)
