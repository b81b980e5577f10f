"""A storm: round after round of orders and strikes on one deployment, healing, and the checks."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.chaos.storm import checks
from tests.chaos.storm.complaints import Complaints
from tests.chaos.storm.customers import Customers, Order, customers, orders_of
from tests.chaos.storm.deployment import Deployment
from tests.chaos.storm.faults import FAULTS
from tests.chaos.storm.observer import Observer
from tests.chaos.storm.plan import Strike, Weather, strikes_of
from tests.chaos.storm.provider import effects_in
from tests.chaos.storm.report import Round
from waypost_proto.events import Event

_POLL_SECONDS = 0.25
_STACKS_SECONDS = 2.0
_TELL_SECONDS = 15.0
_LINGER_SECONDS = 30.0
_SHOWN = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A storm's options."""

    seed: int
    weather: Weather
    orders_per_second: float = 2.0
    heal_seconds: float = 150.0
    """After the last fault everything must have come to its end within this."""
    sabotage: bool = False
    """Lose an event and make an effect twice before each look: the checks must notice."""


class Storm:
    """Use as `async with Storm.over(…) as storm: await storm.round(1)`."""

    def __init__(self, plan: Plan, made: Deployment, serving: Customers, observer: Observer, tell: Callable[[str], None]) -> None:
        self._plan, self._made, self._customers, self._observer, self._tell = plan, made, serving, observer, tell
        self._checked: set[str] = set()
        self._judged = Counter[str]()
        self._ends_before: Counter[str] = Counter()
        self._complaints = Complaints(made.folder / "logs")

    async def round(self, number: int) -> Round:
        """One round. The strikes and orders follow from seed and number."""
        plan, began = self._plan, time.monotonic()
        found = Round(seed=plan.seed, number=number)
        weather = plan.weather
        orders = orders_of(plan.seed, number, seconds=weather.seconds, per_second=plan.orders_per_second)
        async with asyncio.TaskGroup() as group:
            serving = group.create_task(self._serve(orders, found))
            await self._strike(strikes_of(plan.seed, number, weather), found)
            self._tell(f"round {number}: the trouble is over, {sum(found.faults.values())} faults; healing")
            healing = time.monotonic()
            whole = await self._healed(serving, found)
            found.healed_seconds = time.monotonic() - healing
            serving.cancel()
        if not whole:
            await self._stacks()
        found.orders = len(orders)
        await self._check(orders, found)
        found.ends = self._ended_since()
        found.errors = self._complaints.since_last()
        found.seconds = time.monotonic() - began
        self._tell(found.line())
        for violation in found.violations[:_SHOWN]:
            self._tell(f"  - {violation}")
        return found

    async def _serve(self, orders: list[Order], found: Round) -> None:
        officer = asyncio.ensure_future(self._customers.approve_forever())
        try:
            await self._customers.serve(orders)
            await asyncio.Event().wait()  # approvals may still be asked for, until the round ends
        finally:
            officer.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await officer

    async def _strike(self, strikes: list[Strike], found: Round) -> None:
        began = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for strike in strikes:
                await asyncio.sleep(max(0.0, began + strike.at - time.monotonic()))
                group.create_task(self._one(strike, found))

    async def _one(self, strike: Strike, found: Round) -> None:
        self._tell(f"strike {strike}")
        struck = await FAULTS[strike.kind](self._made, strike)
        (found.faults if struck else found.missed)[strike.kind] += 1

    async def _healed(self, serving: asyncio.Task[None], found: Round) -> bool:
        """Wait until every order is served and no run is open; whether that came about in time."""
        until = time.monotonic() + self._plan.heal_seconds
        tell_at = time.monotonic() + _TELL_SECONDS
        while time.monotonic() < until:
            if serving.done():
                await serving
            if time.monotonic() > tell_at:
                tell_at += _TELL_SECONDS
                await self._tell_what_is_open()
            if not self._customers.serving:
                with contextlib.suppress(TimeoutError):
                    if not await self._observer.fetchval("select count(*) from runs where open", patience_seconds=5):
                        return True
            await asyncio.sleep(_POLL_SECONDS)
        found.violations.append(f"not everything came to its end within {self._plan.heal_seconds:g} s after the trouble")
        return False

    async def _tell_what_is_open(self) -> None:
        query = """
            select r.run_id::text, r.agent, r.status, e.type, e.recorded_at from runs r
            join lateral (select type, recorded_at from events where run_id = r.run_id order by seq desc limit 1) e on true
            where r.open order by e.recorded_at limit 200"""
        with contextlib.suppress(TimeoutError):
            rows = await self._observer.fetch(query, patience_seconds=5)
            some = "; ".join(
                f"{r['run_id']} {r['agent']} {r['status']}, {r['type']} {time.time() - r['recorded_at']:.0f} s ago" for r in rows[:3]
            )
            self._tell(f"still open: {len(rows)} runs, {self._customers.serving} orders being served: {some}")

    async def _stacks(self) -> None:
        """Have every service write down what each of its tasks waits for."""
        for service in self._made.services.values():
            service.send(signal.SIGUSR1)
        await asyncio.sleep(_STACKS_SECONDS)

    # -- checks

    async def _check(self, orders: list[Order], found: Round) -> None:
        violations = found.violations
        await self._audited(violations)
        if self._plan.sabotage:
            await self._sabotage()
        rows = await self._observer.fetch("select run_id::text, agent, status, open, state, outcome from runs")
        fresh = {row["run_id"]: row for row in rows if row["run_id"] not in self._checked}
        events = await self._observer.fetch(
            "select run_id::text, data from events where run_id = any($1::text[]::uuid[]) order by run_id, seq", list(fresh)
        )
        logs = checks.events_of(events)
        for run_id, row in fresh.items():
            violations += checks.log_of(run_id, logs.get(run_id, []), row["state"])
        for order in orders:
            if order.run_id:
                violations += checks.order_of(order, fresh.get(order.run_id))
            else:
                violations.append(f"order {order.key} ({order.agent}) was never accepted")
        await self._effects(logs, found)
        violations += checks.doubts_of(await self._observer.fetch(checks.DOUBTS), logs)
        for text, query in checks.QUERIES.items():
            violations += checks.rows_of(text, await self._left(query))
        book = self._customers.book
        violations += book.complaints
        found.doubts, book.resolved = book.resolved, 0
        book.complaints = []
        found.runs, found.events = len(fresh), len(events)
        self._checked.update(fresh)

    async def _effects(self, logs: dict[str, list[Event]], found: Round) -> None:
        ended = await self._observer.fetch(
            "select run_id::text, max(recorded_at) at from events where type in ('run_completed', 'run_failed', 'run_cancelled') group by 1"
        )
        effects = effects_in(self._made.effects_file)
        found.violations += checks.effects_of(effects, logs, {row["run_id"]: row["at"] for row in ended})
        found.violations += checks.holds_of(self._customers.book.holds, effects)
        found.effects = len(effects) - self._judged["effects"]
        holds = sum(hold.started is not None for hold in self._customers.book.holds)
        found.holds = holds - self._judged["holds"]
        self._judged.update(effects=found.effects, holds=found.holds)

    async def _sabotage(self) -> None:
        effects = self._made.effects_file.read_text(encoding="utf-8").splitlines(keepends=True)
        with self._made.effects_file.open("a", encoding="utf-8") as file:
            file.write(effects[-1])
        await self._observer.fetch("delete from events where seq = 3 and run_id = (select run_id from events where seq = 4 limit 1)")

    async def _left(self, query: str) -> list[Any]:
        """The rows that do not go by themselves: mail to a run that has ended may still be on its way when the last run ends."""
        until = time.monotonic() + _LINGER_SECONDS
        while (rows := await self._observer.fetch(query)) and time.monotonic() < until and not self._plan.sabotage:
            await asyncio.sleep(_POLL_SECONDS)
        return rows

    async def _audited(self, violations: list[str]) -> None:
        until = time.monotonic() + self._plan.heal_seconds
        while left := await self._observer.fetchval(checks.UNAUDITED):
            if time.monotonic() > until:
                violations.append(f"audit: {left} events are not in the audit log")
                return
            await asyncio.sleep(_POLL_SECONDS)

    def _ended_since(self) -> Counter[str]:
        made = self._made
        now = Counter({f"{name} code {code}": count for name, service in made.services.items() for code, count in service.ends.items()})
        now.update({f"{server.server.name} started again": server.restarts for server in (made.nats, made.postgres) if server.restarts})
        since = now - self._ends_before
        self._ends_before = now
        return since


@contextlib.asynccontextmanager
async def storm(plan: Plan, made: Deployment, tell: Callable[[str], None]):  # type: ignore[no-untyped-def]
    """A storm over a deployment."""
    async with Observer(made.database) as observer, customers(made, observer) as serving:
        yield Storm(plan, made, serving, observer, tell)
