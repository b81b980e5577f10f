"""Says where the event loop is stuck. Agent code that blocks (a long computation, a synchronous client) stops everything on this worker:
no heartbeat goes out, and its runs are given to others. Owns the process's `faulthandler` timer."""

from __future__ import annotations

import asyncio
import faulthandler
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

STUCK_SECONDS = 2.0
"""Before a coordinator counts the worker as lost, so that the reason is in the log first."""
_LOOK_SECONDS = 1.0


@asynccontextmanager
async def watch_loop(stuck_seconds: float = STUCK_SECONDS) -> AsyncIterator[None]:
    """While it is open: a loop that stands still for so long has every thread's stack written to standard error, once.

    Costs one timer a second; the writing is done by a thread that needs no Python.
    """
    watch = asyncio.create_task(_watch(stuck_seconds), name="loop-watch")
    try:
        yield
    finally:
        watch.cancel()
        faulthandler.cancel_dump_traceback_later()


async def _watch(stuck_seconds: float) -> None:
    while True:
        faulthandler.dump_traceback_later(stuck_seconds, file=sys.stderr)
        await asyncio.sleep(min(_LOOK_SECONDS, stuck_seconds / 2))
