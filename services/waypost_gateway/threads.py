"""Threads for tools that are plain functions: bounded past the number of calls, because a call that timed out goes on in its thread.

When abandoned ones have used the rest up, a new call is refused before it began, which may be retried.
"""

from __future__ import annotations

from waypost import NotExecuted
from waypost_io.threads import DaemonThreads


class ToolThreads(DaemonThreads):
    """A thread per call, at most `limit` at once; `submit` raises `NotExecuted` for what is more."""

    def __init__(self, limit: int) -> None:
        message = f"no thread is free: {limit} calls are running, some of them past their time limit"
        super().__init__(limit, name="tool", refuse=lambda: NotExecuted(message))
