"""Waiting for a condition in tests: bounded, and with a message that says what was last seen."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

POLL_SECONDS = 0.01
DEFAULT_SECONDS = 20.0


async def wait_until(
    predicate: Callable[[], T | Awaitable[T]],
    *,
    seconds: float = DEFAULT_SECONDS,
    message: str | Callable[[], str] = "",
    ignore: tuple[type[Exception], ...] = (),
) -> T:
    """Call `predicate` (plain or async) until its value is true, and return that value.

    `ignore` names exceptions that mean "not yet". Raises `AssertionError` after `seconds` with `message`, the last value and the
    last ignored exception.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + seconds
    poll = POLL_SECONDS
    while True:
        last: object
        try:
            value = predicate()
            if inspect.isawaitable(value):
                value = await value
            if value:
                return value
            last = value
        except ignore as error:
            last = error
        if loop.time() >= deadline:
            text = message() if callable(message) else message
            raise AssertionError(f"not within {seconds} s: {text or predicate}; last: {last!r}")
        await asyncio.sleep(poll)
        poll = min(poll * 1.3, 0.2)
