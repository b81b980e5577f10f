"""How much `scale` measures, and what it finds: plain records, as `--json` writes them."""

from __future__ import annotations

import msgspec

from tests.bench.plan import Machine, Positive

RUN_LIMIT = 1.2
STORE_LIMIT = 1.1
WAITING_BYTES_LIMIT = 2_048.0
IDLE_CPU_MS_LIMIT = 10.0
"""CPU ms per second of all processes that waiting runs may add. None is meant; what one reading differs from the next is allowed."""
RECOVERY_SECONDS_LIMIT = 15.0


class ScalePlan(msgspec.Struct, frozen=True, kw_only=True):
    """Each part is left out when its number is 0."""

    steps: int = 2_000
    """Length of the long runs."""
    finished: int = 50_000
    """Runs that the full store has finished."""
    waiting: int = 1_000
    recover: int = 1_000
    parallel: Positive = 8
    """Runs that walk together where the length of a run is measured."""
    rounds: Positive = 5
    """Of each side, in turn."""
    window: Positive = 100
    """Steps of each run in one round."""
    store_runs: Positive = 400
    """Runs of one round where the size of the store is measured, 64 of them in flight."""
    store_steps: Positive = 5
    idle_seconds: float = 10.0
    settle_seconds: float = 6.0
    """After work and before anything is read: a round of the sweep, and heartbeats."""


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the table: the small case, the large one, and what is judged."""

    part: str
    what: str
    small: float
    large: float
    judged: float
    """A ratio, or an amount in the unit that `what` names."""
    limit: float | None = None
    """None: shown, not judged."""

    @property
    def holds(self) -> bool | None:
        return None if self.limit is None else self.judged <= self.limit


class ScaleReport(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that was measured."""

    plan: ScalePlan
    machine: Machine
    figures: list[Figure]


def ratio(part: str, what: str, small: float, large: float, limit: float | None = None) -> Figure:
    """A figure that is judged by how many times the large case takes what the small one takes."""
    return Figure(part=part, what=what, small=small, large=large, judged=large / small if small else 0.0, limit=limit)


def amount(part: str, what: str, small: float, large: float, judged: float, limit: float | None = None) -> Figure:
    """A figure that is judged by itself."""
    return Figure(part=part, what=what, small=small, large=large, judged=judged, limit=limit)
