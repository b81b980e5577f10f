"""Old months are dropped on record: a check tells them from what is missing, and only a statement by the log's key excuses anything."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import pytest

from tests.unit.waypost_audit.signed import SignedLog, key
from waypost_core.audit.exports import Scope, check_export
from waypost_core.audit.report import Report
from waypost_io.audit.exporting import export_file
from waypost_io.audit.proving import prove_event
from waypost_io.audit.retention import Dropping, prune
from waypost_io.audit.verifying import Wanted, verify
from waypost_io.servers import EmbeddedPostgres
from waypost_io.store.postgres import PostgresStore
from waypost_proto.errors import BadInput, ContractError, NotFound
from waypost_proto.ids import RunId
from waypost_proto.task import parse_time

TRUSTED = [key().verifier]
MONTH = "events_2026_05"
BEFORE = parse_time("2026-07-01T00:00:00Z")
NOW = parse_time("2026-11-22T17:00:00Z")
MILLIS = int(parse_time("2026-05-10T00:00:00Z") * 1000)
RUNS = [RunId(f"{text[:8]}-{text[8:12]}-7000-8000-{n:012x}") for n, text in enumerate(f"{MILLIS + n:012x}" for n in range(5))]
"""0 and 1 ended in May; 2 is open; 3 ended in August; 4 ended in May and was asked for by 2."""
EVENTS = 6
SETUP = f"""
CREATE TABLE {MONTH} PARTITION OF events
    FOR VALUES FROM (waypost_uuid7_floor('2026-05-01T00:00:00Z')) TO (waypost_uuid7_floor('2026-06-01T00:00:00Z'));
INSERT INTO partitions (partition, position) VALUES (0, 0), (1, 0)
    ON CONFLICT (partition) DO UPDATE SET position = 0;
"""
EVENT = """
INSERT INTO events (run_id, seq, position, recorded_at, partition, type, data)
VALUES ($1, $2, $3, '2026-05-10T00:00:00Z', $4, 'state_changed',
        convert_to(format('{"run_id":"%s","seq":%s}', $1::uuid, $2::bigint), 'UTF8'))
"""
RUN = """
INSERT INTO runs (run_id, seq, created_at, updated_at, parent, partition, state_version, open, held, tenant, agent, build, status, worker,
                  correlation_id, labels, state)
