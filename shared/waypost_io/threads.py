"""Daemon threads for users' plain functions. Owns their bound and their end.

A thread cannot be cancelled: what nobody waits for any more goes on in its thread. So the threads are daemons, which the end of the process
does not wait for (the standard executor's would keep it alive as long as the slowest of them).
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

T = TypeVar("T")


class DaemonThreads(ThreadPoolExecutor):
    """Up to `limit` daemon threads. For `loop.set_default_executor`, which insists on the base class.

    What is more waits in order, or, with `refuse`, is refused by raising what it returns.
    """

    def __init__(self, limit: int, *, name: str, refuse: Callable[[], Exception] | None = None) -> None:
        super().__init__(max_workers=1)
        self._limit = limit
        self._name = name
        self._refuse = refuse
        self._lock = threading.Lock()
        self._waiting: deque[Callable[[], Callable[[], None]]] = deque()
        self._busy = 0

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Run `fn` as soon as a thread is free. A future that is cancelled before that never runs."""
        future: Future[T] = Future()
        call = partial(_run, future, fn, args, kwargs)
        with self._lock:
            if self._busy >= self._limit:
                if self._refuse is not None:
                    raise self._refuse()
                self._waiting.append(call)
                return future
            self._busy += 1
        threading.Thread(target=self._work, args=(call,), name=self._name, daemon=True).start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Nothing to do: daemon threads end with the process."""

    def _work(self, call: Callable[[], Callable[[], None]]) -> None:
        while True:
            tell = call()
            if self._refuse is not None:
                with self._lock:
                    self._busy -= 1
                tell()  # after the thread counts as free: whoever is told may want one at once, and nobody waits for it
                return
            tell()
            with self._lock:
                if not self._waiting:
                    self._busy -= 1
                    return
                call = self._waiting.popleft()


def _run(future: Future[T], fn: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Callable[[], None]:
    """Run it; what is returned tells the future."""
    if not future.set_running_or_notify_cancel():
        return _nothing
    try:
        result = fn(*args, **kwargs)
    except BaseException as error:  # noqa: BLE001 - it is the caller's, who awaits the future
        return partial(future.set_exception, error)
    return partial(future.set_result, result)


def _nothing() -> None:
    """Nobody is told."""
