"""The strikes: kill -9 of each service in turn, then of NATS, then of Postgres, and once all of NATS's files are deleted.

Cases come in waves and the officer's approvals are handed out strike by strike, so that work is in flight at each of them. The wipe
comes in the middle, when most cases are taken in and few have ended: what was accepted is in Postgres, and all of it is derived again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from waypost_cli.demo import words
from waypost_cli.demo.board import Board
from waypost_cli.demo.officer import Desk
from waypost_examples.compliance.model import Case

FILING_SECONDS = 6.0
"""How long to wait until a report is on its way: the worst moment for a strike."""
BUSY_SECONDS = 3.0
"""How long to wait for any work in flight, should no report be."""
RECOVERY_SECONDS = 40.0
SETTLE_SECONDS = 2.0
"""Between a recovery and the next wave."""
POLL_SECONDS = 0.02


class Victims(Protocol):
    """What can be struck. Each returns when it is down; `recovered` when everything is up again."""

    async def kill(self, name: str) -> None: ...
    async def wipe_nats(self) -> None: ...
    async def recovered(self, name: str, seconds: float) -> None: ...


@dataclass(frozen=True, slots=True)
class Strike:
    """One strike as it is told."""

    name: str
    text: str
    wipe: bool = False
    approves: bool = True
    """Whether the officer gives one approval just before, so that a report is being filed. Not every time: some cases must still
    wait for the officer at the last strike."""


@dataclass(slots=True)
class Toll:
    """What was struck, and how long each took to come back."""

    strikes: list[tuple[str, float]] = field(default_factory=list)

    def __str__(self) -> str:
        return ", ".join(f"{name} (back after {words.seconds(seconds)})" for name, seconds in self.strikes)


STRIKES = (
    Strike("worker", "kill -9 worker"),
    Strike("gateway", "kill -9 gateway"),
    Strike("nats", "NATS killed and every JetStream file deleted", wipe=True),
    Strike("coordinator", "kill -9 coordinator", approves=False),
    Strike("audit", "kill -9 audit", approves=False),
    Strike("nats", "kill -9 NATS"),
    Strike("postgres", "kill -9 Postgres"),
)


def waves(cases: Sequence[Case], strikes: int) -> list[list[Case]]:
    """A wave of cases before each strike: about half with the first, the rest spread evenly; nothing is left for after the last."""
    first = len(cases) - min(len(cases) // 2, strikes - 1) if cases else 0
    later = list(cases[first:])
    found: list[list[Case]] = [list(cases[:first])]
    for number in range(strikes - 1):
        share = -(-len(later) // (strikes - 1 - number))
        found.append(later[:share])
        later = later[share:]
    return found


class Chaos:
    """Strikes in order. Ends when everything was struck and is up again."""

    def __init__(self, victims: Victims, board: Board, desk: Desk, submit: Callable[[list[Case]], Awaitable[None]]) -> None:
        self._victims = victims
        self._board = board
        self._desk = desk
        self._submit = submit
        self.toll = Toll()

    async def run(self, cases: Sequence[Case]) -> None:
        """Hand the cases in and strike. Raises `NotReady` when something does not come back."""
        for strike, wave in zip(STRIKES, waves(cases, len(STRIKES)), strict=True):
            await self._submit(wave)
            self._desk.let(int(strike.approves))
            await self._worst_moment()
            await self._strike(strike)
            await asyncio.sleep(SETTLE_SECONDS)
        self._desk.open()

    async def _strike(self, strike: Strike) -> None:
        self._board.say("", strike.text, "chaos")
        started = time.monotonic()
        if strike.wipe:
            await self._victims.wipe_nats()
        else:
            await self._victims.kill(strike.name)
        await self._victims.recovered(strike.name, RECOVERY_SECONDS)
        took = time.monotonic() - started
        self.toll.strikes.append((f"{strike.name}{' wiped' if strike.wipe else ''}", took))
        self._board.say("", f"{strike.name} is back after {words.seconds(took)}", "chaos")

    async def _worst_moment(self) -> None:
        """A strike that hits nothing shows nothing. Bounded: with every case ended there is nothing to wait for."""
        if not await _becomes(lambda: self._board.filing or self._board.idle, FILING_SECONDS):
            await _becomes(lambda: self._board.busy or self._board.idle, BUSY_SECONDS)


async def _becomes(condition: Callable[[], bool], seconds: float) -> bool:
    """Wait until the condition holds, at most so long; whether it does. The board is pure and tells nobody."""
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= until:
            return False
        await asyncio.sleep(POLL_SECONDS)
    return True
