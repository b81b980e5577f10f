"""The database as simulated processes reach it: `MemoryStore` behind connections that are slow, fail, and do not say whether they did.

A statement can fail before it was carried out, or after (its answer is lost), or be carried out some time after its caller was told that it
failed. Commits of one process are carried out in the order in which they were asked for, except such late ones. What a process had sent
when it was killed is carried out or not.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any

from tests.simulation.chance import Chance
from tests.simulation.futures import at_once, fail, settle
from tests.simulation.loop import Process, SimulatedLoop
from tests.simulation.trace import Trace
from tests.simulation.trouble import Trouble
from waypost_io.store.memory import MemoryDatabase, MemoryStore
from waypost_io.store.ports import Commit, Store
from waypost_proto.errors import Unreachable

FACETS = tuple(Store.__annotations__)
"""What a store has; what is added to it is simulated as soon as it is there."""
WRITES = frozenset(
    {
        "acquire",
        "renew",
        "release",
        "commit",
        "reserve",
        "put",
        "put_chunk",
        "add",
        "count_failure",
        "remove",
        "save",
        "start",
        "take_over",
        "extend",
        "settle",
        "append",
    }
)
TIMEOUT_SECONDS = 5.0
LATE_SECONDS = 4.0


class Database:
    """The server. `observe(process, statement, arguments, outcome)` is called at the moment a statement is carried out."""

    def __init__(self, loop: SimulatedLoop, tables: MemoryDatabase, chance: Chance, trouble: Trouble, trace: Trace) -> None:
        self.loop = loop
        self.tables = tables
        self.chance = chance
        self.trouble = trouble
        self.trace = trace
        self.observers: list[Callable[[Process, str, tuple[Any, ...], dict[str, Any], Any], None]] = []
        self.at_boundary: Callable[[Process], bool] = lambda process: False
        """Asked at each statement that changes something: True if the process dies here."""
        self.full = False
        """The disk is full: what would write is refused, what only reads is answered."""
        self.under_way: dict[asyncio.Future[Any], Callable[[], None]] = {}
        """Statements that were sent and not carried out, with what carries them out."""

    def dump(self) -> dict[str, Any]:
        """All rows, as they are now."""
        return {
            each.name: copy.deepcopy(getattr(self.tables, each.name)) for each in fields(self.tables) if each.name not in ("clock", "down")
        }

    def lose(self, dump: dict[str, Any]) -> None:
        """The rows are again what they were: commits since then are lost."""
        for name, rows in copy.deepcopy(dump).items():
            setattr(self.tables, name, rows)

    def fail_over(self) -> None:
        """The standby takes over with everything that was committed. Each connection breaks: of what was under way some was committed."""
        flights, self.under_way = self.under_way, {}
        for future, carry_out in flights.items():
            if self.chance.hits(0.5):
                carry_out()
            fail(future, Unreachable("the connection broke (simulated fail-over)"))

    def latency(self, statement: str) -> float:
        """Of a statement, one way."""
        return self.chance.latency(0.0006, 3.0, self.trouble.slow_statements / _rarity(statement))


class SimulatedStore:
    """One process's pool. Make it in the process's own context."""

    def __init__(self, database: Database, process: Process) -> None:
        store = MemoryStore(database.tables.clock, database=database.tables)
        link = Link(database, process)
        for facet in FACETS:
            setattr(self, facet, Facet(link, facet, getattr(store, facet)))

    async def __aenter__(self) -> Any:
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Nothing is held."""


RECORDS = ("log.commit", "ledger.", "keys.")
"""What is written where it matters most that nobody knows whether it was."""
RARER = 5.0
"""So much more seldom are other statements slow or fail: a start takes dozens, and a service that never gets through it shows nothing."""


def _rarity(statement: str) -> float:
    return 1.0 if statement.startswith(RECORDS) else RARER


class Facet:
    """Every method of a facet of `MemoryStore`, behind the link."""

    def __init__(self, link: Link, name: str, inner: Any) -> None:
        self._link = link
        self._name = name
        self._inner = inner

    def __getattr__(self, method: str) -> Any:
        call = partial(self._link.call, f"{self._name}.{method}", getattr(self._inner, method), method in WRITES)
        setattr(self, method, call)
        return call


@dataclass(frozen=True, slots=True, eq=False)
class _Statement:
    """One statement on its way, and what is to become of it."""

    name: str
    method: Callable[..., Any]
    writes: bool
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    fate: str
    future: asyncio.Future[Any]


