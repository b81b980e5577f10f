"""What is going to happen in a world, in the order of its clock, or in another order when trouble says so."""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable
from dataclasses import dataclass, field

WAKE, DELIVER, ANSWER, TIMER, PEOPLE = range(5)
"""What comes first of all that is due at the same time. Ties within one kind are broken by run and key: never by who came first."""

NEAR = 100.0
"""Seconds by which something may come too early: the owner's patience lasts longer."""


@dataclass(frozen=True, order=True, slots=True)
class Due:
    """`happen` is called at `at` or later. `on_road`: it is lost when the broker is wiped."""

    at: float
    rank: int
    run: str
    key: str
    happen: Callable[[], object] = field(compare=False)
    on_road: bool = field(compare=False, default=False)


class Calendar:
    """One entry for each (rank, run, key): planning it again replaces it."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self._dues: list[Due] = []

    def __bool__(self) -> bool:
        return bool(self._dues)

    def plan(self, at: float, rank: int, run: str, key: str, happen: Callable[[], object], *, on_road: bool = False) -> None:
        self.forget(rank, run, key)
        insort(self._dues, Due(max(at, self.now), rank, run, key, happen, on_road))

    def forget(self, rank: int, run: str, key: str) -> None:
        self._dues = [due for due in self._dues if (due.rank, due.run, due.key) != (rank, run, key)]

    def forget_run(self, rank: int, run: str) -> None:
        self._dues = [due for due in self._dues if (due.rank, due.run) != (rank, run)]

    def lose_road(self) -> None:
        """The broker was wiped."""
        self._dues = [due for due in self._dues if not due.on_road]

    def take(self, skip: int = 0) -> Due:
        """What is next, or what stands `skip` places later: time is then at least its own. Timers keep their order."""
        near = sum(1 for due in self._dues if due.at <= self._dues[0].at + NEAR)
        due = self._dues.pop(skip % near)
        if due.rank == TIMER:
            first = min((d for d in [*self._dues, due] if d.rank == TIMER), key=lambda d: d)
            if first is not due:
                self._dues.remove(first)
                insort(self._dues, due)
                due = first
        self.now = max(self.now, due.at)
        return due
