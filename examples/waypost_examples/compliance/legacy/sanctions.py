"""The sanctions service: `GET /screen/<name>` says which list entries a name resembles. Times out, and answers 503 with Retry-After.

Behind it sits the freezing office: `POST /freezes` takes an order, and loses some answers after it took it. Programs cannot ask what became
of an order; people can read the office's book (`GET /freezes`). It keeps duplicates, so that they would show.
"""

from __future__ import annotations

import asyncio
import csv
import re
from importlib import resources

import msgspec

from waypost_examples.compliance.legacy.faults import FaultClock, FaultKind, FaultPlan
from waypost_examples.compliance.legacy.http import Answer, Request
from waypost_examples.compliance.model import Freeze, Frozen, Hit

RETRY_AFTER_SECONDS = 2
WEAK_MATCH = 0.5


def plan(seed: int) -> FaultPlan:
    return FaultPlan(service="sanctions", seed=seed, shares={FaultKind.UNAVAILABLE: 0.3, FaultKind.SLOW: 0.15})


def freezing_plan(seed: int) -> FaultPlan:
    """By account. One lost answer at most: each costs a person's time."""
    return FaultPlan(service="freezing-office", seed=seed, shares={FaultKind.LATE: 0.4}, most_in_a_row=1)


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the freezing office's book."""

    order: str
    account: str
    name: str


def screen(name: str, entries: list[tuple[str, str]]) -> list[Hit]:
    """Entries that share at least half of their words with `name`, best first. The score is the share of words in common."""
    hits = []
    words = _words(name)
    for entry, sanctions_list in entries:
        theirs = _words(entry)
        score = round(len(words & theirs) / max(len(words | theirs), 1), 2)
        if score >= WEAK_MATCH:
            hits.append(Hit(name=name, entry=entry, sanctions_list=sanctions_list, score=score))
    return sorted(hits, key=lambda hit: (-hit.score, hit.entry))


def load_list() -> list[tuple[str, str]]:
    """(entry, list) of every listed name."""
    text = (resources.files("waypost_examples.compliance.legacy") / "sanctions_list.csv").read_text(encoding="utf-8")
    return [(row["entry"], row["sanctions_list"]) for row in csv.DictReader(text.splitlines())]


class Sanctions:
    """The service's handler; `slow_seconds` is longer than any caller waits."""

    def __init__(self, seed: int, slow_seconds: float = 5.0) -> None:
        self._faults = FaultClock(plan(seed))
        self._slow_seconds = slow_seconds
        self._entries = load_list()
        self._freezing = FaultClock(freezing_plan(seed))
        self._book: list[Entry] = []

    async def __call__(self, request: Request) -> Answer | None:
        if request.segments == ("freezes",):
            return Answer(200, self._book) if request.method == "GET" else await self._freeze(request)
        if request.method != "GET" or len(request.segments) != 2 or request.segments[0] != "screen":
            return Answer(404, {"error": "ask GET /screen/<name>, POST /freezes or GET /freezes"})
        name = request.segments[1]
        match self._faults.next(name):
            case FaultKind.UNAVAILABLE:
                return Answer(503, {"error": "maintenance"}, {"Retry-After": str(RETRY_AFTER_SECONDS)})
            case FaultKind.SLOW:
                await asyncio.sleep(self._slow_seconds)
            case _:
                pass
        return Answer(200, screen(name, self._entries))

    async def _freeze(self, request: Request) -> Answer:
        try:
            order = msgspec.json.decode(request.body, type=Freeze)
        except msgspec.DecodeError as error:
            return Answer(422, {"error": f"not an order: {error}"})
        entry = Entry(order=f"F-{len(self._book) + 1:03d}", account=order.account, name=order.name)
        self._book.append(entry)
        if self._freezing.next(order.account) is FaultKind.LATE:
            await asyncio.sleep(self._slow_seconds)
        return Answer(201, Frozen(order=entry.order))


def _words(name: str) -> set[str]:
    return set(re.findall(r"\w+", name.casefold()))
