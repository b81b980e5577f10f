"""Threads for tools that are plain functions. Owns their bound and their end.

A thread cannot be cancelled: a call that timed out goes on in its thread. So the threads are daemons, which the end of the process does
not wait for (the standard executor's would keep it alive as long as the slowest of them), and their number is bounded past the number
of calls: when abandoned ones have used the rest up, a new call is refused before it began, which may be retried.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from waypost import NotExecuted

T = TypeVar("T")


class ToolThreads(ThreadPoolExecutor):
    """A daemon thread per call, at most `limit` at once. For `loop.set_default_executor`, which insists on the base class."""

    def __init__(self, limit: int) -> None:
        super().__init__(max_workers=1)
        self._limit = limit
        self._running = 0
        self._count = threading.Lock()

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Start `fn` in a thread of its own. Raises `NotExecuted` when `limit` threads are busy."""
        with self._count:
            if self._running >= self._limit:
                raise NotExecuted(f"no thread is free: {self._limit} calls are running, some of them past their time limit")
            self._running += 1
        future: Future[T] = Future()
        future.set_running_or_notify_cancel()
        threading.Thread(target=self._run, args=(future, fn, args, kwargs), name="tool", daemon=True).start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Nothing to do: daemon threads end with the process."""

    def _run(self, future: Future[T], fn: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        try:
            result = fn(*args, **kwargs)
        except BaseException as error:  # noqa: BLE001 - it is the caller's, who awaits the future
            self._done()
            future.set_exception(error)
        else:
            self._done()
            future.set_result(result)

    def _done(self) -> None:
        with self._count:
            self._running -= 1
