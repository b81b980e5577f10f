"""`runs.list`: what the newest runs show and what is looked up by indexes, further down, are the same list."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest

from tests.conformance.store.rows import PARTITIONS, Owner
from waypost_io.store.ports import RunFilter
from waypost_io.store.postgres import PostgresStore

AT = 1_790_000_000.0
STATUSES = ["completed", "failed", "paused", "running", "waiting"]
FILTERS: list[dict[str, Any]] = [
    {"labels": {"team": "a"}},
    {"labels": {"team": "a", "env": "prod"}},
    {"labels": {"team": "nobody"}},
    {"text": "team=a"},
    {"text": "order-"},
    {"updated_from": AT + 30},
    {"updated_to": AT + 20},
    {"attention": True},
    {"statuses": ["running"]},
    {"statuses": ["failed", "running"]},
    {"statuses": ["failed", "paused"]},
    {"labels": {"env": "prod"}, "statuses": ["failed"]},
    {"text": "team=b", "statuses": ["waiting"], "updated_from": AT + 10},
]
OWNERS: list[dict[str, Any]] = [
    {},
    {"agent": "pay"},
    {"tenant": "acme"},
    {"agent": "pay", "tenant": "acme"},
    {"agent": "'; DROP TABLE runs"},
]


@pytest.fixture
async def store(postgres_url: str) -> AsyncIterator[PostgresStore]:
    async with PostgresStore(postgres_url) as store:
        await store.leases.ensure_partitions(PARTITIONS)
        leases = await store.leases.acquire("me", at_most=PARTITIONS, lease_seconds=60)
        me = Owner(store, "me", {lease.partition: lease for lease in leases})
        for number in range(48):
            status = STATUSES[number % 5]
            await me.run(
                agent=("pay", "desk", "'; DROP TABLE runs")[number % 3],
                tenant=("default", "acme")[number % 7 == 0],
                status=status,
                open=status not in ("completed", "failed"),
                labels=({"team": "ab"[number % 4 // 2], "env": "prod"}, {}, {"team": "a"})[number % 4 - 1] if number % 4 else {},
                correlation_id=f"order-{number}" if number % 6 == 0 else "",
                updated_at=AT + number,
            )
        yield store


async def paged(store: PostgresStore, query: RunFilter) -> list[str]:
    found: list[str] = []
    while page := await store.reads.list(replace(query, before=found[-1] if found else None)):
        found += [run.run_id for run in page]
    return found


async def test_both_ways_find_the_same(store: PostgresStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("waypost_io.store.pg.reads.LOOK_AT", 1)
    some = 0
    for given, owner in itertools.product(FILTERS, OWNERS):
        at_once = [run.run_id for run in await store.reads.list(RunFilter(**given, **owner, limit=500))]
        assert await paged(store, RunFilter(**given, **owner, limit=1)) == at_once, (given, owner)
        some += bool(at_once)
    assert some > len(FILTERS) * 2, "most filters find something"
