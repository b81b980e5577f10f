"""Random histories on both adapters at once: whatever one answers, the other answers too.

The seed is in the test's id; a failure shows the step at which they part.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

import asyncpg
import pytest

from tests.conformance.store.conftest import EMPTY
from tests.conformance.store.rows import (
    AT,
    PARTITIONS,
    approval_row,
    inbox_row,
    new_run_id,
    notice_row,
    permit_row,
    run_row,
    timer_row,
)
from waypost_io.store import MemoryStore, PostgresStore, Store
from waypost_io.store.ports import ApprovalRow, Commit, EventRow, LedgerState, RunFilter
from waypost_proto.errors import WaypostError
from waypost_proto.ids import CallId, RunId, partition_of

STEPS = 150
CALLS = [CallId(f"0:{n}") for n in range(2)]


@pytest.fixture
async def both(postgres_url: str) -> AsyncIterator[tuple[Store, Store]]:
    connection = await asyncpg.connect(postgres_url)
    await connection.execute(EMPTY)
    await connection.close()
    async with PostgresStore(postgres_url, pool_size=2) as real:
        memory = MemoryStore(clock=lambda: AT)
        for store in (real, memory):
            await store.leases.ensure_partitions(PARTITIONS)
        yield real, memory


class Twins:
    """Does the same to both and compares what comes of it."""

    def __init__(self, stores: tuple[Store, Store], seed: int) -> None:
        self.stores = stores
        self.draw = random.Random(seed)
        self.runs = [new_run_id(partition) for partition in range(PARTITIONS) for _ in range(2)]
        self.seqs = dict.fromkeys(self.runs, 0)
        self.positions = dict.fromkeys(range(PARTITIONS), 0)
        self.trail: list[str] = []

    async def same(self, what: str, ask: Callable[[Store], Awaitable[object]]) -> object:
        answers = []
        for store in self.stores:
            try:
                answers.append(await ask(store))
            except WaypostError as error:
                answers.append(type(error))
        self.trail.append(what)
        assert plain(answers[0]) == plain(answers[1]), f"they part at {self.trail[-5:]}"
        return answers[0]

    async def leases(self) -> None:
        owner = self.draw.choice(["one", "two"])
        at_most = self.draw.randint(0, PARTITIONS)
        seconds = self.draw.choice([-1.0, 1e6])
        await self.same(f"acquire {owner}", lambda store: store.leases.acquire(owner, at_most=at_most, lease_seconds=seconds))
        epochs = {partition: self.draw.randint(1, 4) for partition in range(PARTITIONS)}
        act = self.draw.choice(["renew", "release", ""])
        if act == "renew":
            await self.same(act, lambda store: store.leases.renew(owner, epochs, lease_seconds=seconds))
        elif act == "release":
            await self.same(act, lambda store: store.leases.release(owner, epochs))

    async def commit(self) -> None:
        owned = [lease for lease in await self.stores[1].leases.owners() if lease.owner]
        owner = self.draw.choice(["one", "two"])
        named = [lease for lease in owned if lease.owner == owner or self.draw.random() < 0.1]
        leases = [(lease.partition, lease.epoch - (self.draw.random() < 0.1), 0, self.draw.randint(0, 9)) for lease in named]
        partitions = {lease[0] for lease in leases}
        batch = Commit(owner=owner, leases=leases)
        for run_id in self.draw.sample(self.runs, self.draw.randint(0, 4)):
            if partition_of(run_id, PARTITIONS) in partitions:
                self._add(batch, run_id)
        await self.same(f"commit {batch}", lambda store: store.log.commit(batch))
        for lease in await self.stores[1].leases.owners():
            self.positions[lease.partition] = lease.position

    def _add(self, batch: Commit, run_id: RunId) -> None:
        partition = partition_of(run_id, PARTITIONS)
        draw = self.draw.random
        call_id = self.draw.choice(CALLS)
        for _ in range(self.draw.randint(0, 2)):
            self.seqs[run_id] += draw() < 0.97  # now and then a number that is taken
            self.positions[partition] += draw() < 0.98
            cause = self.draw.choice(["", "", f"c{self.draw.randint(0, 30)}"])
            batch.events.append(
                EventRow(run_id, self.seqs[run_id], "signal_received", partition, self.positions[partition], AT, b"{}", cause)
            )
        worker = self.draw.choice(["", "w1", "w2"])
        batch.runs.append(run_row(run_id, self.seqs[run_id], worker=worker, held=draw() < 0.2, open=draw() < 0.9, labels={"w": worker}))
        if draw() < 0.3:
            batch.set_timers.append(timer_row(run_id, call_id, AT + self.draw.randint(0, 5)))
        if draw() < 0.3:
            batch.clear_timers.append((run_id, self.draw.choice(CALLS)))
        if draw() < 0.4:
            approval = self.draw.choice([None, None, f"{run_id}/a"])
            attempt = self.draw.randint(1, 3)
            batch.permits.append(permit_row(run_id, call_id, attempt=attempt, approval_id=approval, force=draw() < 0.1))
        if draw() < 0.2:
            batch.revoke_runs.append(run_id)
        if draw() < 0.2:
            batch.revoke_calls.append((run_id, call_id))
        if draw() < 0.3:
            state = self.draw.choice(["open", "granted", "denied", "withdrawn"])
            batch.approvals.append(replace(approval_row(run_id, f"{run_id}/a", call_id=call_id), state=state))
        if draw() < 0.2:
            sender = run_id if draw() < 0.9 else None
            batch.inbox_add.append(inbox_row(self.draw.choice(self.runs), f"m{self.draw.randint(0, 9)}", sender=sender))
        if draw() < 0.2:
            batch.inbox_remove.append(f"m{self.draw.randint(0, 9)}")
        if draw() < 0.1:
            batch.notices.append(notice_row(run_id, f"n{self.draw.randint(0, 5)}"))

    async def ledger(self) -> None:
        run_id, call_id = self.draw.choice(self.runs), self.draw.choice(CALLS)
        attempt = self.draw.randint(1, 3)
        gateway = self.draw.choice(["g1", "g2"])
        row = await self.stores[1].ledger.get(run_id, call_id)
        if row is not None and self.draw.random() < 0.8:
            attempt, gateway = row.attempt, row.gateway or gateway
        approval = self.draw.choice([None, f"{run_id}/a"])
        seconds = self.draw.choice([-1.0, 1e6])
        await self.same(
            f"start {run_id} {call_id} {attempt} {approval}",
            lambda store: store.ledger.start(
                run_id,
                call_id,
                attempt=attempt,
                args_digest="digest",
                approval_id=approval,
                gateway=gateway,
                lease_seconds=seconds,
                hard_seconds=1.0,
            ),
        )
        match self.draw.randint(0, 3):
            case 0:
                state = self.draw.choice(["done", "failed", "doubt"])
                await self.same(
                    f"settle {state}",
                    lambda store: store.ledger.settle(run_id, call_id, attempt=attempt, state=state, result=b"r", gateway=gateway),  # type: ignore[arg-type]
                )
            case 1:
                await self.same("extend", lambda store: store.ledger.extend(run_id, call_id, gateway=gateway, lease_seconds=seconds))
            case 2:
                await self.same(
                    "take over",
                    lambda store: store.ledger.take_over(
                        run_id, call_id, attempt=attempt, gateway=gateway, lease_seconds=seconds, hard_seconds=1.0
                    ),
                )

    async def look(self) -> None:
        """Everything that can be read."""
        every = range(PARTITIONS)
        for run_id in self.runs:
            await self.same("events", lambda store, r=run_id: store.log.load_events(r))  # type: ignore[misc]
            await self.same("ledger", lambda store, r=run_id: store.ledger.of_run(r))  # type: ignore[misc]
            await self.same("notices", lambda store, r=run_id: store.reads.notices(r))  # type: ignore[misc]
        for partition in every:
            await self.same("positions", lambda store, p=partition: store.log.events_after(p, 0, limit=999))  # type: ignore[misc]
            await self.same("open", lambda store, p=partition: store.log.open_runs(p))  # type: ignore[misc]
            await self.same("inbox", lambda store, p=partition: store.log.inbox(p))  # type: ignore[misc]
        await self.same("owners", lambda store: store.leases.owners())
        await self.same("timers", lambda store: store.timers.due(every, before=AT + 99, limit=99))
        await self.same("held", lambda store: store.log.held_runs(every))
        await self.same("sticky", lambda store: store.log.sticky_workers(every))
        await self.same("of workers", lambda store: store.log.runs_of_workers(every, ["w1"]))
        await self.same("approvals", lambda store: store.approvals.list(state="all"))
        await self.same("open approvals", lambda store: store.approvals.list(state="open"))
        await self.same("runs", lambda store: store.reads.list(RunFilter(labels={"w": "w1"})))


def plain(answer: object) -> object:
    """An answer without what depends on the clock or has no order."""
    match answer:
        case LedgerState():
            return replace(answer, lease_until=None, hard_deadline=None)
        case ApprovalRow():
            return answer
        case tuple() | list():
            return [plain(part) for part in answer]
        case _ if hasattr(answer, "revoked"):
            return answer.lost, sorted(map(repr, plain(answer.revoked)))  # type: ignore[attr-defined]
        case _ if hasattr(answer, "expires_at"):
            return replace(answer, expires_at=0.0)  # type: ignore[type-var]
    return answer


@pytest.mark.parametrize("seed", range(8))
async def test_both_adapters_answer_alike(both: tuple[Store, Store], seed: int) -> None:
    twins = Twins(both, seed)
    for step in range(STEPS):
        await twins.draw.choices([twins.leases, twins.commit, twins.ledger], weights=[1, 5, 4])[0]()
        if step % 20 == 19:
            await twins.look()
    assert any(what.startswith("commit") for what in twins.trail)
