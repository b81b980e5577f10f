"""Plain functions of users in a thread. Owns no thread: the running loop's default executor does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any


async def in_thread(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """`asyncio.to_thread`, which on Python 3.11 waits for ever when the function raises `StopIteration` (a bare `next(…)`).

    No future can carry that one, so it becomes `RuntimeError`, as a coroutine makes of it; and so does `GeneratorExit`, which would
    look like the end of whoever awaits it. Cancelling does not stop the thread.
    """

    def call() -> Any:
        try:
            return function(*args, **kwargs)
        except (StopIteration, GeneratorExit) as error:
            raise RuntimeError(f"{getattr(function, '__name__', 'function')} raised {type(error).__name__}") from error

    return await asyncio.to_thread(call)
