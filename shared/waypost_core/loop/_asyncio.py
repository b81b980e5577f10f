"""The places where asyncio itself does not replay, made deterministic while one of our loops runs.

- `wait_for` wraps its coroutine in a task on 3.11 and does not from 3.12 on: command ids would differ between versions.
- `gather` on 3.11 counts what is done already one round of callbacks later than from 3.12 on.
- `as_completed` starts coroutines in the order of a set, that is of addresses (probed, all versions).
- `TaskGroup`, `Condition` and `Semaphore` treat a cancellation that comes together with something else as their version does.
- the future of `gather` hashes by address, so a set of them (`asyncio.wait`) is in no order.

Users import these functions by name, before or after us, so replacing the module's attribute is not enough: the code
object of the function is replaced, once per process. The new code asks which loop runs and hands everybody else on
to the original. `docs/adr/0130-deterministic-loop.md` says what was rejected.
"""

from __future__ import annotations

import asyncio
import asyncio.tasks
import sys
from asyncio import futures
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Iterator
from types import FunctionType
from typing import Any, TypeVar

from waypost_core.loop._gather import gather

T = TypeVar("T")


class LoopKind:
    """Marks our loop; a class of its own so that this module needs not import the loop."""

    __slots__ = ()

    def gathered_identity(self) -> int:
        """The hash of the next future that `gather` made."""
        raise NotImplementedError


_original: dict[str, Callable[..., Any]] = {}


def install() -> None:
    """Put the deterministic versions in place. Idempotent; no effect on code that runs on another loop."""
    if _original:
        return
    _replace(asyncio.tasks.as_completed, _as_completed_code)
    if sys.version_info < (3, 12):
        _replace(asyncio.tasks.wait_for, _wait_for_code)
        _replace(asyncio.tasks.gather, _gather_code)
    _replace(asyncio.TaskGroup.__aexit__, _leave_group_code)
    if sys.version_info < (3, 13):
        _replace(asyncio.Condition.wait, _wait_code)
        _replace(asyncio.Condition.notify, _notify_code)
        _replace(asyncio.Semaphore.acquire, _acquire_code)
        _replace(asyncio.Semaphore._wake_up_next, _wake_next_code)
    gathering: Any = asyncio.tasks._GatheringFuture  # type: ignore[attr-defined]
    gathering.__hash__ = _hash_of_gathering


def _replace(function: Any, replacement: Any) -> None:
    original = FunctionType(function.__code__, function.__globals__, function.__name__, function.__defaults__, function.__closure__)
    original.__kwdefaults__ = function.__kwdefaults__
    _original[function.__qualname__] = original
    function.__code__ = replacement.__code__


# These are executed with the globals of asyncio's own modules: they must import what they use.


def _as_completed_code(fs: Any, *, timeout: float | None = None) -> Any:
    from waypost_core.loop._asyncio import dispatch_as_completed

    return dispatch_as_completed(fs, timeout)


async def _wait_for_code(fut: Any, timeout: float | None) -> Any:  # noqa: ASYNC109 - asyncio's signature
    from waypost_core.loop._asyncio import dispatch_wait_for

    return await dispatch_wait_for(fut, timeout)


def _gather_code(*coros_or_futures: Any, return_exceptions: bool = False) -> Any:
    from waypost_core.loop._asyncio import dispatch_gather

    return dispatch_gather(coros_or_futures, return_exceptions)


async def _leave_group_code(self: Any, et: Any, exc: Any, tb: Any) -> Any:
    from waypost_core.loop._asyncio import choose
    from waypost_core.loop._locks import leave_group

    return await choose("TaskGroup.__aexit__", leave_group)(self, et, exc, tb)


async def _wait_code(self: Any) -> Any:
    from waypost_core.loop._asyncio import choose
    from waypost_core.loop._locks import wait_on_condition

    return await choose("Condition.wait", wait_on_condition)(self)


def _notify_code(self: Any, n: int = 1) -> Any:
    from waypost_core.loop._asyncio import choose
    from waypost_core.loop._locks import notify_condition

    return choose("Condition.notify", notify_condition)(self, n)


async def _acquire_code(self: Any) -> Any:
    from waypost_core.loop._asyncio import choose
    from waypost_core.loop._locks import acquire_semaphore

    return await choose("Semaphore.acquire", acquire_semaphore)(self)


def _wake_next_code(self: Any) -> Any:
    from waypost_core.loop._asyncio import choose
    from waypost_core.loop._locks import wake_next

    return choose("Semaphore._wake_up_next", wake_next)(self)


