"""The time limit of a tool's code: like `asyncio.timeout`, but free for code that never waits, and with an end for code that will not stop.

Owns the timers of one execution. The code runs in the task that handles the call (a task of its own would cost more than most tools);
the limit cancels that task, and `expired` tells such a cancellation from one that comes from outside.
"""

from __future__ import annotations

import asyncio
import types
from collections.abc import Callable, Coroutine, Generator
from typing import Any, TypeVar

T = TypeVar("T")


class TimeLimit:
    """For one execution, in the task that makes it. `on_stuck` is called once, `grace_seconds` after code was told to stop and went on."""

    __slots__ = ("_cancelling", "_ends_at", "_grace_seconds", "_handle", "_loop", "_now", "_on_stuck", "_task", "expired")

    def __init__(self, seconds: float, *, grace_seconds: float, on_stuck: Callable[[], None] | None) -> None:
        self._loop = asyncio.get_running_loop()
        self._ends_at = self._loop.time() + seconds
        self._grace_seconds = grace_seconds
        self._on_stuck = on_stuck
        self._task: asyncio.Task[Any] | None = None
        self._cancelling = 0
        self._handle: asyncio.TimerHandle | None = None
        self._now = False
        self.expired = False
        """The code was told to stop, because its time was over or by `interrupt`."""

    def interrupt(self) -> None:
        """End the code now, or when it waits for the first time. Idempotent."""
        self._now = True
        if self._task is not None and not self.expired:
            self._expire()

    def arm(self) -> None:
        """The code waits for the first time."""
        self._task = asyncio.current_task()
        assert self._task is not None, "tools run in tasks"
        self._cancelling = self._task.cancelling()
        if self._now:
            self._handle = self._loop.call_later(0, self._expire)
        else:
            self._handle = self._loop.call_at(self._ends_at, self._expire)

    def close(self) -> None:
        """The code has ended. Takes back the cancellation, so that the task can go on. Idempotent."""
        if self._handle is not None:
            self._handle.cancel()
        if self.expired and self._task is not None:
            self._task.uncancel()
        self._task = None

    @property
    def cancelled_from_outside(self) -> bool:
        """Asked after `close`: somebody else wants the task to end too."""
        task = asyncio.current_task()
        return task is not None and task.cancelling() > self._cancelling

    def _expire(self) -> None:
        if self._task is None or self.expired:
            return
        self.expired = True
        if self._handle is not None:
            self._handle.cancel()
        self._task.cancel()
        if self._on_stuck is not None:
            self._handle = self._loop.call_later(self._grace_seconds, self._on_stuck)


@types.coroutine
def limited(code: Coroutine[Any, Any, T], limit: TimeLimit) -> Generator[Any, Any, T]:
    """Run `code`; the limit's timer is set only when the code waits, which most calls that are answered from memory never do."""
    try:
        waits_for = code.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    limit.arm()
    while True:
        try:
            sent = yield waits_for
        except GeneratorExit:
            code.close()
            raise
        except BaseException as error:  # noqa: BLE001 - whatever the task is given is for the code
            step: Callable[[], Any] = _thrower(code, error)
        else:
            step = _sender(code, sent)
        try:
            waits_for = step()
        except StopIteration as done:
            result = done.value
            return result


def _thrower(code: Coroutine[Any, Any, Any], error: BaseException) -> Callable[[], Any]:
    return lambda: code.throw(error)


def _sender(code: Coroutine[Any, Any, Any], value: Any) -> Callable[[], Any]:
    return lambda: code.send(value)
