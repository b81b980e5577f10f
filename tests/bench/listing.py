"""How quickly runs are found among many: `python -m tests.bench.listing [--runs N] [--buffers-mib N] [--json]`.

Seeds a table by SQL, then asks the store for a page with each combination of filters, as `runs.list` does: those that match much, little
and nothing. The pages are what a coordinator reads; decoding them is in the figure.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import asyncpg

from waypost_io.servers import EmbeddedPostgres
from waypost_io.servers.postgres import PostgresOptions
from waypost_io.store.migrate import migrate
from waypost_io.store.ports import RunFilter
from waypost_io.store.postgres import PostgresStore

AT = 1_790_000_000.0
"""When the newest run began; one began each second before it."""
TARGET_MILLISECONDS = 50.0
BUFFERS_MIB = 512
"""Of a table of 1.4 GiB. What no index can have (docs/http-api.md) is looked for in the pages of all open runs: 160 MiB here, which the 128
MiB that Postgres takes by itself do not hold; then each look copies them from the system's cache."""
_SEED = """
INSERT INTO runs (run_id, seq, created_at, updated_at, deadline_at, parent, partition, state_version, open, held, tenant, agent, build,
                  status, worker, correlation_id, idempotency_key, labels, state, outcome)
SELECT r.id, 20, r.at, r.at + interval '30 s', NULL,
       CASE WHEN n % 20 = 0 THEN waypost_uuid7_floor(r.at - interval '5 s') END,
       n % 8, 1, r.status NOT IN ('completed', 'failed', 'cancelled'), false,
       CASE WHEN n % 1000 = 0 THEN 'small' ELSE 'default' END,
       CASE WHEN n % 10000 = 7 THEN 'rare' ELSE 'agent-' || n % 5 END, 'b1', r.status, '',
       CASE WHEN n % 3 = 0 THEN 'order-' || n ELSE r.id::text END, CASE WHEN n % 4 = 0 THEN 'key-' || n END,
       CASE WHEN n % 50000 = 3 THEN '{"env":"prod","case":"rare"}'::jsonb
            WHEN n % 2 = 0 THEN jsonb_build_object('env', 'prod', 'team', 'team-' || n % 50) ELSE '{}'::jsonb END,
       convert_to(repeat('s', 600), 'UTF8'), NULL
  FROM generate_series($1::bigint, $2::bigint) n
 CROSS JOIN LATERAL (
       SELECT to_timestamp($3::float8 - n) AS at,
              overlay(waypost_uuid7_floor(to_timestamp($3::float8 - n))::text
                      PLACING '7' || lpad(to_hex(n % 4096), 3, '0') FROM 15)::uuid AS id,
              CASE WHEN n % 50 = 1 THEN 'running' WHEN n % 5000 = 2 THEN 'paused' WHEN n % 3000 = 3 THEN 'waiting_approval'
                   WHEN n % 100 = 4 THEN 'failed' WHEN n % 2000 = 5 THEN 'cancelled' ELSE 'completed' END AS status) r
"""


def combinations(runs: int) -> dict[str, RunFilter]:
    """Filters by what they say; some match much, some little, some nothing."""
    middle = AT - runs / 2
    return {
        "none": RunFilter(),
        "page in the middle": RunFilter(before=_id_at(middle)),
        "agent": RunFilter(agent="agent-1"),
        "agent, rare": RunFilter(agent="rare"),
        "agent, unknown": RunFilter(agent="nobody"),
        "tenant, small": RunFilter(tenant="small"),
        "status completed": RunFilter(statuses=["completed"]),
        "status cancelled": RunFilter(statuses=["cancelled"]),
        "status paused": RunFilter(statuses=["paused"]),
        "status running": RunFilter(statuses=["running"]),
        "status pending (none)": RunFilter(statuses=["pending"]),
        "several statuses": RunFilter(statuses=["failed", "cancelled", "paused", "waiting_approval"]),
        "running or failed": RunFilter(statuses=["running", "failed"]),
        "agent and status, none": RunFilter(agent="rare", statuses=["cancelled"]),
        "tenant, agent and status": RunFilter(tenant="small", agent="agent-0", statuses=["failed"]),
        "label, half": RunFilter(labels={"env": "prod"}),
        "label, 1 in 50": RunFilter(labels={"team": "team-4"}),
        "label, rare": RunFilter(labels={"case": "rare"}),
        "label, none": RunFilter(labels={"case": "nothing"}),
        "label and agent, none": RunFilter(labels={"team": "team-4"}, agent="agent-3"),
        "label and tenant, none": RunFilter(labels={"team": "team-4"}, tenant="small"),
        "label as text and agent, none": RunFilter(text="team=team-4", agent="agent-3"),
        "label and status, none": RunFilter(labels={"team": "team-6"}, statuses=["failed"]),
        "label and status": RunFilter(labels={"env": "prod"}, statuses=["cancelled"]),
        "created in the middle": RunFilter(created_from=middle, created_to=middle + 600),
        "created, none": RunFilter(created_to=AT - 10 * runs),
        "updated lately": RunFilter(updated_from=AT - 60),
        "updated, none": RunFilter(updated_from=AT + 86_400),
        "updated long ago": RunFilter(updated_to=middle),
        "updated long ago and failed": RunFilter(updated_to=middle, statuses=["failed"]),
        "run id": RunFilter(text=_id_at(middle)[:13]),
        "correlation id": RunFilter(text=f"order-{runs // 2 // 3 * 3}"),
        "idempotency key": RunFilter(text=f"key-{runs // 2 // 4 * 4}"),
        "text, label": RunFilter(text="case=rare"),
        "text, none": RunFilter(text="no such thing"),
        "text, many": RunFilter(text="order-"),
        "parent, none": RunFilter(parent=_id_at(AT + 60)),
        "needs attention": RunFilter(attention=True),
        "needs attention, agent": RunFilter(attention=True, agent="agent-1"),
        "everything at once": RunFilter(
            tenant="default", agent="agent-4", statuses=["failed"], labels={"env": "prod"}, updated_from=middle, text="order-"
        ),
    }


