"""`asyncio.gather` as CPython 3.12 has it, for 3.11: what is done already counts at once, not one round of callbacks later."""

from __future__ import annotations

import asyncio
import asyncio.tasks
from collections.abc import Awaitable
from typing import Any


def gather(awaitables: tuple[Awaitable[Any], ...], *, return_exceptions: bool) -> asyncio.Future[list[Any]]:
    """The future of all results in order. Only on a running loop of ours."""
    if awaitables:
        return _Gathering(awaitables, return_exceptions).start()
    empty: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
    empty.set_result([])
    return empty


class _Gathering:
    """One call of `gather`: its futures, how many are not done, and the outer future."""

    def __init__(self, awaitables: tuple[Awaitable[Any], ...], return_exceptions: bool) -> None:
        self.return_exceptions = return_exceptions
        futures: dict[Awaitable[Any], Any] = {}
        for awaitable in awaitables:
            if awaitable not in futures:
                future: Any = asyncio.ensure_future(awaitable)
                if future is not awaitable:
                    future._log_destroy_pending = False
                futures[awaitable] = future
        self.futures: list[Any] = list(futures.values())
        self.children: list[Any] = [futures[awaitable] for awaitable in awaitables]
        self.left = len(self.futures)
        gathering: Any = asyncio.tasks._GatheringFuture  # type: ignore[attr-defined]
        self.outer: Any = gathering(self.children, loop=asyncio.get_running_loop())

    def start(self) -> asyncio.Future[list[Any]]:
        finished = [future for future in self.futures if future.done()]
        for future in self.futures:
            if not future.done():
                future.add_done_callback(self.done)
        for future in finished:
            self.done(future)
        outer: asyncio.Future[list[Any]] = self.outer
        return outer

    def done(self, future: Any) -> None:
        self.left -= 1
        if self.outer.done():
            if not future.cancelled():
                future.exception()  # retrieved: nobody else will
            return
        error = None if self.return_exceptions else _error_of(future)
        if error is not None:
            self.outer.set_exception(error)
        elif not self.left:
            results = [_result_of(child) for child in self.children]
            if self.outer._cancel_requested:
                self.outer.set_exception(future._make_cancelled_error())
            else:
                self.outer.set_result(results)


def _error_of(future: Any) -> BaseException | None:
    error: BaseException | None = future._make_cancelled_error() if future.cancelled() else future.exception()
    return error


def _result_of(future: Any) -> Any:
    if future.cancelled():
        return asyncio.CancelledError("" if future._cancel_message is None else future._cancel_message)
    error = future.exception()
    return future.result() if error is None else error
