"""Threads for local steps that are plain functions."""

from __future__ import annotations

from waypost_io.threads import DaemonThreads


class StepThreads(DaemonThreads):
    """Up to `limit` threads; steps that are more wait in order."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit, name="step")
