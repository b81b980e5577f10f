"""Every named query is valid SQL, says what uses it, and those that must be cheap use an index."""

from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest

from waypost_io.store import queries
from waypost_io.store.migrate import create_event_partitions
from waypost_io.store.pg.link import prepare

ALL = [(table, name) for table in queries.tables() for name in queries.load(table)]
RUN = "01970000-0000-7000-8000-000000000001"


@pytest.fixture
async def connection(postgres_url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(postgres_url)
    await prepare(connection)
    yield connection
    await connection.close()


@pytest.mark.parametrize(("table", "name"), ALL)
async def test_every_query_can_be_prepared(connection: asyncpg.Connection, table: str, name: str) -> None:
    text = queries.load(table)[name]
    assert text.startswith("-- "), f"{table}.{name} does not say what uses it"
    await connection.prepare(text)


def test_no_query_is_forgotten() -> None:
    assert len(ALL) > 40


async def plan(connection: asyncpg.Connection, text: str, *values: object) -> str:
    await connection.execute("SET enable_seqscan = off")  # a few rows: without this the planner is right to scan them
    rows = await connection.fetch(f"EXPLAIN {text}", *values)
    return "\n".join(row[0] for row in rows)


async def test_a_run_is_read_from_one_partition_by_its_key(connection: asyncpg.Connection) -> None:
    await create_event_partitions(connection, 36)
    run_id = await connection.fetchval("SELECT waypost_uuid7_floor(now() + interval '1 day')")
    for name, values in (("load_events", (run_id, 0, 100)), ("load_events_of_types", (run_id, 0, 100, ["run_started"]))):
        text = await plan(connection, queries.load("events")[name], *values)
        assert text.count("Index Scan") == 1, text
        assert "events_default" not in text
        assert "Index Cond: ((run_id =" in text
        assert "AND (seq >" in text


async def test_the_generic_plan_prunes_partitions_too(connection: asyncpg.Connection) -> None:
    """asyncpg's prepared statements end up with generic plans: partitions must then be pruned when the statement runs."""
    await create_event_partitions(connection, 36)
    await connection.execute("SET plan_cache_mode = force_generic_plan")
    run_id = await connection.fetchval("SELECT waypost_uuid7_floor(now() + interval '1 day')")
    await connection.execute("PREPARE one (uuid, bigint, bigint) AS " + queries.load("events")["load_events"])
    rows = await connection.fetch(f"EXPLAIN EXECUTE one ('{run_id}', 0, 100)")
    text = "\n".join(row[0] for row in rows)
    assert "Subplans Removed" in text, text
    assert text.count(" on events_") == 1, text


@pytest.mark.parametrize(
    ("table", "name", "values", "index"),
    [
        ("events", "events_after", (1, 100, 50), "partition_position_idx"),
        ("events", "cause_seen", (RUN, "c"), "run_id_cause_idx"),
        ("runs", "open_runs", (1, RUN, 100), "runs_open"),
        ("runs", "held_runs", ([1, 2],), "runs_held"),
        ("runs", "runs_of_workers", ([1, 2], ["w"]), "runs_open"),
        ("runs", "glance", ([RUN],), "runs_pkey"),
        ("runs", "sticky_workers", ([1, 2],), "runs_open"),
        ("timers", "due", ([1, 2], 1.0, 100), "timers_due"),
        ("inbox", "inbox", (1, "", 100), "inbox_partition"),
        ("tool_ledger", "of_run", (RUN,), "tool_ledger_pkey"),
        ("approvals", "list_open", (None, None, 100, None, None), "approvals_open"),
        ("blobs", "get", ("00",), "blobs_pkey"),
        ("notices", "of_run", (RUN,), "notices_run"),
        ("audit_cursors", "pending", (100,), "partition_position_idx"),
        ("audit_spans", "entries", (0, 100), "audit_spans_index_key"),
        ("audit_spans", "entries", (0, 100), "partition_position_idx"),
        ("audit_spans", "spans", (0, 100, 100), "audit_spans_index_key"),
        ("audit_spans", "of_run", (RUN, 0, 100), "audit_spans_pkey"),
        ("audit_spans", "find", (RUN, 1), "audit_spans_pkey"),
        ("audit_leaves", "leaves", (0, 100), "audit_leaves_pkey"),
        ("audit_nodes", "nodes", (1, 0, 100), "audit_nodes_pkey"),
        ("audit_heads", "heads", (0, 100), "audit_heads_pkey"),
        ("audit_heads", "newest", (100,), "audit_heads_pkey"),
    ],
)
async def test_reads_use_their_index(connection: asyncpg.Connection, table: str, name: str, values: tuple[object, ...], index: str) -> None:
    text = await plan(connection, queries.load(table)[name], *values)
    assert index in text, text


async def test_updates_of_runs_are_hot(connection: asyncpg.Connection) -> None:
    """No index may hold a column that a step changes; otherwise each step would write to every index."""
    changing = {"seq", "updated_at", "status", "state", "build", "state_version", "outcome", "deadline_at"}
    rows = await connection.fetch(
        """
        SELECT i.indexrelid::regclass::text AS index, a.attname
          FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
         WHERE i.indrelid = 'runs'::regclass
        """
    )
    assert rows
    assert not {row["attname"] for row in rows} & changing


async def test_the_overview_reads_what_is_open_and_nothing_that_has_ended(connection: asyncpg.Connection) -> None:
    """However many runs have ended, a look at the whole system goes through the small indexes of what is open."""
    text = await plan(connection, queries.load("runs")["overview"], [1, 2], 0.1)
    assert "runs_open" in text, text
    text = await plan(connection, queries.load("runs")["doubtful"], [1, 2], 10)
    assert "runs_open" in text, text
    assert "tool_ledger_pkey" in text, text
    text = await plan(connection, queries.load("approvals")["overview"], [1, 2])
    assert "approvals_open" in text, text
