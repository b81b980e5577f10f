"""The audit logger in memory: order, exclusion, outages, gaps, the bell."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from functools import partial

import pytest

from tests.unit.waypost_audit.events import Scribe, check_log, taken
from tests.waiting import wait_until
from waypost_audit.bell import Bell
from waypost_audit.logger import AuditConfig, AuditLogger
from waypost_audit.metrics import Metrics
from waypost_io.bus.memory import MemoryBus
from waypost_io.lifecycle import Stop
from waypost_io.store.memory import MemoryDatabase, MemoryStore
from waypost_proto.errors import ConcurrencyError, TransientError

EVENTS = "waypost.events.>"


@pytest.fixture
async def database() -> MemoryDatabase:
    return MemoryDatabase(time.time)


@pytest.fixture
async def scribe(database: MemoryDatabase) -> Scribe:
    return await Scribe(MemoryStore(time.time, database=database)).start()


def store(database: MemoryDatabase) -> MemoryStore:
    return MemoryStore(time.time, database=database)


@contextlib.asynccontextmanager
async def running(database: MemoryDatabase, owner: str = "one", **config: float) -> AsyncIterator[tuple[AuditLogger, MemoryBus, Metrics]]:
    """A logger at work, its bus and its metrics."""
    fields = {"batch_max": 10, "poll_seconds": 0.05, "lease_seconds": 1.0, **config}
    metrics = Metrics()
    stop = Stop()
    async with MemoryBus() as bus:
        settings = AuditConfig(
            owner=owner, batch_max=int(fields["batch_max"]), poll_seconds=fields["poll_seconds"], lease_seconds=fields["lease_seconds"]
        )
        logger = AuditLogger(store(database), Bell(bus, EVENTS), settings, metrics=metrics)
        task = asyncio.create_task(logger.run(stop))
        try:
            yield logger, bus, metrics
        finally:
            stop.request("test is over")
            await asyncio.wait_for(task, 10)


async def test_everything_is_taken_over_in_order_in_batches(database: MemoryDatabase, scribe: Scribe) -> None:
    await scribe.write({0: 7, 1: 40})
    async with running(database) as (logger, _, _):
        await wait_until(lambda: taken(scribe))
        for _ in range(5):
            await scribe.write({2: 9, 0: 1})
        await wait_until(lambda: taken(scribe))
        await wait_until(lambda: _says(logger, "0 events behind"))
    await check_log(scribe.store, scribe.written)


async def _says(logger: AuditLogger, text: str) -> bool:
    return await logger.readiness() == text


async def test_a_ring_wakes_it_long_before_the_poll(database: MemoryDatabase, scribe: Scribe) -> None:
    async with running(database, poll_seconds=3_600) as (_, bus, _):
        for number in range(3):
            await scribe.write({0: 1})
            await wait_until(partial(_rung, scribe, bus, number))
    await check_log(scribe.store, scribe.written)


async def _rung(scribe: Scribe, bus: MemoryBus, number: int) -> bool:
    bus.send(f"waypost.events.clerk.r.e{number}", b"{}")
    return await taken(scribe)


async def test_it_takes_over_without_a_bell(database: MemoryDatabase, scribe: Scribe) -> None:
    async with running(database) as (_, bus, _):
        await bus.__aexit__(None, None, None)
        await scribe.write({0: 3})
        await wait_until(lambda: taken(scribe))
    await check_log(scribe.store, scribe.written)


async def test_two_loggers_exclude_each_other(database: MemoryDatabase, scribe: Scribe) -> None:
    async with running(database, "one"), running(database, "two"):
        for _ in range(30):
            await scribe.write({0: 3, 1: 2, 2: 5})
            await asyncio.sleep(0)
        await wait_until(lambda: taken(scribe))
    await check_log(scribe.store, scribe.written)


def lone(database: MemoryDatabase, owner: str, **config: float) -> AuditLogger:
    return AuditLogger(store(database), Bell(MemoryBus(), EVENTS), AuditConfig(owner=owner, **config))  # type: ignore[arg-type]


async def test_one_of_two_is_active_until_its_lease_is_over(database: MemoryDatabase, scribe: Scribe) -> None:
    now = time.time()
    database.clock = lambda: now
    first, second = lone(database, "one", lease_seconds=5), lone(database, "two", lease_seconds=5)
    await scribe.write({0: 2})
    assert await first.take() == 2
    await scribe.write({0: 1, 1: 1})
    assert await second.take() == 0
    assert not second.active
    assert await second.readiness() == "another audit logger is active"
    now += 6
    assert await second.take() == 2
    await scribe.write({1: 1})
    with pytest.raises(ConcurrencyError):  # it believes to have the lease: a process that was stopped for a while
        await first.take()
    await check_log(scribe.store, scribe.written[:4])
    assert await second.take() == 1
    await check_log(scribe.store, scribe.written)


async def test_an_append_that_arrives_late_is_refused(database: MemoryDatabase, scribe: Scribe) -> None:
    audit = store(database).audit
    await scribe.write({0: 2})
    logger = lone(database, "one")
    state = await audit.acquire("one", origin="o", lease_seconds=60)
    assert state is not None
    late = await audit.pending(10)
    assert await logger.take() == 2
    with pytest.raises(ConcurrencyError):
        await audit.append(state, late, [])
    await check_log(scribe.store, scribe.written)


async def test_when_one_logger_is_gone_the_other_goes_on(database: MemoryDatabase, scribe: Scribe) -> None:
    async with running(database, "one"):
        async with running(database, "two"):
            await scribe.write({0: 3})
            await wait_until(lambda: taken(scribe))
        await scribe.write({0: 3})
        await wait_until(lambda: taken(scribe))
    await check_log(scribe.store, scribe.written)


async def test_a_stop_frees_the_lease_at_once(database: MemoryDatabase, scribe: Scribe) -> None:
    async with running(database, "one", lease_seconds=3_600):
        await scribe.write({0: 3})
        await wait_until(lambda: taken(scribe))
    await scribe.write({0: 1})
    assert await lone(database, "two").take() == 1


async def test_an_outage_is_waited_out_and_said(database: MemoryDatabase, scribe: Scribe) -> None:
    async with running(database) as (logger, _, _):
        await scribe.write({0: 2})
        await wait_until(lambda: taken(scribe))
        database.down = True

        async def troubled() -> bool:
            try:
                await logger.readiness()
            except TransientError:
                return True
            return False

        await wait_until(troubled)
        database.down = False
        await scribe.write({1: 2})
        await wait_until(lambda: taken(scribe))
        await wait_until(lambda: _says(logger, "0 events behind"))
    await check_log(scribe.store, scribe.written)


async def test_an_append_of_unknown_outcome_is_neither_lost_nor_doubled(
    database: MemoryDatabase, scribe: Scribe, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = store(database)
    logger = AuditLogger(mine, Bell(MemoryBus(), EVENTS), AuditConfig())
    real = mine.audit.append

    async def cut(*args: object) -> None:
        await real(*args)  # type: ignore[arg-type]
        monkeypatch.setattr(mine.audit, "append", real)
        raise TransientError("the connection was lost after the commit")

    monkeypatch.setattr(mine.audit, "append", cut)
    await scribe.write({0: 2})
    stop = Stop()
    running_logger = asyncio.create_task(logger.run(stop))
    await wait_until(lambda: logger.active)
    await scribe.write({0: 1})
    await wait_until(lambda: taken(scribe))
    stop.request("test is over")
    await running_logger
    await check_log(scribe.store, scribe.written)


async def test_a_gap_stops_its_partition_alone_and_is_shown(database: MemoryDatabase, scribe: Scribe) -> None:
    await scribe.write({0: 2, 1: 1})
    missing = await scribe.write({0: 1}, gap=1)
    async with running(database) as (logger, _, metrics):
        await wait_until(lambda: metrics.gaps.value)
        await scribe.write({1: 2})
        await wait_until(lambda: _count(scribe, len(scribe.written) - len(missing)))
        with pytest.raises(TransientError, match="after position 2 comes 4"):
            await logger.readiness()
    await check_log(scribe.store, [event for event in scribe.written if event not in missing])


async def _count(scribe: Scribe, number: int) -> bool:
    return (await scribe.store.audit.state()).size == number


async def test_the_lag_is_measured_per_partition(database: MemoryDatabase, scribe: Scribe) -> None:
    await scribe.write({0: 12})
    metrics = Metrics()
    logger = AuditLogger(store(database), Bell(MemoryBus(), EVENTS), AuditConfig(batch_max=10), metrics=metrics)
    await logger.take()
    assert b'waypost_audit_lag_events{partition="0"} 2' in metrics.registry.render()
    await logger.take()
    assert b'waypost_audit_lag_events{partition="0"} 0' in metrics.registry.render()
    assert metrics.appended.value == metrics.leaves.value == 12
    assert b"waypost_audit_lag_seconds_count 2" in metrics.registry.render()
