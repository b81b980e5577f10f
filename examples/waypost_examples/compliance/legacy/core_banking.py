"""Core banking: a Postgres database of its own. Owns its creation; the desk's tool only reads it through `look_up`.

A look-up of some accounts sleeps in the database (`pg_sleep`) past the tool's time limit, the first time or the first two times.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib import resources
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from waypost_examples.compliance.legacy.faults import FaultKind, FaultPlan
from waypost_examples.compliance.model import Account

DATABASE = "waypost_demo_core_banking"
"""Long, because `populate` drops a database of this name."""


def plan(seed: int) -> FaultPlan:
    return FaultPlan(service="core_banking", seed=seed, shares={FaultKind.SLOW: 0.25})


def database_url(server_url: str, database: str = DATABASE) -> str:
    """The URL of `database` on the server of `server_url`."""
    return urlunsplit(urlsplit(server_url)._replace(path=f"/{database}"))


async def populate(server_url: str, accounts: Iterable[Account], seed: int, *, slow_seconds: float = 5.0, database: str = DATABASE) -> str:
    """Create the database anew with these accounts; returns its URL."""
    admin = await asyncpg.connect(server_url)
    try:
        await admin.execute(f'DROP DATABASE IF EXISTS "{database}" WITH (FORCE)')
        await admin.execute(f'CREATE DATABASE "{database}"')
    finally:
        await admin.close()
    url = database_url(server_url, database)
    faults = plan(seed)
    connection = await asyncpg.connect(url)
    try:
        await connection.execute((resources.files(__package__ or "") / "core_banking.sql").read_text(encoding="utf-8"))
        for account in accounts:
            await _insert(connection, account, faults.failures(account.account), slow_seconds)
    finally:
        await connection.close()
    return url


async def _insert(connection: asyncpg.Connection, account: Account, slow_first: int, slow_seconds: float) -> None:
    number = await connection.fetchval(
        "INSERT INTO accounts (account, customer, holder, opened, monthly_average, slow_first, slow_seconds)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING number",
        account.account,
        account.customer,
        account.holder,
        account.opened,
        account.monthly_average,
        slow_first,
        slow_seconds,
    )
    if slow_first:
        await connection.execute(f"CREATE SEQUENCE look_ups_{int(number)}")
