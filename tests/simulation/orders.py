"""What customers ask for under a seed: runs, and forks of runs. Owns what is wanted; `customers` and `forks` see to it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from tests.simulation.chance import Chance
from waypost_proto.forks import ForkTools
from waypost_proto.ids import RunId, uuid7

NAMES = ("trader", "boss", "clerk", "bumpy", "bulky", "hasty", "versioned", "remit", "deadly", "threaded")


@dataclass
class Order:
    """One run as its customer sees it. `accepted` once the platform has confirmed it; `cancelled_at` once it confirmed a cancellation."""

    number: int
    agent: str
    input: int
    starts_at: float
    by_task: bool
    pause_after: float | None = None
    cancel_after: float | None = None
    max_steps: int | None = None
    max_seconds: float | None = None
    deadline: str | None = None
    run_id: RunId | None = None
    cancel_confirmed: bool = False
    notes: list[str] = field(default_factory=list)


def orders_of(chance: Chance, count: int, *, spread_seconds: float) -> list[Order]:
    """What is ordered under a seed."""
    orders = []
    for number in range(count):
        order = Order(
            number=number,
            agent=chance.pick(NAMES),
            input=1 + chance.randrange(3),
            starts_at=chance.uniform(0.5, spread_seconds),
            by_task=chance.hits(0.3),
        )
        if chance.hits(0.2):
            order.pause_after = chance.uniform(0.0, 4.0)
        if chance.hits(0.2):
            order.cancel_after = chance.uniform(0.0, 6.0)
        if chance.hits(0.15):
            order.max_steps = 1 + chance.randrange(4)
        if chance.hits(0.07):
            order.max_seconds = 0.5 + chance.uniform(0.0, 3.0)
        if chance.hits(0.1):
            order.deadline = f"PT{chance.uniform(0.5, 15.0):.2f}S"
        orders.append(order)
    return orders


@dataclass
class ForkOrder(Order):
    """A fork as who asked for it sees it. `run_id` is chosen before it is asked for, and asked for until there is an answer."""

    tools: ForkTools = "recorded"
    which: float = 0.0
    where: float = 0.0
    anywhere: bool = False
    """At any event, also where it must be refused."""
    stuck: Literal["live", "deny", "cancel"] = "live"
    """What becomes of it at a call that its source never made."""
    source: RunId | None = None
    at: int = 0
    source_ended: bool = False
    """The source's log was complete when it was forked."""
    accepted: bool = False
    refused: str = ""
    gave_up: bool = False
    twin: ForkOrder | None = None
    """The same once more, undisturbed."""


def fork_orders_of(chance: Chance, count: int, *, spread_seconds: float) -> list[ForkOrder]:
    """Which forks are asked for under a seed. What they are forks of turns out then."""
    return [_order(chance, number, spread_seconds) for number in range(count)]


def _order(chance: Chance, number: int, spread_seconds: float) -> ForkOrder:
    order = ForkOrder(
        number=1_000 + number,
        agent="",
        input=0,
        starts_at=chance.uniform(1.0, spread_seconds),
        by_task=False,
        tools=chance.pick(["recorded", "recorded", "deny", "live"]),
        which=chance.random(),
        where=chance.random(),
        anywhere=chance.hits(0.15),
        stuck=chance.pick(["live", "live", "deny", "cancel"]),
        run_id=uuid7(1_800_000_000_000 + number, chance.randbytes(10)),
    )
    if chance.hits(0.15):
        order.pause_after = chance.uniform(0.0, 3.0)
    if chance.hits(0.1):
        order.cancel_after = chance.uniform(0.0, 4.0)
    if chance.hits(0.1):
        order.deadline = f"PT{chance.uniform(0.5, 15.0):.2f}S"
    return order
