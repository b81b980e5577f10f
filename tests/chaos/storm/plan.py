"""What strikes, when and how hard: everything that a seed decides. Pure; the same seed and options give the same plan."""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from dataclasses import dataclass

SERVICES = ("coordinator-1", "coordinator-2", "worker-1", "worker-2", "gateway-1", "gateway-2", "audit-1")
ON_POSTGRES = tuple(name for name in SERVICES if not name.startswith("worker"))
STREAMS = ("TASKS", "MAILBOX", "WORK", "TOOLS", "EVENTS", "SUPERVISOR", "DEAD")


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of fault: the group it is chosen by, how often it is drawn, whom it strikes, and for how many seconds."""

    group: str
    weight: float
    targets: Sequence[str] = ("",)
    seconds: tuple[float, float] = (0.0, 0.0)


KINDS: dict[str, Kind] = {
    "kill": Kind(group="kills", weight=5, targets=SERVICES),
    "kill-all": Kind(group="kills", weight=1),
    "drain": Kind(group="kills", weight=1, targets=SERVICES),
    "freeze": Kind(group="freezes", weight=4, targets=SERVICES, seconds=(1.0, 9.0)),
    "nats-kill": Kind(group="nats", weight=1.5, seconds=(0.0, 3.0)),
    "nats-freeze": Kind(group="nats", weight=1, seconds=(1.0, 9.0)),
    "nats-wipe": Kind(group="nats", weight=1.5, seconds=(0.0, 2.0)),
    "nats-old-copy": Kind(group="nats", weight=1.5, seconds=(3.0, 12.0)),
    "stream-deleted": Kind(group="nats", weight=1.5, targets=STREAMS),
    "consumer-deleted": Kind(group="nats", weight=1.5, targets=STREAMS[:4]),
    "postgres-kill": Kind(group="postgres", weight=1.5, seconds=(0.0, 3.0)),
    "postgres-freeze": Kind(group="postgres", weight=1, seconds=(1.0, 9.0)),
    "postgres-outage": Kind(group="postgres", weight=0.5, seconds=(50.0, 60.0)),
    "backend-kill": Kind(group="postgres", weight=1),
    "backend-cut": Kind(group="postgres", weight=1.5),
    "nats-disk-full": Kind(group="disk", weight=1, seconds=(2.0, 10.0)),
    "postgres-disk-full": Kind(group="disk", weight=1, seconds=(2.0, 10.0)),
    "twice": Kind(group="twice", weight=2, seconds=(5.0, 20.0)),
    "acks-lost": Kind(group="twice", weight=1, seconds=(5.0, 15.0)),
    "nats-stall": Kind(group="half-open", weight=1.5, targets=(*SERVICES, "customers"), seconds=(2.0, 20.0)),
    "nats-half-open": Kind(group="half-open", weight=1.5, targets=(*SERVICES, "customers"), seconds=(5.0, 20.0)),
    "postgres-stall": Kind(group="half-open", weight=1.5, targets=ON_POSTGRES, seconds=(2.0, 20.0)),
    "postgres-half-open": Kind(group="half-open", weight=1.5, targets=ON_POSTGRES, seconds=(5.0, 20.0)),
    "clock": Kind(group="clock", weight=2, targets=SERVICES, seconds=(3.0, 20.0)),
}
_ONCE = "postgres-outage"
GROUPS = tuple(dict.fromkeys(kind.group for kind in KINDS.values()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Strike:
    """One fault. `luck` in [0, 1) decides what is left to decide when it strikes (which consumer, forward or back)."""

    at: float
    """Seconds after the round's start."""
    kind: str
    target: str
    seconds: float
    luck: float

    def __str__(self) -> str:
        length = f" for {self.seconds:.1f} s" if KINDS[self.kind].seconds[1] else ""
        return f"{self.kind}{f' {self.target}' if self.target else ''}{length}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Weather:
    """How much goes wrong in a round."""

    seconds: float = 40.0
    """Faults strike so long; then everything heals."""
    pause_seconds: float = 2.5
    """Between two strikes, on average."""
    longest_seconds: float = 60.0
    """No fault lasts longer. Short rounds need it."""
    kinds: frozenset[str] = frozenset(KINDS)


def kinds_named(names: Collection[str]) -> frozenset[str]:
    """The kinds that these names mean, which may be of groups. All when there are none. Raises `ValueError`."""
    if unknown := sorted(set(names) - set(KINDS) - set(GROUPS)):
        raise ValueError(f"no such fault: {', '.join(unknown)}; there are the groups {', '.join(GROUPS)} and the kinds {', '.join(KINDS)}")
    return frozenset(kind for kind, about in KINDS.items() if not names or kind in names or about.group in names)


def strikes_of(seed: int, number: int, weather: Weather) -> list[Strike]:
    """The strikes of one round, in order of time. A round's kinds are a random half of those allowed, so that each gets its turn at
    being frequent, and combinations differ."""
    chance = random.Random(f"{seed}/{number}")
    allowed = sorted(weather.kinds)
    chosen = [kind for kind in allowed if chance.random() < 0.5] or allowed
    weights = [KINDS[kind].weight for kind in chosen]
    strikes: list[Strike] = []
    at = chance.uniform(0.5, 2.0)
    while at < weather.seconds:
        name = chance.choices(chosen, weights)[0]
        if name == _ONCE:  # a round needs no second minute of it
            place = chosen.index(name)
            weights[place] = 0.0 if len(chosen) > 1 else weights[place]
        kind = KINDS[name]
        strikes.append(
            Strike(
                at=round(at, 3),
                kind=name,
                target=chance.choice(kind.targets),
                seconds=round(min(chance.uniform(*kind.seconds), weather.longest_seconds), 3),
                luck=chance.random(),
            )
        )
        at += chance.expovariate(1 / weather.pause_seconds)
    return strikes
