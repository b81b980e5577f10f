"""Forks: a new run that begins with a copy of another's events and goes on by itself. What messages say about that."""

from __future__ import annotations

from typing import Literal

from waypost_proto.ids import RunId
from waypost_proto.values import Count, Value

ForkTools = Literal["recorded", "deny", "live"]
"""What becomes of a fork's calls after the fork point.

`recorded`: what the source made too is answered with the source's recorded result, and nothing is executed; the fork pauses at a call
that the source never made. `deny`: tools, child runs and questions are refused. `live`: executed as usual.
"""


class ForkOrigin(Value, frozen=True, kw_only=True):
    """Where a run was forked: events 1 to `seq` of `run_id` are its own first events.

    `tools` is how it began; `identity` is the run whose id its copied events were made under (the eldest of a line of forks): what is
    derived from a run id (random numbers, UUIDs, ids of child runs) follows from that until an event says otherwise. `changed`: with
    another input than the source's.
    """

    run_id: RunId
    seq: Count
    tools: ForkTools
    identity: RunId
    changed: bool = False


class Recalled(Value, frozen=True, kw_only=True):
    """An answer that a fork repeats from the run it was forked from: the source's event `seq`, at `at` (Unix seconds) on the run's clock.

    `seq` 0: the source has nothing of the kind; a timer that a fork need not wait for.
    """

    seq: Count
    at: float


__all__ = ["ForkOrigin", "ForkTools", "Recalled"]
