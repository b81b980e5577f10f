"""Migrations: they produce the schema, run once, and refuse what they do not know."""

from __future__ import annotations

import asyncio
import re
from contextlib import AsyncExitStack

import asyncpg
import pytest

from tests.integration.store.catalog import catalog_of
from tests.waiting import wait_until
from waypost_io.lifecycle import Stop
from waypost_io.servers import EmbeddedPostgres
from waypost_io.starting import Starting
from waypost_io.store import PostgresStore, queries
from waypost_io.store.migrate import MONTHS_AHEAD, create_event_partitions, migrate, migrations, pending
from waypost_proto.errors import Misconfigured, Unreachable

NAMES = [migration.name for migration in migrations()]


async def test_migrations_produce_the_schema(empty_url: str, other_empty_url: str) -> None:
    await migrate(empty_url)
    connection = await asyncpg.connect(other_empty_url)
    scripts = queries.scripts("schema")
    later = [name for name in scripts if name.startswith("function_")] + ["roles"]  # these speak of the tables
    for name in [name for name in scripts if name not in later] + later:
        await connection.execute(scripts[name])
    await create_event_partitions(connection)
    await connection.close()
    migrated, made = await catalog_of(empty_url), await catalog_of(other_empty_url)
    for kind in made:
        assert migrated[kind] == made[kind], kind
    assert len(made["tables"]) > 40


async def test_one_schema_file_and_one_comment_per_table(empty_url: str) -> None:
    await migrate(empty_url)
    connection = await asyncpg.connect(empty_url)
    rows = await connection.fetch(
        "SELECT relname, obj_description(oid) AS about FROM pg_class "
        "WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition"
    )
    await connection.close()
    files = {name for name in queries.scripts("schema") if not name.startswith("function_") and name != "roles"}
    assert {row["relname"] for row in rows} == files
    assert all(re.match(r"writers?: ", row["about"] or "") for row in rows)


async def test_migrating_reports_each_step_and_does_it_once(empty_url: str) -> None:
    assert [migration.name for migration in await pending(empty_url)] == NAMES
    seen: list[str] = []
    applied = await migrate(empty_url, lambda migration: seen.append(migration.name))
    assert [migration.name for migration in applied] == seen == NAMES
    assert await migrate(empty_url, lambda migration: seen.append(migration.name)) == []
    assert seen == NAMES
    assert await pending(empty_url) == []


async def test_several_may_migrate_at_once(empty_url: str) -> None:
    applied = await asyncio.gather(*(migrate(empty_url) for _ in range(4)))
    assert sorted(migration.name for done in applied for migration in done) == sorted(NAMES)


async def test_a_newer_database_is_refused(empty_url: str) -> None:
    await migrate(empty_url)
    connection = await asyncpg.connect(empty_url)
    await connection.execute("INSERT INTO schema_migrations (version, name, checksum) VALUES (9999, 'from_the_future', '')")
    await connection.close()
    for refused in (migrate, pending, _open):
        with pytest.raises(Misconfigured, match=r"9999 .*from_the_future"):
            await refused(empty_url)


async def test_a_database_of_another_build_is_refused(empty_url: str) -> None:
    await migrate(empty_url)
    connection = await asyncpg.connect(empty_url)
    await connection.execute("UPDATE schema_migrations SET checksum = 'other' WHERE version = 1")
    await connection.close()
    with pytest.raises(Misconfigured, match="other contents"):
        await migrate(empty_url)


async def test_a_store_refuses_a_database_that_is_not_migrated(empty_url: str) -> None:
    with pytest.raises(Misconfigured, match="waypost migrate"):
        await _open(empty_url)


async def test_a_start_waits_until_the_migrations_are_through(empty_url: str) -> None:
    """A service and the job that migrates are started together, and the service comes while half of them are applied."""
    await migrate(empty_url)
    connection = await asyncpg.connect(empty_url)
    last = await connection.fetchrow(
        "DELETE FROM schema_migrations WHERE version = (SELECT max(version) FROM schema_migrations) RETURNING *"
    )
    starting = Starting(Stop())
    async with AsyncExitStack() as stack:
        opening = asyncio.ensure_future(starting.enter(stack, lambda: PostgresStore(empty_url)))
        await wait_until(lambda: last["name"] in _waits_for(starting))
        assert not opening.done()
        await connection.execute("INSERT INTO schema_migrations VALUES ($1, $2, $3, $4)", *last.values())
        assert (await (await opening).leases.now()) > 0
    await connection.close()


def _waits_for(starting: Starting) -> str:
    try:
        starting.checks["started"]()
    except Unreachable as error:
        return str(error)
    return ""


async def test_a_failing_migration_leaves_the_ones_before_it(empty_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    scripts = queries.scripts("migrations")
    broken = dict(scripts) | {"0002_functions": "CREATE TABLE half (); SELECT 1 / 0"}
    with monkeypatch.context() as patch:
        patch.setattr(queries, "scripts", lambda folder: broken if folder == "migrations" else {"schema_migrations": SCHEMA_MIGRATIONS})
        with pytest.raises(Exception, match="division by zero"):
            await migrate(empty_url)
    assert [migration.name for migration in await migrate(empty_url)] == NAMES[1:]
    connection = await asyncpg.connect(empty_url)
    assert await connection.fetchval("SELECT to_regclass('half')") is None
    await connection.close()


SCHEMA_MIGRATIONS = queries.scripts("schema")["schema_migrations"]


async def test_what_cannot_be_reached_or_entered_is_said_clearly(postgres: EmbeddedPostgres, free_port: int) -> None:
    with pytest.raises(Unreachable, match="WAYPOST_POSTGRES_URL"):
        await migrate(f"postgresql://postgres@127.0.0.1:{free_port}/postgres")
    with pytest.raises(Misconfigured, match="no-such-database"):
        await migrate(postgres.database_url("no-such-database"))
    with pytest.raises(Unreachable):
        await _open(f"postgresql://postgres@127.0.0.1:{free_port}/postgres")


async def test_partitions_of_events_are_made_ahead_and_take_over_rows(empty_url: str) -> None:
    await migrate(empty_url)
    connection = await asyncpg.connect(empty_url)
    far = await connection.fetchval(
        "SELECT waypost_uuid7_floor(date_trunc('month', now()) + make_interval(months => $1) + interval '36 hours')", MONTHS_AHEAD + 2
    )
    insert = "INSERT INTO events (run_id, seq, position, recorded_at, partition, type, data) VALUES ($1, $2, $2, now(), 0, 't', '')"
    await connection.execute(insert, far, 1)
    assert await connection.fetchval("SELECT count(*) FROM events_default") == 1
    assert await create_event_partitions(connection) == []
    made = await create_event_partitions(connection, MONTHS_AHEAD + 3)
    assert len(made) == 3
    assert await connection.fetchval("SELECT count(*) FROM events_default") == 0
    await connection.execute(insert, far, 2)
    assert await connection.fetchval(f"SELECT count(*) FROM {made[1]}") == 2
    await connection.close()


async def _open(url: str) -> None:
    async with PostgresStore(url):
        pass