class Link:
    """Statements of one process on their way."""

    def __init__(self, database: Database, process: Process) -> None:
        self._db = database
        self._process = process
        self._commits_at = 0.0
        self._cut_at: float | None = None
        process.at_death.append(self._die)

    async def call(self, name: str, method: Callable[..., Any], writes: bool, /, *args: Any, **kwargs: Any) -> Any:
        db, loop = self._db, self._db.loop
        if name == "log.commit":
            args = (_copied(args[0]),)
        future: asyncio.Future[Any] = loop.create_future()
        statement = _Statement(name, method, writes, args, kwargs, self._fate(name, writes), future)
        delay = db.latency(name)
        if name == "log.commit" and statement.fate != "late":
            self._commits_at = max(self._commits_at, loop.now + delay)
            delay = self._commits_at - loop.now
        if statement.fate == "late":
            delay = db.chance.uniform(0.01, LATE_SECONDS)
            loop.later(db.latency(name), fail, future, Unreachable(f"{name}: the connection broke (simulated)"))
        db.under_way[future] = lambda: self._carry_out(statement)
        loop.later(delay, self._arrive, future)
        timer = loop.later(TIMEOUT_SECONDS, fail, future, Unreachable(f"{name}: no answer (simulated)"))
        try:
            return await future
        finally:
            timer.cancel()

    def _arrive(self, future: asyncio.Future[Any]) -> None:
        carry_out = self._db.under_way.pop(future, None)
        if carry_out is not None:
            carry_out()

    def _carry_out(self, statement: _Statement) -> None:
        db, name, fate = self._db, statement.name, statement.fate
        if self._cut_at is not None and db.loop.now > self._cut_at:
            return
        outcome: Any
        if fate == "before":
            db.trace.strike("statement failed before", self._process, name)
            outcome = Unreachable(f"{name}: failed before it was carried out (simulated)")
        elif db.full and statement.writes:
            db.trace.strike("statement refused, disk full", self._process, name)
            outcome = Unreachable(f"{name}: no space left on device (simulated)")
        else:
            if statement.writes and db.at_boundary(self._process) and db.chance.hits(0.5):
                return  # it died just before
            try:
                outcome = at_once(statement.method(*statement.args, **statement.kwargs))
            except Exception as error:  # noqa: BLE001 - it is its caller's
                outcome = error
            db.trace.add(name, self._process, fate, *_told(statement.args, statement.kwargs), "→", _outcome(outcome))
            for observe in db.observers:
                observe(self._process, name, statement.args, statement.kwargs, outcome)
            if fate == "late":
                db.trace.strike("statement carried out late", self._process, name)
            elif fate == "after":
                db.trace.strike("statement's answer lost", self._process, name)
                outcome = Unreachable(f"{name}: the answer was lost (simulated)")
        db.loop.later(db.latency(name), settle, statement.future, outcome)

    def _fate(self, name: str, writes: bool) -> str:
        trouble, chance = self._db.trouble, self._db.chance
        if not (trouble.failed_before or trouble.failed_after):
            return ""
        drawn = chance.random() * _rarity(name)
        if drawn < trouble.failed_before:
            return "before"
        drawn -= trouble.failed_before
        if writes and drawn < trouble.failed_after:
            return "after"
        drawn -= trouble.failed_after
        return "late" if writes and 0 <= drawn < trouble.failed_late else ""

    def _die(self) -> None:
        chance = self._db.chance
        self._cut_at = self._db.loop.now + (0.0 if chance.hits(0.5) else chance.uniform(0.0, 0.005))


def _copied(batch: Commit) -> Commit:
    """As it is now: its lists belong to the caller."""
    lists = {name: list(getattr(batch, name)) for name in batch.__slots__ if isinstance(getattr(batch, name), list)}
    return replace(batch, **lists)


def _told(args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
    if args and isinstance(args[0], Commit):
        batch = args[0]
        events = [f"{event.run_id[-4:]}#{event.seq}:{event.type}" for event in batch.events]
        leases = [f"p{p}e{epoch}@{position}/{published}" for p, epoch, position, published in batch.leases]
        return [batch.owner, leases, events, *(f"permit {p.run_id[-4:]} {p.call_id} {p.attempt}" for p in batch.permits)]
    return [*args, *(f"{key}={value}" for key, value in kwargs.items())]


def _outcome(outcome: Any) -> str:
    return f"{type(outcome).__name__}: {outcome}" if isinstance(outcome, BaseException) else str(outcome)
