"""Tasks and futures whose identity is their place in the run, not their address.

A set of tasks is iterated in the order of hashes, and the default hash is the address: `asyncio.wait` and the
cancelling of a `TaskGroup` would differ from process to process. Ours hash in the order of creation. The seed in the
upper bits keeps the hashes of different runs apart: asyncio keeps all tasks of the process in one `WeakSet`.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

SERIAL_BITS = 20
"""Serial numbers fill the low bits of a hash; sets of few members are then iterated in the order of creation."""
FUTURE_BIT = 1 << (SERIAL_BITS - 1)
"""Futures count on their own: Python versions differ in how many asyncio makes, not in how many tasks the code makes."""


class Future(asyncio.Future[T]):
    """A future that hashes in the order of creation within its loop."""

    __slots__ = ("_identity",)

    def __init__(self, loop: asyncio.AbstractEventLoop, identity: int) -> None:
        self._identity = identity
        super().__init__(loop=loop)

    def __hash__(self) -> int:
        return self._identity


class Task(asyncio.Task[T]):
    """A task with its path in the run (`0` the root, `0.2` the second task that the root created) and its counters.

    Cancellations are counted here: from 3.13 on asyncio's `uncancel` takes back one that is not delivered yet, before it does not.

    `commands` counts the ids that were issued within the task, `children` the tasks that it created.
    """

    __slots__ = ("_cancels", "_identity", "children", "commands", "path")

    def __init__(
        self,
        coro: Coroutine[Any, Any, T],
        loop: asyncio.AbstractEventLoop,
        path: str,
        identity: int,
        name: str | None,
        context: contextvars.Context | None,
    ) -> None:
        self._identity = identity  # before the base registers the task in a WeakSet, which asks for the hash
        self.path = path
        self.children = 0
        self.commands = 0
        self._cancels = 0
        super().__init__(coro, loop=loop, name=name or f"task-{path}", context=context)

    def __hash__(self) -> int:
        return self._identity

    def cancel(self, msg: Any = None) -> bool:
        self._cancels += not self.done()
        return super().cancel(msg)

    def cancelling(self) -> int:
        return self._cancels

    def uncancel(self) -> int:
        self._cancels = max(0, self._cancels - 1)
        return self._cancels
