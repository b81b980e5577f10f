"""What the comparison measures, and what it found: plain records, as `--json` writes them."""

from __future__ import annotations

import msgspec

from tests.bench.gauges import Use
from tests.bench.plan import Machine, Positive


class Level(msgspec.Struct, frozen=True, kw_only=True):
    """So many runs, so many of them in flight."""

    at_once: Positive
    runs: Positive


LEVELS = (Level(at_once=1, runs=20), Level(at_once=8, runs=60), Level(at_once=64, runs=512), Level(at_once=512, runs=512))
"""At the level that a target is set for, eight times as many runs as are in flight: how a batch begins and ends weighs little."""
REPEATED_SECONDS = 20.0
"""What took a side longer is not measured again in later rounds: the whole would take a quarter of an hour."""


class PeerPlan(msgspec.Struct, frozen=True, kw_only=True):
    """How much to measure. The same for every side."""

    rounds: Positive = 5
    steps: Positive = 5
    levels: tuple[Level, ...] = LEVELS
    strict: bool = True
    """Whether Waypost with durability `strict` takes part."""
    floor: bool = True


class Cell(msgspec.Struct, frozen=True, kw_only=True):
    """One side at one level, once."""

    steps_per_second: float
    latencies_ms: list[float]
    """Of each run: from its start to its result."""
    per_step: Use
    load: float
    """One-minute load average of the machine after it."""


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """One side, all rounds."""

    name: str
    cells: dict[int, list[Cell]]
    """By runs in flight; one for each round, or only for the first where one took longer than `REPEATED_SECONDS`."""
    resident_mib: dict[str, float]
    """By process, after the last round; with NATS where it is used."""


class PeerReport(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that was measured."""

    plan: PeerPlan
    machine: Machine
    sides: list[Side]
    seconds: float
    """How long all of it took."""
