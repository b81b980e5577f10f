"""The sanctions service: `GET /screen/<name>` says which list entries a name resembles. Times out, and answers 503 with Retry-After."""

from __future__ import annotations

import asyncio
import csv
import re
from importlib import resources

from waypost_examples.compliance.legacy.faults import FaultClock, FaultKind, FaultPlan
from waypost_examples.compliance.legacy.http import Answer, Request
from waypost_examples.compliance.model import Hit

RETRY_AFTER_SECONDS = 2
WEAK_MATCH = 0.5


def plan(seed: int) -> FaultPlan:
    return FaultPlan(service="sanctions", seed=seed, shares={FaultKind.UNAVAILABLE: 0.3, FaultKind.SLOW: 0.15})


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

    async def __call__(self, request: Request) -> Answer | None:
        if request.method != "GET" or len(request.segments) != 2 or request.segments[0] != "screen":
            return Answer(404, {"error": "ask GET /screen/<name>"})
        name = request.segments[1]
        match self._faults.next(name):
            case FaultKind.UNAVAILABLE:
                return Answer(503, {"error": "maintenance"}, {"Retry-After": str(RETRY_AFTER_SECONDS)})
            case FaultKind.SLOW:
                await asyncio.sleep(self._slow_seconds)
            case _:
                pass
        return Answer(200, screen(name, self._entries))


def _words(name: str) -> set[str]:
    return set(re.findall(r"\w+", name.casefold()))
