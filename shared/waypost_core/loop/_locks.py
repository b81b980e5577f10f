"""Task groups as CPython 3.12 has them, conditions and semaphores as 3.13 has them: what a cancellation does that comes together with
something else differs between versions, also between patch releases, and a run may go on under another one.

Task groups are not those of 3.13, which cancels the task again when the group's own errors hide a cancellation: that needs
a task that forgets a pending cancellation (`Task.uncancel`), which those of 3.11 and 3.12 cannot.

Each function stands in for the method of the same name; `self` is asyncio's own object.
"""

from __future__ import annotations

import asyncio
from collections import deque
from types import TracebackType
from typing import Any


async def leave_group(group: Any, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
    """`TaskGroup.__aexit__`: errors of the group's own go before a cancellation from outside."""
    group._exiting = True
    if error is not None and group._is_base_error(error) and group._base_error is None:
        group._base_error = error
    cancelled: BaseException | None = error if isinstance(error, asyncio.CancelledError) else None
    if group._parent_cancel_requested and group._parent_task.uncancel() == 0:
        cancelled = None
    if kind is not None and not group._aborting:
        group._abort()
    while group._tasks:
        cancelled = await _members_left(group, cancelled)
    if group._base_error is not None:
        raise group._base_error
    if cancelled is not None and not group._errors:
        raise cancelled
    if error is not None and not isinstance(error, asyncio.CancelledError):
        group._errors.append(error)
    if group._errors:
        try:
            raise BaseExceptionGroup("unhandled errors in a TaskGroup", group._errors) from None
        finally:
            group._errors = None


async def _members_left(group: Any, cancelled: BaseException | None) -> BaseException | None:
    if group._on_completed_fut is None:
        group._on_completed_fut = group._loop.create_future()
    try:
        await group._on_completed_fut
    except asyncio.CancelledError as error:
        if not group._aborting:
            cancelled = error
            group._abort()
    group._on_completed_fut = None
    return cancelled


async def wait_on_condition(condition: Any) -> bool:
    """`Condition.wait`: who is cancelled after it was notified passes the notification on."""
    if not condition.locked():
        raise RuntimeError("cannot wait on un-acquired lock")
    future = condition._get_loop().create_future()
    condition.release()
    try:
        try:
            condition._waiters.append(future)
            try:
                await future
                return True
            finally:
                condition._waiters.remove(future)
        finally:
            await _acquire_again(condition)
    except BaseException:
        _notify(condition, 1)
        raise


async def _acquire_again(condition: Any) -> None:
    """Take the lock again even if the wait is cancelled; the last cancellation is raised then."""
    last: asyncio.CancelledError | None = None
    while True:
        try:
            await condition.acquire()
            break
        except asyncio.CancelledError as error:
            last = error
    if last is not None:
        try:
            raise last
        finally:
            last = None


def notify_condition(condition: Any, n: int) -> None:
    """`Condition.notify`."""
    if not condition.locked():
        raise RuntimeError("cannot notify on un-acquired lock")
    _notify(condition, n)


def _notify(condition: Any, n: int) -> None:
    waiting = [future for future in condition._waiters if not future.done()]
    for future in waiting[:n]:
        future.set_result(False)


async def acquire_semaphore(semaphore: Any) -> bool:
    """`Semaphore.acquire`: first come, first served, whoever is cancelled meanwhile."""
    if not semaphore.locked():
        semaphore._value -= 1
        return True
    if semaphore._waiters is None:
        semaphore._waiters = deque()
    future = semaphore._get_loop().create_future()
    semaphore._waiters.append(future)
    try:
        try:
            await future
        finally:
            semaphore._waiters.remove(future)
    except asyncio.CancelledError:
        if future.done() and not future.cancelled():
            semaphore._value += 1
        raise
    finally:
        while semaphore._value > 0 and wake_next(semaphore):
            pass
    return True


def wake_next(semaphore: Any) -> bool:
    """`Semaphore._wake_up_next`: whether there was anyone to wake."""
    for future in semaphore._waiters or ():
        if not future.done():
            semaphore._value -= 1
            future.set_result(True)
            return True
    return False
