"""Running a tool's code: with a time limit, interruptible from outside, and with every way it can end told apart.

The time limit and an interruption cancel the tool's code only, never the task that handles the call: what a cancelled call means must
still be written down. A cancellation of that task itself (the gateway is being torn down) passes through untouched.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from waypost.errors import DoNotRetry, NotExecuted, RetryLater
from waypost.tools import ResultNotEncodable
from waypost_gateway.classify import Interrupted, Raised, TimedOut, Unusable
from waypost_gateway.failures import Scrubber, failure_of
from waypost_gateway.inflight import Work

T = TypeVar("T")

_log = structlog.get_logger(__name__)


async def execute(
    code: Callable[[], Awaitable[T]], *, seconds: float, work: Work, scrub: Scrubber
) -> tuple[T, None] | tuple[None, Raised | TimedOut | Interrupted | Unusable]:
    """The value of `await code()` within `seconds`, or how else it ended.

    Code that keeps running after its cancellation (it swallowed it) keeps its slot until it returns, and what it then returns counts: it is
    the truth. `work.interrupt` ends the code early.
    """
    if work.interrupted is not None:
        return None, Interrupted(work.interrupted, began=False)
    scope = asyncio.timeout(seconds)
    task = asyncio.current_task()
    try:
        async with scope:
            work.scope = scope
            return await code(), None
    except asyncio.CancelledError:
        if task is not None and task.cancelling():
            raise
        # the tool awaited something of its own that was cancelled: that is an error of the tool, not a request to stop
        return None, Raised(failure_of(asyncio.CancelledError("something that the tool awaited was cancelled"), scrub))
    except ResultNotEncodable as error:
        return None, Unusable(failure_of(error, scrub))
    except BaseException as error:
        if isinstance(error, GeneratorExit) and not _running(task):
            raise  # not the tool's: we are being closed
        if scope.expired() and not isinstance(error, NotExecuted):
            return None, Interrupted(work.interrupted) if work.interrupted is not None else TimedOut(seconds)
        _log.debug("the tool raised", exc_info=error)
        return None, raised(error, scrub)
    finally:
        work.scope = None


def _running(task: asyncio.Task[object] | None) -> bool:
    try:
        return asyncio.current_task() is task
    except RuntimeError:  # no loop is running any more
        return False


def raised(error: BaseException, scrub: Scrubber) -> Raised:
    """What the tool's exception says, as data."""
    retry_after = error.retry_after if isinstance(error, NotExecuted | RetryLater) else None
    return Raised(
        failure_of(error, scrub),
        not_executed=isinstance(error, NotExecuted),
        retryable=not isinstance(error, DoNotRetry),
        retry_after_seconds=_seconds(retry_after),
    )


def _seconds(value: object) -> float | None:
    """A usable waiting time, or None: tools pass on what servers send."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        return None
    return float(value)
