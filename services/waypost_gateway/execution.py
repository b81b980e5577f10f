"""Running a tool's code: with a time limit, interruptible from outside, and with every way it can end told apart.

The time limit and an interruption cancel the tool's code only, never the task that handles the call: what a cancelled call means must
still be written down. A cancellation of that task itself (the gateway is being torn down) passes through untouched.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
import traceback
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import structlog

from waypost.errors import DoNotRetry, NotExecuted, RetryLater
from waypost.tools import ResultNotEncodable
from waypost_gateway.classify import Interrupted, Raised, TimedOut, Unusable
from waypost_gateway.failures import MAX_TYPE_CHARS, Scrubber, bounded, failure_of
from waypost_gateway.inflight import Work
from waypost_gateway.time_limit import TimeLimit, limited

T = TypeVar("T")

GRACE_SECONDS = 2.0
MAX_KINDS = 16
MAX_FRAMES = 20
_NOT_NAMED = frozenset({object, Exception, BaseException})

_log = structlog.get_logger(__name__)


async def execute(
    code: Callable[[], Coroutine[Any, Any, T]], *, seconds: float, work: Work, scrub: Scrubber, grace_seconds: float = GRACE_SECONDS
) -> tuple[T, None] | tuple[None, Raised | TimedOut | Interrupted | Unusable]:
    """The value of `await code()` within `seconds`, or how else it ended.

    What code returns after it was told to stop counts: it is the truth. Code that goes on regardless is given up after `grace_seconds`
    (`work.on_stuck`), and what it returns later counts where it still can. `work.interrupt` ends the code early.
    """
    if work.interrupted is not None:
        return None, Interrupted(work.interrupted, began=False)
    task = asyncio.current_task()
    limit = work.limit = TimeLimit(seconds, grace_seconds=grace_seconds, on_stuck=work.on_stuck)
    try:
        return await limited(code(), limit), None
    except asyncio.CancelledError:
        limit.close()
        if limit.cancelled_from_outside:
            raise
        if limit.expired:
            return None, _stopped(work, seconds)
        # the tool awaited something of its own that was cancelled: that is an error of the tool, not a request to stop
        return None, Raised(failure_of(asyncio.CancelledError("something that the tool awaited was cancelled"), scrub))
    except ResultNotEncodable as error:
        return None, Unusable(failure_of(error, scrub))
    except BaseException as error:
        if isinstance(error, GeneratorExit) and not _running(task):
            raise  # not the tool's: we are being closed
        if limit.expired and not isinstance(error, NotExecuted):
            return None, _stopped(work, seconds)
        ending = raised(error, scrub)
        if _log.is_enabled_for(logging.DEBUG):
            # not `exc_info`: printing a tool's exception runs the tool's code, which may raise anything
            _log.debug("the tool raised", error_type=ending.failure.type, error=ending.failure.message, trace=_trace_of(error))
        return None, ending
    finally:
        limit.close()
        work.limit = None


def _trace_of(error: BaseException) -> str:
    """Where it was raised; the innermost frames."""
    return "".join(traceback.format_tb(error.__traceback__, limit=-MAX_FRAMES))


def _stopped(work: Work, seconds: float) -> Interrupted | TimedOut:
    return Interrupted(work.interrupted) if work.interrupted is not None else TimedOut(seconds)


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
        kinds=kinds_of(error),
        not_executed=isinstance(error, NotExecuted),
        retryable=not isinstance(error, DoNotRetry),
        retry_after_seconds=_seconds(retry_after),
    )


def kinds_of(error: BaseException) -> tuple[str, ...]:
    """Names of the error's class and its bases, nearest first: what retry policies and breakers name."""
    names = (kind.__name__ for kind in type(error).__mro__ if kind not in _NOT_NAMED)
    return tuple(bounded(name)[:MAX_TYPE_CHARS] for name in itertools.islice(names, MAX_KINDS))


def _seconds(value: object) -> float | None:
    """A usable waiting time, or None: tools pass on what servers send."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        return None
    return float(value)