VALUES ($1, 6, '2026-05-10T00:00:00Z', $2::text::timestamptz, $3, 0, 1, $4, false, 'default', 'clerk', '', 'x', '', '', '{}', '')
"""


@dataclass
class Old:
    """A database with a month of runs, all of them signed over."""

    url: str
    store: PostgresStore
    log: SignedLog

    async def run(self, statement: str, *values: object) -> None:
        connection = await asyncpg.connect(self.url)
        try:
            await connection.execute(statement, *values)
        finally:
            await connection.close()

    async def fetch(self, query: str) -> list[asyncpg.Record]:
        connection = await asyncpg.connect(self.url)
        try:
            return await connection.fetch(query)
        finally:
            await connection.close()

    async def prune(self, **changed: object) -> list[Dropping]:
        wanted: dict[str, object] = {"before": BEFORE, "now": NOW, "by": "ann", "keys": [key()], **changed}
        return await prune(self.store.audit, self.store.retention, **wanted)  # type: ignore[arg-type]

    async def verify(self) -> Report:
        return await verify(self.store.audit, Wanted(trusted=TRUSTED))


@pytest.fixture
async def old(postgres: EmbeddedPostgres, postgres_template: str, request: pytest.FixtureRequest) -> AsyncIterator[Old]:
    name = f"r{abs(hash(request.node.name)) % 10**12}"
    url = await postgres.create_database(name, template=postgres_template)
    connection = await asyncpg.connect(url)
    await connection.execute(SETUP)
    position = [0, 0]
    for seq in range(1, EVENTS + 1):
        for number, run_id in enumerate(RUNS):
            position[number % 2] += 1
            await connection.execute(EVENT, run_id, seq, position[number % 2], number % 2)
    for number, run_id in enumerate(RUNS):
        ended = "2026-08-02T00:00:00Z" if number == 3 else "2026-05-11T00:00:00Z"
        await connection.execute(RUN, run_id, ended, RUNS[2] if number == 4 else None, number == 2)
    await connection.execute("UPDATE partitions SET position = CASE partition WHEN 0 THEN $1::bigint ELSE $2::bigint END", *position)
    await connection.close()
    async with PostgresStore(url) as store:
        log = SignedLog(store)
        assert await log.logger.take() == EVENTS * len(RUNS)
        assert await log.logger.sign()
        yield Old(url, store, log)
    await postgres.drop_database(name)


def kinds(report: Report) -> list[str]:
    return [finding.kind for finding in report.findings]


async def test_what_is_dropped_on_record_is_not_missing(old: Old) -> None:
    (done,) = await old.prune()
    assert (done.what, done.events, done.runs, done.kept_runs) == (MONTH, 2 * EVENTS, 2, 3)
    assert "\nby ann\n" in done.note
    left = await old.fetch("SELECT run_id, count(*) AS count FROM events GROUP BY 1 ORDER BY 1")
    assert [(str(row["run_id"]), row["count"]) for row in left] == [(run_id, EVENTS) for run_id in RUNS[2:]]
    assert (await old.fetch(f"SELECT to_regclass('{MONTH}')"))[0][0] is None
    report = await old.verify()
    assert report.ok, report.findings
    assert (report.leaves, report.events, report.dropped, report.runs) == (5 * EVENTS, 3 * EVENTS, 2 * EVENTS, 3)
    assert "12 dropped on record" in report.text
    with pytest.raises(NotFound):
        await prove_event(old.store.audit, RUNS[0], 1)
    proof = await prove_event(old.store.audit, RUNS[2], 3)
    assert proof.problems(TRUSTED) == []
    assert await old.prune() == []


async def test_an_export_of_everything_says_what_was_dropped(old: Old, tmp_path: Path) -> None:
    await old.prune()
    path = tmp_path / "all.jsonl"
    await export_file(old.store.audit, Scope(), path)
    lines = path.read_bytes().splitlines(keepends=True)
    report = check_export(lines, trusted=TRUSTED)
    assert report.ok, report.findings
    assert (report.events, report.dropped) == (3 * EVENTS, 2 * EVENTS)
    forged = [lines[0].replace(b"by ann", b"by bob"), *lines[1:]]
    assert {"drop", "missing"} <= set(kinds(check_export(forged, trusted=TRUSTED)))


async def test_a_look_drops_nothing(old: Old) -> None:
    (done,) = await old.prune(keys=[])
    assert (done.events, done.note) == (2 * EVENTS, "")
    assert (await old.verify()).events == 5 * EVENTS
    assert await old.store.audit.drops() == []
    assert await old.prune(before=parse_time("2026-05-20T00:00:00Z")) == [], "a month that is not over stays"


async def test_a_drop_without_a_statement_is_found(old: Old) -> None:
    await old.run(f"DROP TABLE {MONTH}")
    report = await old.verify()
    assert set(kinds(report)) == {"missing"}
    assert len(report.findings) == 5 * EVENTS


TAMPERED = {
    "the statement is taken away": "DELETE FROM audit_drops",
    "somebody else is named": "UPDATE audit_drops SET note = replace(note, 'by ann', 'by bob')",
    "more leaves are excused": "UPDATE audit_drops SET leaves = leaves || ',29+1'",
    "it counts more": "UPDATE audit_drops SET note = replace(note, 'events 12', 'events 13')",
    "it is no statement": "UPDATE audit_drops SET note = (SELECT note FROM audit_heads LIMIT 1)",
    "it is nothing": "UPDATE audit_drops SET note = ''",
}


@pytest.mark.parametrize("what", TAMPERED)
async def test_a_statement_that_was_changed_excuses_nothing(old: Old, what: str) -> None:
    await old.prune()
    await old.run(TAMPERED[what])
    report = await old.verify()
    assert kinds(report).count("missing") == 2 * EVENTS
    assert kinds(report).count("drop") == (0 if what == "the statement is taken away" else 1)


async def test_an_event_beside_what_was_dropped_is_still_missed(old: Old) -> None:
    await old.prune()
    await old.run("DELETE FROM events WHERE run_id = $1 AND seq = 6", RUNS[3])
    report = await old.verify()
    assert [(finding.kind, "leaf" in finding.text) for finding in report.findings] == [("missing", True)]


async def test_a_forger_with_another_key_is_refused_and_found(old: Old) -> None:
    with pytest.raises(BadInput, match="none of the 1 keys"):
        await old.prune(keys=[key(7)])
    assert (await old.verify()).events == 5 * EVENTS, "nothing was dropped"
    (done,) = await old.prune()
    from waypost_core.audit.notes import Note, signed

    await old.run("UPDATE audit_drops SET note = $1", signed(Note.parse(done.note).text, [key(7)]))
    assert {"drop", "missing"} == set(kinds(await old.verify()))


async def test_what_contradicts_its_leaf_or_has_none_is_not_dropped(old: Old) -> None:
    await old.run("UPDATE events SET data = data || ' ' WHERE run_id = $1 AND seq = 2", RUNS[0])
    with pytest.raises(ContractError, match="1 do not fit their leaves"):
        await old.prune()
    await old.run("UPDATE events SET data = substring(data, 1, octet_length(data) - 1) WHERE run_id = $1 AND seq = 2", RUNS[0])
    await old.run(EVENT, RUNS[1], EVENTS + 1, 1_000, 1)
    with pytest.raises(ContractError, match="1 events are not in the audit log"):
        await old.prune()
    await old.run("DELETE FROM events WHERE position = 1000")
    with pytest.raises(BadInput, match="--by"):
        await old.prune(by="ann\nby bob")
    assert (await old.verify()).ok


async def command(old: Old, *arguments: str) -> tuple[int, str, str]:
    environment = {**os.environ, "WAYPOST_POSTGRES_URL": old.url}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "waypost_cli", "prune", *arguments, env=environment, stdout=-1, stderr=-1
    )
    out, problem = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), problem.decode()


async def test_the_command_looks_first_and_drops_when_told(old: Old, tmp_path: Path) -> None:
    before = ("--before", "2026-07-01T00:00:00Z")
    code, out, said = await command(old, *before)
    assert code == 0, said
    assert MONTH in out
    assert "nothing was dropped" in said
    assert (await command(old, *before, "--yes"))[0] == 2
    file = tmp_path / "audit.key"
    file.write_text(key().text() + "\n")
    code, out, said = await command(old, *before, "--yes", "--by", "ann", "--key-file", str(file), "--json")
    assert code == 0, said
    (done,) = json.loads(out)
    assert (done["events"], done["kept_runs"]) == (2 * EVENTS, 3)
    assert (await old.verify()).dropped == 2 * EVENTS
    assert (await command(old, "--before", "2126-07-01T00:00:00Z"))[0] == 2
