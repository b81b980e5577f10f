"""Can one log in to Postgres, is it the right server, will it keep what it is told, and may this login do the work?"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from waypost_cli.doctor.report import Finding, failure, ok, unreachable, warning
from waypost_proto.errors import Misconfigured, Unreachable, WaypostError

if TYPE_CHECKING:
    import asyncpg

OLDEST = 15
FULL_SHARE = 0.9
"""Of the server's connections."""
SECONDS = 5.0
SERVICES = {
    "coordinator": ("events", "INSERT"),
    "gateway": ("tool_ledger", "UPDATE"),
    "audit logger": ("audit_leaves", "INSERT"),
}
"""A right that each service cannot do without, to tell which of them a login could be."""

_SETTINGS = """
SELECT pg_is_in_recovery() AS standby, current_setting('transaction_read_only') = 'on' AS read_only,
       current_setting('fsync') AS fsync, current_setting('full_page_writes') AS full_page_writes,
       current_setting('synchronous_commit') AS synchronous_commit, current_user AS login, current_database() AS database,
       current_setting('max_connections')::int AS most,
       (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend') AS used
"""
_RIGHTS = """
SELECT to_regclass('events') IS NOT NULL AS migrated,
       CASE WHEN to_regclass('events') IS NOT NULL THEN has_table_privilege(to_regclass('events'), 'SELECT') END AS reads
"""


async def check_login(url: str) -> list[Finding]:
    """Log in, and judge the server by its settings. The first finding has the level `failure` if there is no use in asking more."""
    from waypost_io.store.pg.errors import translated

    try:
        with translated():
            connection = await _connect(url)
    except Unreachable as error:
        return [unreachable("postgres", str(error), "start the server, or set WAYPOST_POSTGRES_URL to where it is")]
    except (Misconfigured, WaypostError) as error:
        return [failure("postgres", str(error), "see that user, password and database in WAYPOST_POSTGRES_URL are right")]
    try:
        with translated():
            return await _judge(connection, url)
    except WaypostError as error:
        return [failure("postgres", str(error), "see the log of Postgres")]
    finally:
        await connection.close(timeout=SECONDS)


async def _connect(url: str) -> asyncpg.Connection:
    import asyncpg

    return await asyncpg.connect(url, timeout=SECONDS, statement_cache_size=0)


async def _judge(connection: asyncpg.Connection, url: str) -> list[Finding]:
    number = int(connection.get_server_version().major)
    if number < OLDEST:
        return [failure("postgres", f"version {number} is too old", f"use Postgres {OLDEST} or later")]
    row = await connection.fetchrow(_SETTINGS)
    assert row is not None
    findings = [ok("postgres", f"version {number}")]
    if row["standby"]:
        mend = "name the primary in WAYPOST_POSTGRES_URL; services cannot write here"
        findings.append(failure("postgres primary", "this is a standby: it can only be read", mend))
    elif row["read_only"]:
        mend = f'ALTER DATABASE "{row["database"]}" RESET default_transaction_read_only (or the same for the role "{row["login"]}")'
        findings.append(failure("postgres primary", "transactions are read-only here", mend))
    findings += _durability(row)
    findings += await _pooler(connection, url)
    findings += await _rights(connection, row["login"])
    if row["used"] > FULL_SHARE * row["most"]:
        text = f"{row['used']} of {row['most']} in use"
        findings.append(warning("postgres connections", text, "raise max_connections, or lower WAYPOST_POSTGRES_POOL of the services"))
    return findings


def _durability(row: asyncpg.Record) -> list[Finding]:
    off = [f"{name} = off" for name in ("fsync", "full_page_writes") if row[name] == "off"]
    off += ["synchronous_commit = off"] if row["synchronous_commit"] == "off" else []
    if not off:
        return []
    text = f"{', '.join(off)}: what was accepted is lost when the machine fails"
    return [
        failure("postgres durability", text, f"set {', '.join(setting.replace('off', 'on') for setting in off)}, for this database too")
    ]


async def _pooler(connection: asyncpg.Connection, url: str) -> list[Finding]:
    """Two connections that are open at once have one server process: something between shares it out by transaction."""
    first = await connection.fetchval("SELECT pg_backend_pid()")
    other = await _connect(url)
    try:
        second = await other.fetchval("SELECT pg_backend_pid()")
        if first != second:
            return []
        if await _prepares(other, connection):
            return [ok("postgres pooler", "one that shares connections by transaction, and keeps prepared statements")]
    finally:
        await other.close(timeout=SECONDS)
    text = "a pooler shares connections by transaction, and loses prepared statements"
    mend = "PgBouncer: version 1.21 or later with max_prepared_statements = 200, or pool_mode = session; or connect to Postgres itself"
    return [failure("postgres pooler", text, mend)]


async def _prepares(one: asyncpg.Connection, two: asyncpg.Connection) -> bool:
    """Whether statements of one name on two connections do not get into each other's way."""
    import asyncpg

    try:
        first = await one.prepare("SELECT 1", name="waypost_doctor")
        if await first.fetchval() != 1:  # its end lets the pooler give the server process to the other
            return False
        second = await two.prepare("SELECT 2", name="waypost_doctor")
        return bool(await second.fetchval() == 2 and await first.fetchval() == 1)
    except (asyncpg.PostgresError, asyncpg.InterfaceError):
        return False


async def _rights(connection: asyncpg.Connection, login: str) -> list[Finding]:
    row = await connection.fetchrow(_RIGHTS)
    assert row is not None
    if not row["migrated"]:
        return []  # `migrations` says so
    may = [
        service
        for service, (table, right) in SERVICES.items()
        if await connection.fetchval("SELECT to_regclass($1) IS NOT NULL AND has_table_privilege(to_regclass($1), $2)", table, right)
    ]
    if may:
        return [ok("postgres rights", f"{login} may do the work of {_listed(may)}")]
    grant = f"GRANT waypost_coordinator (or waypost_gateway, waypost_audit) TO {login}"
    if row["reads"]:
        return [warning("postgres rights", f"{login} may only read: no service can work with this login", grant)]
    return [
        failure("postgres rights", f"{login} may not even read the tables", f"{grant}; for looking only: GRANT waypost_reader TO {login}")
    ]


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


async def knows_runs(url: str, run_ids: list[str]) -> list[str]:
    """Which of these runs the database does not have. Raises `WaypostError`."""
    from waypost_io.store.pg.errors import translated

    with translated():
        connection = await _connect(url)
        try:
            async with asyncio.timeout(SECONDS):
                rows = await connection.fetch("SELECT run_id::text FROM runs WHERE run_id = ANY($1::uuid[])", run_ids)
        finally:
            await connection.close(timeout=SECONDS)
    known = {row["run_id"] for row in rows}
    return [run_id for run_id in run_ids if run_id not in known]
