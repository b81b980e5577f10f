"""How many seeds it takes until the simulation notices a broken variant of the services.

A variant counts as noticed only by a seed that the services themselves pass. The kinds of trouble that its safeguard is for
(`Mutant.needs`) are at full strength in its seeds; the rest is drawn as ever.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from tests.simulation.mutants import mutants
from tests.simulation.simulation import Plan, simulate


@dataclass(frozen=True, slots=True)
class Hunt:
    """Which variant is looked for, and in which seeds, in this order."""

    mutant: str
    seeds: range
    orders: int
    forks: int
    troubled_seconds: float


@dataclass(frozen=True, slots=True)
class Trophy:
    """`seed` noticed it, by `violation`; None if none of the seeds did."""

    mutant: str
    seed: int | None
    violation: str
    seconds: float

    def told(self, seeds: int) -> str:
        """A line for people."""
        (mutant,) = mutants([self.mutant])
        found = f"NOT noticed in {seeds} seeds" if self.seed is None else f"seed {self.seed}: {self.violation[:110]}"
        return f"{mutant.name:18} without “{mutant.without}”: {found} ({self.seconds:.1f} s)"


def hunted(hunt: Hunt) -> Trophy:
    """Try one seed after another until one notices the variant. Wall time, not simulated."""
    (mutant,) = mutants([hunt.mutant])
    began = time.monotonic()
    for seed in hunt.seeds:
        plan = Plan(seed=seed, orders=hunt.orders, forks=hunt.forks, troubled_seconds=hunt.troubled_seconds, most=mutant.needs)
        report = simulate(replace(plan, mutant=mutant.name))
        if report.violations and not simulate(plan).violations:
            return Trophy(mutant.name, seed, report.violations[0], time.monotonic() - began)
    return Trophy(mutant.name, None, "", time.monotonic() - began)
