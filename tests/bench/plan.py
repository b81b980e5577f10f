"""What a bench measures, and what it found: plain records, as `--json` writes them."""

from __future__ import annotations

from typing import Annotated

import msgspec

from tests.bench.gauges import Use
from tests.bench.tape import Tape

Positive = Annotated[int, msgspec.Meta(gt=0)]


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """How much to measure."""

    runs: Positive = 600
    """Runs of one round with `in_flight` at once."""
    in_flight: Positive = 64
    rounds: Positive = 5
    """Of each side, alternating."""
    sequential: Positive = 60
    """Runs of one round that follow each other."""
    steps: Positive = 5
    idle_seconds: float = 10.0
    starts: int = 2
    """How often `waypost dev` is started: the first time without files, then with those of the first."""
    profile_folder: str | None = None
    """Where to write profiles of the services; None: no profiles."""


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """One side, once: runs in flight together, then runs one after another."""

    steps_per_second: float
    per_step: Use
    latencies_ms: list[float]
    """Of the runs that followed each other."""
    sequential_per_step: Use
    load: float
    """One-minute load average of the machine after it."""


class Idle(msgspec.Struct, frozen=True, kw_only=True):
    """Nothing to do: memory, and use per second."""

    resident_mib: dict[str, float]
    per_second: Use
    seconds: float


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """Where and with what it was measured."""

    date: str
    cpu: str
    cores: int
    memory_gib: float
    system: str
    versions: dict[str, str]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that was measured."""

    plan: Plan
    machine: Machine
    starts_seconds: list[float]
    idle: Idle
    tape: Tape
    stream_messages: dict[str, float]
    """Messages per step by stream, by the difference of a longer and a shorter run."""
    waypost: list[Round]
    floor: list[Round]
    loaded_mib: dict[str, float]
    """Resident memory of the services after all rounds."""
    profiles: dict[str, list[tuple[str, float]]] = {}
    """By service: functions with their share of its samples, the largest first."""
