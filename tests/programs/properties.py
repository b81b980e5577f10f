"""What must hold of every program. Each property is a strategy and a check; `campaign` runs them, the tests and the command run that."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import strategies as st

from tests.programs import making
from tests.programs.changing import HOWS, Change
from tests.programs.comparing import differences
from tests.programs.hosts import Answer, Close, Host, Open, Replay
from tests.programs.oracle import check_log, check_replay, fits
from tests.programs.runs import Run
from tests.programs.tree import Program
from tests.programs.trouble import Crash, Troubles
from tests.programs.world import World
from waypost_proto.codec import decode
from waypost_proto.commands import ReportDivergence

EVERY = (Crash.AFTER, Crash.TWICE, Crash.WIPE, Crash.ZOMBIE)
"""What can go wrong at every single turn of a life."""
_SWAP = -2


@dataclass
class Tally:
    """What a campaign has tried."""

    examples: int = 0
    lives: int = 0
    events: int = 0
    crashes: int = 0
    endings: Counter[str] = field(default_factory=Counter)
    diverged: int = 0
    fitted: int = 0

    def life(self, world: World) -> World:
        self.lives += 1
        self.crashes += world.troubles.crashes
        self.events += sum(len(run.log) for run in world.runs.values())
        self.endings[world.root.log[-1].type] += 1
        return world


@dataclass(frozen=True)
class Property:
    """`check` raises `AssertionError` for a drawn example that breaks it."""

    name: str
    strategy: st.SearchStrategy[Any]
    check: Callable[[Any, Sequence[Host], Tally], None]


# -- crashes: the same journal


@dataclass(frozen=True)
class Crashing:
    """A program and what becomes of its first turns."""

    program: Program
    turns: tuple[int, ...]

    def describe(self) -> str:
        crashes = ", ".join(f"turn {number}: {Crash(turn).name}" for number, turn in enumerate(self.turns, 1) if turn)
        return f"{self.program.describe()}\n# crashes: {crashes or 'at every turn'}"


def check_crashes(drawn: Crashing, hosts: Sequence[Host], tally: Tally) -> None:
    """A worker that dies at every journal entry, or now and then, in every way: the journals are those of an undisturbed life.

    With hosts of other Pythons each life of the worker is on the next one, and a whole life on each of them is compared, too.
    """
    calm = tally.life(World(drawn.program, hosts=hosts[:1]).live())
    for host in hosts[1:]:
        other = tally.life(World(drawn.program, hosts=[host]).live())
        assert not (difference := differences(calm, other)), f"a life on Python {host.name} is another: {difference}"
    for troubles in (*(Troubles(every=every) for every in EVERY), Troubles(drawn.turns)):
        troubled = tally.life(World(drawn.program, troubles, hosts).live())
        assert not (difference := differences(calm, troubled)), f"a life with crashes is another: {difference}"
    for run in calm.runs.values():
        check_log(calm.source, run)
        for host in hosts:
            check_replay(calm.source, run, host)


# -- storms: anything before anything else


@dataclass(frozen=True)
class Storm:
    """A program, crashes, an order of happenings, and people who interfere."""

    program: Program
    turns: tuple[int, ...]
    order: tuple[int, ...]
    people: tuple[tuple[float, str], ...]

    def describe(self) -> str:
        crashes = ", ".join(f"turn {number}: {Crash(turn).name}" for number, turn in enumerate(self.turns, 1) if turn)
        return f"{self.program.describe()}\n# crashes: {crashes}\n# skipped over: {list(self.order)}\n# people: {self.people}"


def check_storm(drawn: Storm, hosts: Sequence[Host], tally: Tally) -> None:
    """Whatever comes before whatever else, each log holds what its code asks for on these events, and nothing twice."""
    troubles = Troubles(drawn.turns, order=drawn.order)
    world = tally.life(World(drawn.program, troubles, hosts, people=drawn.people, changing=True).live())
    for run in world.runs.values():
        if not troubles.torn:
            check_log(world.source, run)
        check_replay(world.source, run, hosts[-1])


# -- changes: other code diverges exactly when it asks for something else


@dataclass(frozen=True)
class Changed:
    """A program and a change of it."""

    program: Program
    change: Change

    def describe(self) -> str:
        return f"{self.program.describe()}\n# becomes\n{self.change.of(self.program).describe()}"


def check_change(drawn: Changed, hosts: Sequence[Host], tally: Tally) -> None:
    """At every point where the run waits: changed code diverges if it asks for something else before it, and only then.

    At the first such point a worker with the changed code takes the run up: the run pauses, with both sides in words; resumed with the
    code that fits it goes on to its end.
    """
    calm = tally.life(World(drawn.program, hosts=hosts[:1]).live())
    source = drawn.change.of(drawn.program).source()
    swap: tuple[str, str] | None = None
    for seq, seen, digest in boundaries(calm.root):
        journal = [entry for entry in calm.root.journal if entry.seq <= seq]
        why = fits(source, "main", calm.root.run_id, journal, seen)
        answer = _replay(hosts[-1], source, calm.root, seq, seen)
        assert answer.diverged == bool(why), f"up to event {seq}: replay says {_difference(answer)}, but {why or 'it fits'}"
        if answer.diverged:
            expected, found = _difference(answer)
            assert expected != found, f"a difference that shows none: {expected}"
            swap = swap or (digest, source)
        tally.diverged += answer.diverged
        tally.fitted += not answer.diverged
    if swap is not None:
        world = tally.life(World(drawn.program, hosts=hosts[:1], swap=swap).live())
        check_log(world.source, world.root)


def boundaries(run: Run) -> list[tuple[int, int, str]]:
    """After each accepted advance: the last event, what had been seen, the journal's digest."""
    marked = [(event.seq, getattr(event.data, "mark", None)) for event in run.log]
    return [(seq, mark.seen, mark.digest) for seq, mark in marked if mark is not None]


def _replay(host: Host, source: str, run: Run, seq: int, seen: int) -> Answer:
    host.ask(_SWAP, Open(source, "main", run.run_id, None))
    answer = host.ask(_SWAP, Replay([entry for entry in run.journal if entry.seq <= seq], seen))
    host.ask(_SWAP, Close())
    return answer


def _difference(answer: Answer) -> tuple[str, str]:
    if not answer.diverged:
        return "it fits", ""
    report = decode(ReportDivergence, answer.items[0])
    return report.expected, report.found


# -- all of them

_TURNS = st.lists(st.integers(0, 7), max_size=30).map(tuple)
_ORDER = st.lists(st.integers(0, 4), max_size=60).map(tuple)
_PEOPLE = st.lists(st.tuples(making.TIMES, st.sampled_from(("pause", "resume", "pause", "cancel"))), max_size=2).map(tuple)
_LIMITED = st.builds(
    lambda program, limit: replace(program, max_steps=limit), making.programs(), st.sampled_from((None, None, None, 1, 2, 4))
)
_CHANGE = st.builds(Change, at=st.integers(0, 30), how=st.sampled_from(HOWS), leaf=making.leaves())

PROPERTIES = {
    one.name: one
    for one in (
        Property("crashes", st.builds(Crashing, making.programs(), _TURNS), check_crashes),
        Property("storms", st.builds(Storm, _LIMITED, _TURNS, _ORDER, _PEOPLE), check_storm),
        Property("changes", st.builds(Changed, making.programs(), _CHANGE), check_change),
    )
}

__all__ = ["PROPERTIES", "Property", "Tally", "boundaries"]
