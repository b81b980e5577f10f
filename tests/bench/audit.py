"""`python -m tests.bench.audit`: a proof of one event among many millions, a check of a million events, what taking them over costs.

The tree of the proofs is made of rows written straight into the tables (10 million hashes, some hundred real events among them); the log
that is checked is taken over by the real logger from real events of 0.6 KiB.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

import asyncpg
import msgspec

from tests.unit.waypost_audit.signed import SignedLog, key
from waypost_core.audit.exports import Scope, check_export
from waypost_core.audit.growing import GrowingTree
from waypost_core.audit.heads import Head
from waypost_core.audit.leaves import event_leaf
from waypost_core.audit.notes import signed
from waypost_io.audit.exporting import export_file
from waypost_io.audit.proving import prove_event
from waypost_io.audit.verifying import Wanted, verify
from waypost_io.servers import EmbeddedPostgres
from waypost_io.store.migrate import migrate
from waypost_io.store.ports import HeadRow
from waypost_io.store.postgres import PostgresStore
from waypost_proto.ids import RunId

SPAN = 1_000
PROOFS = 200
RUN = "01970000-0000-7000-8000-{:012x}"
FILL = """
INSERT INTO events (run_id, seq, position, recorded_at, partition, type, data)
SELECT id, s, r / 8 * $2 + s, t, r % 8, 'tool_call_completed', convert_to(format(
       '{"run_id":"%s","seq":%s,"type":"tool_call_completed","agent":"clerk","recorded_at":"%s","data":{"call_id":"0:%s","result":"%s"}}',
       id, s, to_char(t AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), s, repeat(md5(s::text), 13)), 'UTF8')
  FROM generate_series($1::bigint, $3::bigint - 1) AS r,
       LATERAL (SELECT ('01970000-0000-7000-8000-' || lpad(to_hex(r), 12, '0'))::uuid AS id) i,
       generate_series(1, $2) AS s, LATERAL (SELECT timestamptz '2026-11-22 17:00:00Z' + make_interval(secs => r + s * 0.001) AS t) u
"""
EVENTS_A_RUN = 50


async def measure(leaves: int, events: int) -> None:
    """Print the figures."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        postgres = EmbeddedPostgres(Path(folder) / "postgres")
        await postgres.start()
        try:
            for name, part, count in (("proofs", proofs, leaves), ("checks", checks, events)):
                url = await postgres.create_database(name)
                await migrate(url)
                await part(url, count, Path(folder))
        finally:
            await postgres.stop()


async def proofs(url: str, leaves: int, _: Path) -> None:
    """Proofs of single events among `leaves`."""
    connection = await asyncpg.connect(url)
    real = {leaves // PROOFS * number + 17: number for number in range(PROOFS)}
    tree, kept = GrowingTree(), []
    started = time.monotonic()
    for low in range(0, leaves, SPAN):
        hashes = [os.urandom(32) for _ in range(SPAN)]
        for index in real.keys() & set(range(low, low + SPAN)):
            body = b'{"n":%d}' % real[index]
            hashes[index - low] = event_leaf(RUN.format(real[index]), 1, body)
        kept += tree.extend(b"".join(hashes))
        await connection.execute("INSERT INTO audit_leaves VALUES ($1, $2, $3)", low, SPAN, b"".join(hashes))
        await connection.execute("INSERT INTO audit_spans VALUES (0, $1, $2, $3, now(), now())", low + 1, low, SPAN)
    await connection.copy_records_to_table("audit_nodes", records=kept)
    rows = [(RUN.format(number), 1, index + 1, 0, "t", b'{"n":%d}' % number) for index, number in real.items()]
    query = "INSERT INTO events (run_id, seq, position, partition, type, data, recorded_at) VALUES ($1, $2, $3, $4, $5, $6, now())"
    await connection.executemany(query, rows)
    await connection.execute("ANALYZE")
    await connection.close()
    head = Head(origin="waypost/bench", size=leaves, root=tree.root, time=time.time())
    async with PostgresStore(url) as store:
        await store.audit.add_head(HeadRow(size=leaves, key_id=key().verifier.key_id, signed_at=head.time, note=signed(head.text, [key()])))
        print(f"{leaves} leaves, {len(kept)} kept nodes, made in {time.monotonic() - started:.0f} s")
        took, sizes, lengths = [], [], []
        for number in [0, *range(PROOFS)]:  # the first opens connections
            began = time.perf_counter()
            proof = await prove_event(store.audit, RunId(RUN.format(number)), 1)
            took.append((time.perf_counter() - began) * 1e3)
            assert proof.problems([key().verifier]) == []
            sizes.append(len(msgspec.json.encode(proof)))
            lengths.append(len(proof.path))
    took = sorted(took[1:])
    middle, high = took[PROOFS // 2], took[PROOFS * 99 // 100]
    print(f"one proof: p50 {middle:.1f} ms, p99 {high:.1f} ms; at most {max(lengths)} hashes, {max(sizes)} bytes of JSON")


async def checks(url: str, events: int, folder: Path) -> None:
    """Taking over, verifying, exporting and checking `events` events."""
    connection = await asyncpg.connect(url)
    runs = events // EVENTS_A_RUN
    for low in range(0, runs, 2_000):
        await connection.execute(FILL, low, EVENTS_A_RUN, min(low + 2_000, runs), timeout=600)
    await connection.execute(
        "INSERT INTO partitions (partition, position) SELECT partition, count(*) FROM events GROUP BY 1 ON CONFLICT DO NOTHING"
    )
    await connection.execute("VACUUM ANALYZE events", timeout=900)
    await connection.close()
    async with PostgresStore(url, timeout_seconds=120) as store:
        log = SignedLog(store)
        began, cpu = time.monotonic(), _cpu()
        total = 0
        while taken := await log.logger.take():
            total += taken
            if total % 100_000 < taken:
                await log.logger.sign()
        await log.logger.sign()
        seconds, cpu = time.monotonic() - began, _cpu() - cpu
        print(f"taken over: {total} events in {seconds:.1f} s; the logger's own CPU {cpu / total * 1e6:.1f} us an event")
        began, cpu = time.monotonic(), _cpu()
        report = await verify(store.audit, Wanted(trusted=[key().verifier]))
        assert report.ok, report.findings
        assert report.events == total
        print(f"verified: {report.text}: {time.monotonic() - began:.1f} s, {_cpu() - cpu:.1f} s of CPU here")
        path = folder / "record.jsonl"
        began = time.monotonic()
        done = await export_file(store.audit, Scope(), path)
        print(f"exported: {done.bytes / 2**20:.0f} MiB in {time.monotonic() - began:.1f} s")
        began = time.monotonic()
        with path.open("rb") as file:
            assert check_export(file, trusted=[key().verifier]).ok
        print(
            f"export checked in {time.monotonic() - began:.1f} s; SHA-256 {hashlib.file_digest(path.open('rb'), 'sha256').hexdigest()[:8]}"
        )


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.audit", description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--leaves", type=int, default=10_000_000, help="leaves of the tree that events are proved in")
    parser.add_argument("--events", type=int, default=1_000_000, help="events that are taken over and verified")
    options = parser.parse_args(sys.argv[1:])
    asyncio.run(measure(options.leaves, options.events))


if __name__ == "__main__":
    main()
