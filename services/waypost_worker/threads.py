"""Threads for local steps that are plain functions. Owns their bound and their end.

A thread cannot be cancelled: a step that nobody waits for any more goes on in its thread. So the threads are daemons, which the end of
the process does not wait for (the standard executor's would keep a draining worker alive as long as the slowest step).
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

T = TypeVar("T")


class StepThreads(ThreadPoolExecutor):
    """Up to `limit` daemon threads; what is more waits in order. For `loop.set_default_executor`, which insists on the base class."""

    def __init__(self, limit: int) -> None:
        super().__init__(max_workers=1)
        self._limit = limit
        self._lock = threading.Lock()
        self._waiting: deque[Callable[[], None]] = deque()
        self._busy = 0

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Run `fn` as soon as a thread is free. A future that is cancelled before that never runs."""
        future: Future[T] = Future()
        call = partial(_run, future, fn, args, kwargs)
        with self._lock:
            if self._busy >= self._limit:
                self._waiting.append(call)
                return future
            self._busy += 1
        threading.Thread(target=self._work, args=(call,), name="step", daemon=True).start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Nothing to do: daemon threads end with the process."""

    def _work(self, call: Callable[[], None]) -> None:
        while True:
            call()
            with self._lock:
                if not self._waiting:
                    self._busy -= 1
                    return
                call = self._waiting.popleft()


def _run(future: Future[T], fn: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = fn(*args, **kwargs)
    except BaseException as error:  # noqa: BLE001 - it is the caller's, who awaits the future
        future.set_exception(error)
    else:
        future.set_result(result)
