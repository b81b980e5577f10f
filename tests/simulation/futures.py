"""Answers to processes that may not wait for them any more."""

from __future__ import annotations

import asyncio
from typing import Any


def at_once(result: Any) -> Any:
    """The value of a coroutine of the memory adapters, which wait for nothing."""
    if not asyncio.iscoroutine(result):
        return result
    try:
        while True:
            result.send(None)
    except StopIteration as stop:
        return stop.value


def settle(future: asyncio.Future[Any], outcome: Any) -> None:
    """Give the waiting process its answer or its error, unless it waits no longer."""
    if future.done():
        return
    if isinstance(outcome, BaseException):
        fail(future, outcome)
    else:
        future.set_result(outcome)


def fail(future: asyncio.Future[Any], error: BaseException) -> None:
    """Give the waiting process an error, unless it waits no longer."""
    if not future.done():
        future.set_exception(error)
        future.exception()  # marks it as seen: who drops the awaitable gets no warning
