"""Tallies as plain records: a line of JSON per long run, in three shapes, told apart by their fields."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import msgspec


class Storm(msgspec.Struct, frozen=True, kw_only=True):
    """A round of `python -m tests.chaos`: real processes."""

    date: str
    commit: str
    seconds: float
    runs: int
    effects: int
    holds: int
    faults: dict[str, int]
    violations: list[str]


class Simulated(msgspec.Struct, frozen=True, kw_only=True):
    """Seeds of `python -m tests.simulation`."""

    date: str
    commit: str
    seeds: int
    struck: dict[str, int]
    violations: int
    failed_seeds: list[int] = []


class Programs(msgspec.Struct, frozen=True, kw_only=True):
    """Examples of `python -m tests.programs`."""

    date: str
    commit: str
    property: str
    python: str
    examples: int
    lives: int
    crash_points: int
    failures: int


Line = Storm | Simulated | Programs
_BY_FIELD: tuple[tuple[str, type[Line]], ...] = (("faults", Storm), ("struck", Simulated), ("crash_points", Programs))


class Evidence(msgspec.Struct, kw_only=True):
    """All of them added up."""

    storms: list[Storm] = []
    simulated: list[Simulated] = []
    programs: list[Programs] = []

    @property
    def first(self) -> str:
        """The day of the oldest line."""
        return min(self._dates())

    @property
    def last(self) -> str:
        return max(self._dates())

    def _dates(self) -> list[str]:
        lines: list[Line] = [*self.storms, *self.simulated, *self.programs]
        return [line.date[:10] for line in lines]

    def faults(self) -> Counter[str]:
        """Of the storms, by kind."""
        found: Counter[str] = Counter()
        for storm in self.storms:
            found.update(storm.faults)
        return found

    def struck(self) -> Counter[str]:
        """Of the simulation, by kind."""
        found: Counter[str] = Counter()
        for line in self.simulated:
            found.update(line.struck)
        return found


def read(paths: Iterable[Path]) -> Evidence:
    """Every line of every file. Raises `ValueError` naming the line that is none of the three, and for no line at all."""
    found = Evidence()
    for path in paths:
        for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            line = _line(text, f"{path.name}:{number}")
            kept: list[Line] = {Storm: found.storms, Simulated: found.simulated, Programs: found.programs}[type(line)]  # type: ignore[assignment]
            kept.append(line)
    if not (found.storms or found.simulated or found.programs):
        raise ValueError("the tallies are empty: run tests.simulation, tests.chaos or tests.programs with --tally FILE first")
    return found


def _line(text: str, where: str) -> Line:
    try:
        fields = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
        for name, kind in _BY_FIELD:
            if name in fields:
                return msgspec.json.decode(text, type=kind)
    except msgspec.DecodeError as error:
        raise ValueError(f"{where}: not a tally's line: {error}") from error
    raise ValueError(f"{where}: not a tally's line: it has none of the fields {', '.join(name for name, _ in _BY_FIELD)}")