async def seed(url: str, runs: int, *, batch: int = 50_000) -> None:
    """`runs` runs, one each second back from `AT`."""
    connection = await asyncpg.connect(url)
    try:
        for first in range(0, runs, batch):
            await connection.execute(_SEED, first, min(first + batch, runs) - 1, AT, timeout=600)
        await connection.execute("VACUUM ANALYZE runs", timeout=600)
    finally:
        await connection.close()


async def measure(store: PostgresStore, query: RunFilter, rounds: int) -> dict[str, Any]:
    """Milliseconds of `rounds` pages one after another, and how many runs a page has."""
    took = []
    page = await store.reads.list(query)
    for _ in range(rounds):
        began = time.perf_counter()
        page = await store.reads.list(query)
        took.append((time.perf_counter() - began) * 1000)
    took.sort()
    return {"p50_ms": round(statistics.median(took), 2), "max_ms": round(took[-1], 2), "found": len(page)}


async def run(runs: int, rounds: int, buffers_mib: int) -> dict[str, Any]:
    """Every combination on a server of its own."""
    with tempfile.TemporaryDirectory(prefix="waypost-listing-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        async with EmbeddedPostgres(Path(folder), options=PostgresOptions(shared_buffers_mib=buffers_mib)) as postgres:
            url = await postgres.create_database("listing")
            await migrate(url)
            began = time.perf_counter()
            await seed(url, runs)
            seeded = time.perf_counter() - began
            async with PostgresStore(url) as store:
                found = {name: await measure(store, query, rounds) for name, query in combinations(runs).items()}
    return {"runs": runs, "rounds": rounds, "shared_buffers_mib": buffers_mib, "seeded_seconds": round(seeded, 1), "filters": found}


def main(argv: list[str] | None = None) -> int:
    """Measure and print; the exit code says whether every filter is within the target."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.listing", description=__doc__)
    parser.add_argument("--runs", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--buffers-mib", type=int, default=BUFFERS_MIB, help="shared_buffers of its Postgres, MiB (default %(default)s)")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(argv)
    result = asyncio.run(run(options.runs, options.rounds, options.buffers_mib))
    worst = max(result["filters"].values(), key=lambda row: row["p50_ms"])
    if options.json:
        sys.stdout.write(json.dumps(result, indent=2) + "\n")
    else:
        buffers = result["shared_buffers_mib"]
        for name, row in result["filters"].items():
            sys.stdout.write(f"{name:32} p50 {row['p50_ms']:8.2f} ms   max {row['max_ms']:8.2f} ms   {row['found']:4} found\n")
        sys.stdout.write(f"{result['runs']} runs, shared_buffers {buffers} MiB; ")
        sys.stdout.write(f"the slowest p50 is {worst['p50_ms']} ms, the target {TARGET_MILLISECONDS} ms\n")
    return 0 if worst["p50_ms"] < TARGET_MILLISECONDS else 1


def _id_at(at: float) -> str:
    digits = f"{int(at * 1000):012x}"
    return f"{digits[:8]}-{digits[8:]}-7000-8000-000000000000"


if __name__ == "__main__":
    sys.exit(main())
