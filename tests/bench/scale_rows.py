"""A store full of finished runs: the rows of one real run, copied by SQL under new ids, spread over the last days."""

from __future__ import annotations

import asyncpg

from tests.bench.measuring import Progress
from waypost_io.store.migrate import migrate
from waypost_proto.ids import RunId

TABLES = ("runs", "events", "tool_ledger", "idempotency")
"""What a finished run leaves behind."""
PARTITIONS = 8
CHUNK = 25_000
SPAN_MS = 10 * 24 * 3_600_000
"""The copies began within so long before now."""
_RUN_ID = """(lpad(to_hex($1::bigint + g.n * $2::bigint), 12, '0') || '7' || substr(md5(g.n::text), 1, 3)
              || '8' || substr(md5(g.n::text), 4, 15))::uuid"""
"""A UUIDv7 as a caller makes it."""
_KEY = "md5('key' || g.n::text)"


async def fill(source_url: str, target_url: str, template: RunId, runs: int, on_progress: Progress) -> None:
    """Copy the finished run `template` of one database so many times into another, migrated one, before a coordinator uses that."""
    source = await asyncpg.connect(source_url)
    target = await asyncpg.connect(target_url)
    try:
        await target.execute("SET synchronous_commit = off")
        await migrate(target_url)
        for table in TABLES:
            await _template(source, target, table, template)
        step_ms = max(1, SPAN_MS // max(1, runs))
        first_ms = int(1e3 * await target.fetchval("SELECT extract(epoch FROM now())::float8")) - runs * step_ms
        columns = {table: await _columns(target, table) for table in TABLES}
        for begin in range(0, runs, CHUNK):
            on_progress("finished runs", begin, runs)
            for table in TABLES:
                await _copy(target, table, columns[table], (first_ms, step_ms, begin, min(runs, begin + CHUNK) - 1))
        await _positions(target)
        for table in TABLES:
            await target.execute(f"DROP TABLE scale_{table}")
            await target.execute(f"VACUUM (ANALYZE) {table}", timeout=600)
        await target.execute("CHECKPOINT", timeout=600)
    finally:
        await source.close()
        await target.close()


async def _template(
    source: asyncpg.Connection[asyncpg.Record], target: asyncpg.Connection[asyncpg.Record], table: str, run_id: RunId
) -> None:
    """The run's rows, in a table of their own in the target."""
    rows = await source.fetch(f"SELECT * FROM {table} WHERE run_id = $1", run_id)
    assert rows, f"the template {run_id} left nothing in {table}"
    await target.execute(f"CREATE UNLOGGED TABLE scale_{table} (LIKE {table})")
    await target.copy_records_to_table(f"scale_{table}", records=[tuple(row) for row in rows], columns=list(rows[0].keys()))


async def _columns(target: asyncpg.Connection[asyncpg.Record], table: str) -> list[str]:
    """Those that are written; what the server derives is left to it."""
    rows = await target.fetch(
        "SELECT attname FROM pg_attribute WHERE attrelid = $1::text::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = '' "
        "ORDER BY attnum",
        table,
    )
    return [row["attname"] for row in rows]


async def _copy(target: asyncpg.Connection[asyncpg.Record], table: str, columns: list[str], numbers: tuple[int, int, int, int]) -> None:
    """Copies number `begin` to `end`. Positions are dense within a partition, as a coordinator gives them."""
    new = {
        "run_id": _RUN_ID,
        "partition": f"(g.n % {PARTITIONS})::integer",
        "position": f"(g.n / {PARTITIONS}) * t.of + t.seq",
        "key": _KEY,
        "idempotency_key": _KEY,
    }
    values = ", ".join(new.get(column, f"t.{column}") for column in columns)
    await target.execute(
        f"INSERT INTO {table} ({', '.join(columns)}) SELECT {values} FROM generate_series($3::bigint, $4::bigint) AS g (n) "
        f"CROSS JOIN (SELECT *, count(*) OVER () AS of FROM scale_{table}) AS t",
        *numbers,
        timeout=600,
    )


async def _positions(target: asyncpg.Connection[asyncpg.Record]) -> None:
    """The partitions stand behind the copies: nothing of them is published again."""
    top = await target.fetchval("SELECT coalesce(max(position), 0) FROM events", timeout=600)
    await target.execute(
        "INSERT INTO partitions (partition, position, published) SELECT p, $2, $2 FROM generate_series(0, $1::integer - 1) AS p",
        PARTITIONS,
        top,
    )
