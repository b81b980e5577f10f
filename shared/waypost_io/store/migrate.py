"""Brings a database to the schema of this version: numbered, forward only, each in a transaction of its own.

Owns table schema_migrations. Every transaction first takes the same advisory lock, so that any number of processes may migrate at once and
each migration runs once; the lock ends with the transaction and so works behind a transaction pooler too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import asyncpg

from waypost_io.store import queries
from waypost_io.store.pg.errors import translated
from waypost_io.store.pg.link import Connection
from waypost_proto.errors import Misconfigured

MONTHS_AHEAD = 3
"""Partitions of `events` are made for this month and so many more."""
_LOCK = 0x7761_7970_6F73_74
"""Key of the advisory lock: "waypost" in ASCII."""
_CONNECT_SECONDS = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """One file of `migrations/`: `0001_tables.sql` has version 1 and name `tables`. `checksum` is the SHA-256 of its text."""

    version: int
    name: str
    checksum: str
    sql: str


def migrations() -> list[Migration]:
    """All that this version knows, in order."""
    found = []
    for stem, sql in queries.scripts("migrations").items():
        number, _, name = stem.partition("_")
        found.append(Migration(version=int(number), name=name, checksum=hashlib.sha256(sql.encode()).hexdigest(), sql=sql))
    return found


async def migrate(url: str, on_progress: Callable[[Migration], None] | None = None) -> list[Migration]:
    """Apply what is missing, make the coming months' partitions, and return what was applied (empty: it was up to date).

    `on_progress` is called before each migration. Idempotent; cancelled or killed half-way it leaves whole migrations only. Raises
    `Unreachable`; `Misconfigured` when the database is newer than this version, was migrated by other files, or the user may not.
    """
    with translated():
        connection = await asyncpg.connect(url, timeout=_CONNECT_SECONDS, statement_cache_size=0)
        try:
            applied = []
            while (migration := await _apply_next(connection, on_progress)) is not None:
                applied.append(migration)
            await create_event_partitions(connection)
        finally:
            await connection.close(timeout=_CONNECT_SECONDS)
    return applied


async def pending(url: str) -> list[Migration]:
    """What `migrate` would apply; changes nothing. Raises like `migrate`."""
    with translated():
        connection = await asyncpg.connect(url, timeout=_CONNECT_SECONDS, statement_cache_size=0)
        try:
            return await missing(connection)
        finally:
            await connection.close(timeout=_CONNECT_SECONDS)


async def missing(connection: Connection) -> list[Migration]:
    """The migrations that this database lacks. Raises `Misconfigured` when it is newer than this version or was migrated by other files."""
    known = migrations()
    if await connection.fetchval("SELECT to_regclass('schema_migrations')") is None:
        return known
    applied = {row["version"]: row for row in await connection.fetch("SELECT version, name, checksum FROM schema_migrations")}
    newer = sorted(applied.keys() - {migration.version for migration in known})
    if newer:
        last = applied[newer[-1]]
        raise Misconfigured(
            f"the database is at migration {last['version']} ({last['name']}), this version of Waypost knows only {known[-1].version} "
            f"({known[-1].name}): it is older than the database; use the version that migrated it, or a later one"
        )
    for migration in known:
        row = applied.get(migration.version)
        if row is not None and row["checksum"] != migration.checksum:
            raise Misconfigured(
                f"migration {migration.version} was applied to the database as {row['name']!r} with other contents than this version's "
                f"{migration.name!r}: the database belongs to another build; use that build, or a fresh database"
            )
    return [migration for migration in known if migration.version not in applied]


async def create_event_partitions(connection: Connection, months_ahead: int = MONTHS_AHEAD) -> list[str]:
    """Make the partitions of `events` for this and the next months; the names of the new ones. Idempotent."""
    rows = await connection.fetch("SELECT waypost_create_event_partitions($1) AS name", months_ahead)
    return [row["name"] for row in rows]


async def _apply_next(connection: Connection, on_progress: Callable[[Migration], None] | None) -> Migration | None:
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
        if await connection.fetchval("SELECT to_regclass('schema_migrations')") is None:
            await connection.execute(queries.scripts("schema")["schema_migrations"])
        todo = await missing(connection)
        if not todo:
            return None
        migration = todo[0]
        if on_progress is not None:
            on_progress(migration)
        await connection.execute(migration.sql)
        await connection.execute(
            "INSERT INTO schema_migrations (version, name, checksum) VALUES ($1, $2, $3)",
            migration.version,
            migration.name,
            migration.checksum,
        )
    return migration
