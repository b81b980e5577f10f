"""Waiting out a server that does not answer: the one retry loop of the gateway. Owns the delays, not what is repeated."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from waypost_proto.errors import TransientError

T = TypeVar("T")

FIRST_DELAY_SECONDS = 0.05
MAX_DELAY_SECONDS = 2.0

_log = structlog.get_logger(__name__)


async def until_reached(operation: Callable[[], Awaitable[T]], *, what: str) -> T:
    """Await `operation()` again and again while it raises `TransientError`, with growing delays; any other error passes.

    `operation` must be idempotent. Not bounded in attempts: its caller holds a slot and an unacked message, so that waiting here is the
    back-pressure that an outage needs. Cancelling ends it at once.
    """
    delay = FIRST_DELAY_SECONDS
    while True:
        try:
            return await operation()
        except TransientError as error:
            _log.warning("cannot reach a server, trying again", what=what, error=str(error), delay_seconds=delay)
        await asyncio.sleep(delay)
        delay = min(delay * 2, MAX_DELAY_SECONDS)