def choose(name: str, ours: Callable[..., Any]) -> Callable[..., Any]:
    """Our version on a loop of ours, asyncio's own on every other."""
    return ours if isinstance(asyncio._get_running_loop(), LoopKind) else _original[name]


def dispatch_as_completed(fs: Any, timeout: float | None) -> Any:
    """`asyncio.as_completed` for whichever loop runs."""
    loop = asyncio._get_running_loop()
    if isinstance(loop, LoopKind):
        return AsCompleted(fs, timeout, loop)
    return _original["as_completed"](fs, timeout=timeout)


def dispatch_wait_for(fut: Any, timeout: float | None) -> Coroutine[Any, Any, Any]:
    """`asyncio.wait_for` for whichever loop runs."""
    if isinstance(asyncio._get_running_loop(), LoopKind):
        return wait_for(fut, timeout)
    result: Coroutine[Any, Any, Any] = _original["wait_for"](fut, timeout)
    return result


def dispatch_gather(awaitables: tuple[Any, ...], return_exceptions: bool) -> Any:
    """`asyncio.gather` for whichever loop runs."""
    if isinstance(asyncio._get_running_loop(), LoopKind):
        return gather(awaitables, return_exceptions=return_exceptions)
    return _original["gather"](*awaitables, return_exceptions=return_exceptions)


async def wait_for(fut: Awaitable[T], timeout: float | None) -> T:  # noqa: ASYNC109 - asyncio's signature
    """`wait_for` as CPython 3.12 has it: the awaitable is awaited in the caller's own task."""
    if timeout is not None and timeout <= 0:
        task = asyncio.ensure_future(fut)
        if task.done():
            return task.result()
        await _cancel_and_wait(task)
        try:
            return task.result()
        except asyncio.CancelledError as error:
            raise TimeoutError from error
    async with asyncio.timeout(timeout):
        return await fut


async def _cancel_and_wait(task: asyncio.Future[Any]) -> None:
    """As CPython has it: not by awaiting `task`, so that cancelling the wait itself is noticed."""
    waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def release(_: object) -> None:
        if not waiter.done():
            waiter.set_result(None)

    task.add_done_callback(release)
    try:
        task.cancel()
        await waiter
    finally:
        task.remove_done_callback(release)


class AsCompleted:
    """`as_completed` as CPython 3.13 has it (an iterator and an async iterator), started in the order of its arguments."""

    def __init__(self, fs: Iterable[Awaitable[Any]], timeout: float | None, loop: asyncio.AbstractEventLoop) -> None:
        if futures.isfuture(fs) or asyncio.iscoroutine(fs):
            raise TypeError(f"expects an iterable of awaitables, not {type(fs).__name__}")
        self._done: asyncio.Queue[asyncio.Future[Any] | None] = asyncio.Queue()
        self._todo = {asyncio.ensure_future(f, loop=loop): None for f in dict.fromkeys(fs)}
        for future in self._todo:
            future.add_done_callback(self._completed)
        self._left = len(self._todo)
        self._timer = loop.call_later(timeout, self._timed_out) if self._todo and timeout is not None else None

    def __iter__(self) -> Iterator[Coroutine[Any, Any, Any]]:
        return self

    def __aiter__(self) -> AsyncIterator[asyncio.Future[Any]]:
        return self

    def __next__(self) -> Coroutine[Any, Any, Any]:
        if not self._left:
            raise StopIteration
        self._left -= 1
        return self._result_of_next()

    async def __anext__(self) -> asyncio.Future[Any]:
        if not self._left:
            raise StopAsyncIteration
        self._left -= 1
        return await self._next()

    async def _result_of_next(self) -> Any:
        return (await self._next()).result()

    async def _next(self) -> asyncio.Future[Any]:
        future = await self._done.get()
        if future is None:
            raise TimeoutError
        return future

    def _completed(self, future: asyncio.Future[Any]) -> None:
        if future not in self._todo:
            return  # timed out before
        del self._todo[future]
        self._done.put_nowait(future)
        if not self._todo and self._timer is not None:
            self._timer.cancel()

    def _timed_out(self) -> None:
        for future in self._todo:
            future.remove_done_callback(self._completed)
            self._done.put_nowait(None)
        self._todo.clear()


def _hash_of_gathering(future: Any) -> int:
    identity = getattr(future, "_waypost_identity", None)
    if identity is None:
        loop = future.get_loop()
        if not isinstance(loop, LoopKind):
            return object.__hash__(future)
        identity = future._waypost_identity = loop.gathered_identity()
    return int(identity)


__all__ = ["AsCompleted", "LoopKind", "install", "wait_for"]
