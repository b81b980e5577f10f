"""One simulation: put together, troubled, calmed, and looked at. Owns the order of things; everything comes from the seed."""

from __future__ import annotations

import asyncio
import gc
import sys
import warnings
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import structlog

from tests.simulation import fork_invariants, invariants
from tests.simulation.anchorage import Anchorage
from tests.simulation.chance import Chance
from tests.simulation.customers import Customers
from tests.simulation.determinism import simulated_machine
from tests.simulation.faults import Faults
from tests.simulation.known import known
from tests.simulation.loop import EPOCH, PROCESS, SimulatedLoop
from tests.simulation.mutants import mutants
from tests.simulation.network import Network
from tests.simulation.orders import NAMES, Order, fork_orders_of, orders_of
from tests.simulation.people import complaints
from tests.simulation.poison import Vandal
from tests.simulation.programs import WORLD
from tests.simulation.provider import Provider
from tests.simulation.services import Fleet
from tests.simulation.storage import Database
from tests.simulation.trace import Trace
from tests.simulation.trouble import Trouble
from waypost_io.bus.memory import MemoryBroker
from waypost_io.store.memory import MemoryDatabase

PATIENCE_SECONDS = 400.0
"""After the trouble is over, everything must have ended within this (virtual) time."""
CALM_SECONDS = 30.0
"""The same where there was no trouble: services that do not even work then are told about at once."""
SETTLE_SECONDS = 60.0
"""And what follows an end (events, audit, cleaning up) within this."""
UNTOLD_SECONDS = 8.0
"""A coordinator that dies so soon after a stream was restored may take with it what nobody else knew of the stream (docs/adr/0197)."""
INPUTS = (1, 2, 3)
ABOUT_POISON = frozenset({"a message is not a tool call"})
"""Errors that services may log: they are about what the vandal sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is simulated. `without` leaves kinds of trouble out, to see what a failure needs."""

    seed: int
    orders: int = 5
    forks: int = 2
    """How many of the runs, whichever, are forked."""
    troubled_seconds: float = 12.0
    without: frozenset[str] = frozenset()
    most: frozenset[str] = frozenset()
    """Kinds of trouble that are as strong as they get, whatever the seed says."""
    keep_trace: bool = False
    calm: bool = False
    loses_commits: bool = False
    """Fail-overs of the database lose up to half a second of commits. Not survived: to see what happens."""
    mutant: str = ""
    """The name of a broken variant of the services (`mutants`)."""
    sabotage: bool = False
    """Lose an event and make an effect twice when all is over, to see that the invariants notice."""


@dataclass(slots=True)
class Report:
    """What became of a seed. `digest` is equal for every replay."""

    seed: int
    violations: list[str]
    digest: int
    seconds: float
    steps: int
    lines: list[str] = field(default_factory=list)
    outcomes: dict[tuple[str, int], bytes] = field(default_factory=dict)
    trouble: str = ""
    struck: dict[str, int] = field(default_factory=dict)
    """How often each kind of fault struck."""


_expected: dict[tuple[str, int], bytes] = {}


def simulate(plan: Plan) -> Report:
    """Run one seed and check everything."""
    if not plan.calm and not _expected:
        _expected.update(undisturbed())
        gc.freeze()  # modules and the like stay: no collection need look at them again
    gc.disable()  # finalisers of killed coroutines must not run in the middle
    try:
        with ExitStack() as broken:
            for mutant in mutants([plan.mutant]) if plan.mutant else ():
                broken.enter_context(mutant.applied())
            return _Simulation(plan).run()
    finally:
        _collect()


def undisturbed() -> dict[tuple[str, int], bytes]:
    """The outcome of every program on every input when nothing goes wrong."""
    outcomes: dict[tuple[str, int], bytes] = {}
    for seed in range(2):
        report = simulate(Plan(seed=seed, orders=0, forks=0, calm=True, troubled_seconds=1.0))
        if report.violations:
            raise AssertionError(f"even an undisturbed world violates something: {report.violations}")
        for key, outcome in report.outcomes.items():
            if outcomes.setdefault(key, outcome) != outcome:
                raise AssertionError(f"{key}: two undisturbed runs differ: {outcome!r} and {outcomes[key]!r}")
    return outcomes


