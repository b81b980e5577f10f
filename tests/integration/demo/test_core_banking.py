"""Core banking in a real Postgres: a database of its own, whose look-ups really sleep."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import msgspec
import pytest

from waypost import DoNotRetry
from waypost_examples.compliance import tools
from waypost_examples.compliance.legacy import core_banking
from waypost_examples.compliance.legacy.book import book_of
from waypost_io.servers import EmbeddedPostgres

ACCOUNTS = [f"X-{n}" for n in range(40)]
PLAN = core_banking.plan(0)
SLEEPY = next(a for a in ACCOUNTS if PLAN.failures(a) == 1)
AWAKE = next(a for a in ACCOUNTS if PLAN.failures(a) == 0)


@pytest.fixture(scope="module")
async def url(postgres: EmbeddedPostgres) -> AsyncIterator[str]:
    database = f"bank_{uuid.uuid4().hex[:8]}"
    accounts = [entry.account for entry in book_of(ACCOUNTS).values()]
    for _ in range(2):  # populating again makes it anew
        address = await core_banking.populate(postgres.url, accounts, 0, slow_seconds=3600, database=database)
    yield address
    await postgres.drop_database(database)


@pytest.fixture(autouse=True)
def addresses(url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    nowhere = "http://127.0.0.1:1"
    known = tools.Addresses(core_banking=url, kyc=nowhere, sanctions=nowhere, regulator=nowhere)
    (tmp_path / "desk.json").write_bytes(msgspec.json.encode(known))
    monkeypatch.setenv(tools.ADDRESSES_FILE, str(tmp_path / "desk.json"))


async def test_an_account_is_found() -> None:
    assert await tools.core_banking(AWAKE) == book_of([AWAKE])[AWAKE].account


async def test_an_unknown_account_is_not_tried_again() -> None:
    with pytest.raises(DoNotRetry, match="no account 'nobody'"):
        await tools.core_banking("nobody")


async def test_a_look_up_that_sleeps_is_answered_the_next_time() -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await tools.core_banking(SLEEPY)
    async with asyncio.timeout(30):
        assert (await tools.core_banking(SLEEPY)).account == SLEEPY


async def test_it_is_a_database_of_its_own(url: str, postgres: EmbeddedPostgres) -> None:
    connection = await asyncpg.connect(postgres.url)
    try:
        with pytest.raises(asyncpg.UndefinedTableError):
            await connection.fetch("SELECT * FROM accounts")
    finally:
        await connection.close()
    assert url != postgres.url
