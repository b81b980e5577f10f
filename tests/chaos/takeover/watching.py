"""Seen from outside: when each run completed a step, by the events that anyone may follow. Owns the record and what gaps are in it."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise

import nats
from nats.aio.msg import Msg


@dataclass
class Watch:
    """Times of completed steps per run, on the loop's clock; and the runs that ended otherwise than they should."""

    steps: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    bad: dict[str, str] = field(default_factory=dict)

    async def on_event(self, message: Msg) -> None:
        *_, run_id, kind = message.subject.split(".")
        if kind == "tool_call_completed":
            self.steps[run_id].append(asyncio.get_running_loop().time())
        elif kind in ("run_failed", "run_paused", "tool_call_in_doubt"):
            self.bad[run_id] = kind

    def count(self, run_ids: Iterable[str]) -> int:
        """Steps that the run with the fewest has completed."""
        return min(len(self.steps[run_id]) for run_id in run_ids)


def longest_gap(times: Iterable[float], begin: float, end: float) -> float:
    """The longest time without a completed step that lies, at least in part, between `begin` and `end`, in seconds.

    The step before `begin` counts as its start; a gap that is not over at `end` ends there.
    """
    moments = sorted(times)
    earlier = [at for at in moments if at < begin]
    inside = [at for at in moments if begin <= at <= end]
    marks = [earlier[-1] if earlier else begin, *inside, end]
    return max(later - sooner for sooner, later in pairwise(marks))


@asynccontextmanager
async def watching(nats_url: str, prefix: str = "waypost") -> AsyncIterator[Watch]:
    """Follow every event."""
    watch = Watch()
    connection = await nats.connect(nats_url)
    try:
        await connection.subscribe(f"{prefix}.events.>", cb=watch.on_event)
        await connection.flush()
        yield watch
    finally:
        await connection.close()