class _Simulation:
    def __init__(self, plan: Plan) -> None:
        seed = plan.seed
        self._plan = plan
        loop = self._loop = SimulatedLoop(Chance(seed, "schedule"))
        chance = Chance(seed, "plan")
        drawn = Trouble.of_seed(chance, plan.without, plan.most)
        self._trouble = Trouble() if plan.calm else drawn
        self._told = str(self._trouble)
        self._trace = Trace(loop.time, keep=plan.keep_trace)
        self._tables = MemoryDatabase(lambda: EPOCH + loop.now)
        skew = chance.uniform(-0.3, 0.3)
        broker = MemoryBroker(clock=lambda: EPOCH + loop.now + skew, call_later=loop.later)
        self._network = Network(loop, broker, Chance(seed, "network"), self._trouble, self._trace)
        self._network.on_stored = self._stored
        self._database = Database(loop, self._tables, Chance(seed, "database"), self._trouble, self._trace)
        self._provider = Provider(loop, Chance(seed, "provider"), self._trouble)
        self._watch = invariants.Watch(self._tables, self._provider)
        self._fork_watch = fork_invariants.ForkWatch(self._tables, self._provider)
        self._anchorage = Anchorage(self._trouble, Chance(seed, "anchors"))
        self._database.observers += [self._watch.observe, self._fork_watch.observe, self._anchorage.observe]
        self._containers = chance.hits(0.5)
        self._fleet = Fleet(loop, self._network, self._database, chance, self._trace)
        self._fleet.anchors = self._anchorage.anchors
        self._provider.kill_me = self._fleet.kill_current
        if self._trouble.two_builds:
            self._fleet.deploy(plan.troubled_seconds)
        threads = Chance(seed, "threads")
        loop.thread_seconds = lambda: threads.latency(0.001, 3.0, self._trouble.slow_threads)
        self._faults = Faults(loop, self._network, self._database, self._fleet, self._trouble, Chance(seed, "faults"))
        self._faults.servers.loses_commits = plan.loses_commits
        if plan.calm:
            self._orders = [
                Order(number=n, agent=name, input=value, starts_at=0.5, by_task=False)
                for n, (name, value) in enumerate((name, value) for name in NAMES for value in INPUTS)
            ]
        else:
            self._orders = orders_of(chance, plan.orders, spread_seconds=plan.troubled_seconds * 0.6)
        self._forks = fork_orders_of(Chance(seed, "forks"), plan.forks, spread_seconds=plan.troubled_seconds * 1.2)
        self._vandal = Vandal(loop, self._network, self._trouble, Chance(seed, "poison"))
        self._events: set[tuple[str, int]] = set()
        self._bugs: list[str] = []

    def run(self) -> Report:
        WORLD[:] = [self._provider]
        loop = self._loop
        before = structlog.get_config()
        try:
            self._log_to_trace()
            with simulated_machine(loop, self._plan.seed, containers=self._containers):
                main = loop.spawn(loop.world, self._main(), "simulation")
                loop.run_until_complete(main)
            violations = main.result()
        finally:
            WORLD.clear()
            structlog.configure(**before)
        return Report(
            seed=self._plan.seed,
            violations=violations,
            digest=self._trace.digest,
            seconds=loop.now,
            steps=loop.steps,
            lines=self._trace.lines,
            outcomes=self._outcomes(),
            trouble=self._told,
            struck=dict(self._trace.struck),
        )

    async def _main(self) -> list[str]:
        complaints.clear()
        self._fleet.start_all()
        customers = Customers(self._loop, self._network, self._tables, self._provider, Chance(self._plan.seed, "customers"))
        served = self._loop.spawn(customers.process, customers.run(self._orders, self._forks), "customers")
        vandal = self._loop.spawn(self._vandal.process, self._vandal.run(self._orders), "vandal")
        await self._faults.run(self._plan.troubled_seconds)
        self._faults.calm()
        customers.calm.set()
        await asyncio.wait([vandal])
        try:
            async with asyncio.timeout(CALM_SECONDS if self._plan.calm else PATIENCE_SECONDS):
                await asyncio.wait([served])
        except TimeoutError:
            pass
        violations: list[str] = []
        until = self._loop.now + (CALM_SECONDS if self._plan.calm else SETTLE_SECONDS)
        while True:
            await asyncio.sleep(1.0)
            late = self._look_late()
            if not late or self._loop.now > until:
                break
        if self._plan.sabotage:
            del next(iter(self._tables.events.values()))[2]
            self._provider.effects.update(list(self._provider.effects)[:1])
        violations += self._bugs + self._fleet.failures + self._watch.violations + self._fork_watch.violations + complaints
        violations += self._anchorage.violations
        if served.done() and not served.cancelled() and served.exception() is not None:
            violations.append(f"the customers met an error: {served.exception()!r}")
        violations += [
            *invariants.logs(self._tables),
            *invariants.limits(self._tables),
            *invariants.effects(self._tables, self._provider),
            *late,
        ]
        deaths = [at for at, role in self._fleet.deaths if role == "coordinator"]
        untold = any(at < death < at + UNTOLD_SECONDS for at in self._faults.servers.restored_at for death in deaths)
        return [each for each in dict.fromkeys(violations) if not known(each, untold=untold)]

    def _look_late(self) -> list[str]:
        """What becomes true in the end."""
        expected = {} if self._plan.calm else _expected
        return [
            *invariants.ends(self._tables, self._orders, expected),
            *fork_invariants.forks(self._tables, self._forks, expected),
            *invariants.positions(self._tables),
            *invariants.heads(self._tables),
            *self._anchorage.faults(self._tables),
            *invariants.published(self._tables, self._events),
            *invariants.leftovers(self._tables),
            *self._vandal.missing(self._tables),
        ]

    def _stored(self, subject: str, body: bytes, msg_id: str | None) -> None:
        if ".dead." in subject:
            self._vandal.dead.append(body)
        if ".events." in subject and msg_id is not None:
            run_id, _, seq = msg_id.rpartition(".")
            self._events.add((run_id, int(seq)))

    def _outcomes(self) -> dict[tuple[str, int], bytes]:
        found = {}
        for order in self._orders:
            row = None if order.run_id is None else self._tables.runs.get(order.run_id)
            if row is not None and row.status == "completed" and row.outcome is not None:
                found[order.agent, order.input] = row.outcome
        return found

    def _log_to_trace(self) -> None:
        """Errors that services log are bugs, unless they are about what we did to them; the rest is for who reads the trace."""
        keep = self._plan.keep_trace

        def processor(_logger: Any, level: str, event: dict[str, Any]) -> Mapping[str, Any]:
            process = PROCESS.get(self._loop.world)
            name = event.pop("event")
            error = event.pop("exc_info", None)
            if error is True:
                error = sys.exc_info()[1]
            if level in ("error", "critical", "exception") and name not in ABOUT_POISON:
                self._bugs.append(f"{process.name} logged {name}: {error!r} {event}")
            if keep:
                self._trace.lines.append(f"{self._loop.now:9.4f} {process.name:16} log {level:7} {name} {event} {error or ''}")
            raise structlog.DropEvent

        wrapper = structlog.make_filtering_bound_logger("debug" if keep else "error")
        structlog.configure(processors=[processor], wrapper_class=wrapper, cache_logger_on_first_use=False)


def _collect() -> None:
    """Killed coroutines end here, where nobody runs; that they cannot await any more in their `finally` blocks is no news."""
    hook, sys.unraisablehook = sys.unraisablehook, lambda _: None
    try:
        warnings.simplefilter("ignore", RuntimeWarning)  # coroutines that a killed process never began
        gc.enable()
        gc.collect()
    finally:
        sys.unraisablehook = hook
