"""How much goes wrong, and of what kind. Every number is a share of the occasions; `off` is a world in which nothing does."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal, Self

from tests.simulation.chance import Chance

Fate = Literal["", "lost", "unconfirmed"]
KINDS = (
    *("network", "store", "kills", "pauses", "wipes", "outages", "clocks", "drains", "tools"),
    *("streams", "disks", "failovers", "poison", "deadly", "builds"),
)
"""What can be left out of a seed to see what it needs to fail."""


@dataclass(slots=True)
class Trouble:
    """Changed in place when the troubled time is over."""

    # network
    slow_messages: float = 0.0
    lost_core: float = 0.0
    lost_acks: float = 0.0
    lost_publishes: float = 0.0
    unconfirmed_publishes: float = 0.0
    lost_admin: float = 0.0
    stalls: float = 0.0
    # store
    slow_statements: float = 0.0
    failed_before: float = 0.0
    failed_after: float = 0.0
    failed_late: float = 0.0
    # happenings per second
    kills: float = 0.0
    kill_at_boundary: float = 0.0
    pauses: float = 0.0
    wipes: float = 0.0
    restarts: float = 0.0
    outages: float = 0.0
    clock_jumps: float = 0.0
    drains: float = 0.0
    deleted_streams: float = 0.0
    deleted_consumers: float = 0.0
    old_copies: float = 0.0
    full_bus: float = 0.0
    full_database: float = 0.0
    failovers: float = 0.0
    # tools
    odd_tools: float = 0.0
    slow_threads: float = 0.0
    poison: float = 0.0
    deaths: float = 0.0
    """Of code that kills its process."""
    two_builds: float = 0.0
    odd_anchors: float = 0.0

    @classmethod
    def of_seed(cls, chance: Chance, without: frozenset[str] = frozenset(), most: frozenset[str] = frozenset()) -> Self:
        """Some kinds of trouble at some strength; about every second kind is there at all, those of `most` as strong as they get."""
        trouble = cls()
        strengths = {kind: chance.random() ** 2 if chance.hits(0.55) else 0.0 for kind in KINDS}
        for kind in KINDS:
            strength = 0.0 if kind in without else 1.0 if kind in most else strengths[kind]
            for name, strongest in _MOST[kind].items():
                setattr(trouble, name, strongest * strength)
        return trouble

    def off(self) -> None:
        """From now on nothing goes wrong any more."""
        for each in fields(self):
            setattr(self, each.name, 0.0)

    def publish_fate(self, chance: Chance) -> Fate:
        return _fate(chance, self.lost_publishes, self.unconfirmed_publishes)

    def admin_fate(self, chance: Chance) -> Fate:
        return _fate(chance, self.lost_admin / 2, self.lost_admin / 2)


_MOST: dict[str, dict[str, float]] = {
    "network": {
        "slow_messages": 0.15,
        "lost_core": 0.3,
        "lost_acks": 0.2,
        "lost_publishes": 0.08,
        "unconfirmed_publishes": 0.15,
        "lost_admin": 0.1,
        "stalls": 0.3,
    },
    "store": {"slow_statements": 0.1, "failed_before": 0.08, "failed_after": 0.08, "failed_late": 0.04},
    "kills": {"kills": 0.6, "kill_at_boundary": 0.01},
    "pauses": {"pauses": 0.4},
    "wipes": {"wipes": 0.12, "restarts": 0.2},
    "outages": {"outages": 0.12},
    "clocks": {"clock_jumps": 0.3},
    "drains": {"drains": 0.25},
    "tools": {"odd_tools": 0.6, "slow_threads": 0.2},
    "streams": {"deleted_streams": 0.15, "deleted_consumers": 0.3, "old_copies": 0.12},
    "disks": {"full_bus": 0.08, "full_database": 0.12},
    "failovers": {"failovers": 0.2},
    "poison": {"poison": 1.5},
    "deadly": {"deaths": 0.8},
    "builds": {"two_builds": 1.0},
}


def _fate(chance: Chance, lost: float, unconfirmed: float) -> Fate:
    if lost == 0.0 and unconfirmed == 0.0:
        return ""
    drawn = chance.random()
    if drawn < lost:
        return "lost"
    return "unconfirmed" if drawn < lost + unconfirmed else ""
