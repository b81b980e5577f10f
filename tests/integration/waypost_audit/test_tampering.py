"""What a superuser does to the database is found by `verify`, and where: every table, every column, every class of byte."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import asyncpg
import pytest

from tests.unit.waypost_audit.events import Scribe
from tests.unit.waypost_audit.signed import SignedLog, key
from waypost_core.audit.report import Report
from waypost_io.audit.verifying import Wanted, verify
from waypost_io.servers import EmbeddedPostgres
from waypost_io.store.pg.audit import PostgresAudit
from waypost_io.store.pg.link import prepare
from waypost_io.store.postgres import PostgresStore

TRUSTED = (key(1).verifier,)
BATCHES = ({0: 100, 1: 50}, {1: 60, 2: 30}, {0: 100}, {2: 7})
SIZE = 347


class OneConnection:
    """What the audit facet needs of a link, in a transaction that is never committed."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        self._turn = asyncio.Lock()

    def __getattr__(self, method: str) -> Callable[..., Awaitable[object]]:
        async def call(*arguments: object) -> object:
            async with self._turn:
                return await getattr(self._connection, method)(*arguments)

        return call


class Copies:
    """A signed log in a database that nobody else changes."""

    def __init__(self, postgres: EmbeddedPostgres, name: str, written: Scribe, heads: Sequence[str]) -> None:
        self.postgres = postgres
        self.name = name
        self.events = written.written
        self.heads = heads

    async def verify(self, *statements: str, heads: Sequence[str] = ()) -> Report:
        """The report after these statements, which are undone."""
        connection = await asyncpg.connect(self.postgres.database_url(self.name))
        try:
            await prepare(connection)
            transaction = connection.transaction()
            await transaction.start()
            for statement in statements:
                assert await connection.execute(statement) not in ("UPDATE 0", "DELETE 0", "INSERT 0 0"), statement
            audit = PostgresAudit(OneConnection(connection))  # type: ignore[arg-type]
            return await verify(audit, Wanted(trusted=TRUSTED, heads=heads))
        finally:
            await connection.close()


@pytest.fixture(scope="module")
async def copies(postgres: EmbeddedPostgres, postgres_template: str) -> AsyncIterator[Copies]:
    name = f"t{os.urandom(6).hex()}"
    url = await postgres.create_database(name, template=postgres_template)
    async with PostgresStore(url) as store:
        scribe = await Scribe(store).start()
        log = SignedLog(store)
        await log.write(scribe, *BATCHES[:2])
        log.keys.append(key(2))
        await log.write(scribe, *BATCHES[2:])
        heads = [row.note for row in await store.audit.heads()]
    yield Copies(postgres, name, scribe, heads)
    await postgres.drop_database(name)


def words(report: Report) -> str:
    return "\n".join(f"{finding.kind}: {finding.text}" for finding in report.findings)


async def test_a_log_that_nobody_touched_is_whole(copies: Copies) -> None:
    report = await copies.verify(heads=copies.heads)
    assert report.ok, words(report)
    assert (report.leaves, report.events, report.runs, report.heads, report.signed_size) == (SIZE, SIZE, 3, 8, SIZE)
    assert (report.trusted, report.key_id) == (True, key(2).verifier.key_id)


BODY = 40
"""Number of the event, in the order of writing, whose bytes are changed."""


def classes(body: bytes) -> dict[str, int]:
    """Where a byte of each class is in an event's bytes."""
    return {
        "brace": 0,
        "quote": body.index(b'"'),
        "colon": body.index(b":"),
        "comma": body.index(b","),
        "space": body.index(b" {"),
        "letter of a name": body.index(b"run_id"),
        "digit of the run id": body.index(b":") + 3,
        "digit of the number": body.index(b'"seq":') + 6,
        "letter of a value": body.index(b"ann"),
        "digit of the policy": body.index(b'"policy":"') + 10,
        "first byte of a character": body.index("é".encode()),
        "second byte of a character": body.index("é".encode()) + 1,
        "digit of the time": body.index(b"recorded_at") + 17,
        "last byte": len(body) - 1,
    }


@pytest.mark.parametrize("what", classes(b'{"run_id":"0","seq":1,"recorded_at":"2026-11-22T","data": {"\xc3\xa9","ann","policy":"7"}}'))
async def test_every_class_of_byte_of_an_event(copies: Copies, what: str) -> None:
    event = copies.events[BODY]
    at = classes(event.body)[what]
    where = f"run_id = '{event.run_id}' AND seq = {event.seq}"
    for statement in (
        f"UPDATE events SET data = set_byte(data, {at}, get_byte(data, {at}) # 1) WHERE {where}",
        f"UPDATE events SET data = substring(data, 1, {at}) || '\\x20' || substring(data, {at + 1}) WHERE {where}",
    ):
        report = await copies.verify(statement)
        edited = [finding for finding in report.findings if finding.kind == "edited"]
        assert [(finding.run_id, finding.seq) for finding in edited] == [(event.run_id, event.seq)], words(report)
        assert edited[0].index == BODY
        assert edited[0].text.endswith("the event was changed since it was signed")
        assert report.heads == 4  # and it is known that nothing else was


HEAD = "UPDATE audit_heads SET note = {} WHERE size = 340"
ROOT = "regexp_replace(note, E'\\n340\\n.', E'\\n340\\n' || CASE WHEN note ~ E'\\n340\\nA' THEN 'B' ELSE 'A' END)"
LEAF = "SELECT sha256('\\x0001'::bytea || uuid_send(run_id) || int8send(seq) || data) FROM events WHERE partition = 0 AND position = 120"
A = "run_id = (SELECT run_id FROM events WHERE partition = 0 LIMIT 1)"
INSERT = "INSERT INTO events SELECT {} FROM events WHERE partition = 0 AND position = 5"
TAMPER = {
    # events
    "an event is deleted": ([f"DELETE FROM events WHERE {A} AND seq = 7"], "run {run}: after event 6 comes event 8 (leaf 7), event 7"),
    "the last event is deleted": ([f"DELETE FROM events WHERE {A} AND seq = 200"], "the event of leaf 339 (partition 0, position 200)"),
    "a run is deleted": ([f"DELETE FROM events WHERE {A}"], "the event of leaf 99 (partition 0, position 100) is missing"),
    "an event is added at a place that is taken": (
        [INSERT.format("gen_random_uuid(), 1, position, recorded_at, partition, type, cause, data")],
        "was added: it stands where event 5 of run {run} is",
    ),
    "an event is added before the first": (
        [INSERT.format("run_id, 201, 0, recorded_at, partition, type, cause, data")],
        "event 201 of run {run} was added: no leaf can be its",
    ),
    "an event is added behind the last": (
        [INSERT.format("run_id, 201, 999, recorded_at, partition, type, cause, data")],
        "no leaf can be its, at position 999",
    ),
    "an event is added to no partition": (
        [INSERT.format("run_id, 201, 1, recorded_at, 77, type, cause, data")],
        "no leaf can be its, at position 1 of partition 77",
    ),
    "two events change places": (
        [f"UPDATE events SET position = 15 - position WHERE {A} AND position IN (7, 8)"],
        "event 7 of run {run} (leaf 7) comes after event 8",
    ),
    "two events change bytes": (
        [f"UPDATE events e SET data = o.data FROM events o WHERE e.{A} AND o.run_id = e.run_id AND e.seq IN (7, 8) AND o.seq = 15 - e.seq"],
        "the bytes filed as event 7 of run {run} are event 8",
    ),
    "an event gets another number": ([f"UPDATE events SET seq = 900 WHERE {A} AND seq = 7"], "event 900 of run {run} (leaf 6)"),
    "an event goes to another run": (
        [f"UPDATE events SET run_id = '01970000-0000-7000-8000-000000000001' WHERE {A} AND seq = 7"],
        "event 7 of run 01970000-0000-7000-8000-000000000001 (leaf 6) does not fit",
    ),
    "an event goes to another partition": ([f"UPDATE events SET partition = 1 WHERE {A} AND seq = 7"], "the event of leaf 6 (partition 0"),
    "an event's type": ([f"UPDATE events SET type = 'run_failed' WHERE {A} AND seq = 7"], "event 7 of run {run} is 'state_changed'"),
    "an event's time": ([f"UPDATE events SET recorded_at = now() + '1 s' WHERE {A} AND seq = 7"], "its column says another time"),
    # leaves, spans, nodes
    "a leaf hash": (
        ["UPDATE audit_leaves SET hashes = set_byte(hashes, 3200, get_byte(hashes, 3200) # 1) WHERE index = 0"],
        "event 1 of run {second} (leaf 100) does not fit its leaf hash: its leaf hash was changed, the event is as it was signed",
    ),
    "a leaf hash and its event": (
        [
            "UPDATE audit_leaves SET hashes = set_byte(hashes, 32, get_byte(hashes, 32) # 1) WHERE index = 0",
            f"UPDATE events SET data = data || ' ' WHERE {A} AND seq = 7",
        ],
        "something in leaves 0 to 149 was changed",
    ),
    "an event with its leaf hash": (
        [
            f"UPDATE events SET data = data || ' ' WHERE {A} AND seq = 120",
            f"UPDATE audit_leaves SET hashes = overlay(hashes placing ({LEAF}) from 19 * 32 + 1) WHERE index = 240",
        ],
        "something in leaves 240 to 339 was changed",
    ),
    "leaf hashes are cut": (["UPDATE audit_leaves SET hashes = substring(hashes, 1, 1600) WHERE index = 150"], "hashes of leaves 200"),
    "leaf hashes are deleted": (["DELETE FROM audit_leaves WHERE index = 240"], "the hashes of leaves 240 and following are missing"),
    "leaf hashes are added": (["INSERT INTO audit_leaves VALUES (347, 1, sha256(''))"], "leaf hashes beyond the log's 347 leaves"),
    "a span's index": (["UPDATE audit_spans SET index = 241 WHERE index = 240"], "begins at leaf 241, not 240"),
    "a span's position": (["UPDATE audit_spans SET position = 102 WHERE index = 240"], "after position 100 comes the span at position 102"),
    "a span's count": (["UPDATE audit_spans SET count = 99 WHERE index = 240"], "begins at leaf 340, not 339"),
    "a span's partition": (["UPDATE audit_spans SET partition = 9 WHERE index = 240"], "partition 9: after position 0 comes the span"),
    "a span is deleted": (["DELETE FROM audit_spans WHERE index = 240"], "begins at leaf 340, not 240"),
    "a kept node": (["UPDATE audit_nodes SET hash = set_byte(hash, 0, get_byte(hash, 0) # 1)"], "node 0 of level 1 of the kept tree"),
    "a kept node is deleted": (["DELETE FROM audit_nodes"], "node 0 of level 1 of the kept tree"),
    # cursors and the log's row
    "a cursor is ahead": (["UPDATE audit_cursors SET position = 201 WHERE partition = 0"], "would never be taken over"),
    "a cursor is behind": (["UPDATE audit_cursors SET position = 199 WHERE partition = 0"], "would be taken over twice"),
    "a cursor is deleted": (["DELETE FROM audit_cursors WHERE partition = 0"], "partition 0 has no cursor"),
    "the size is smaller": (["UPDATE audit_log SET size = 346"], "a signed head covers 347 leaves, there are 346: the end, from leaf 346"),
    "the size is larger": (["UPDATE audit_log SET size = 348"], "no span says which events leaves 347 to 347 are"),
    # heads and keys
    "a head's root": ([HEAD.format(ROOT)], "the head of 340 leaves is not good"),
    "a head's size": ([HEAD.format("replace(note, E'\\n340\\n', E'\\n339\\n')")], "the head of 339 leaves is not good"),
    "a head's time": (["UPDATE audit_heads SET note = replace(note, 'time 20', 'time 21') WHERE size = 340"], "is not signed by a key"),
    "a head's signature": ([HEAD.format("overlay(note placing 'AAAA' from length(note) - 30)")], "is not signed by a key"),
    "a head's column": (["UPDATE audit_heads SET size = 341 WHERE size = 340"], "the head stored for 341 leaves"),
    "a head by a key whose time is over": (
        ["UPDATE audit_heads SET note = (SELECT note FROM audit_heads WHERE size = 240) WHERE size = 340"],
        "a head of 240 leaves stands where 340 leaves are",
    ),
    "a statement of a key": (
        ["UPDATE audit_keys SET note = replace(note, E'\\n240\\n', E'\\n200\\n') WHERE number = 2"],
        "is not signed by",
    ),
    "a key's column": (["UPDATE audit_keys SET size = 200 WHERE number = 2"], "key number 2 is stored with another id or size"),
    "a key is deleted": (["DELETE FROM audit_keys WHERE number = 2"], "the head of 340 leaves is not good"),
    "the first key is deleted": (["DELETE FROM audit_keys WHERE number = 1"], "does not follow the one before it"),
}  # fmt: skip


@pytest.mark.parametrize("what", TAMPER)
async def test_tampering_is_found_and_located(copies: Copies, what: str) -> None:
    statements, text = TAMPER[what]
    report = await copies.verify(*statements)
    assert not report.ok
    assert text.format(run=copies.events[0].run_id, second=copies.events[100].run_id) in words(report), words(report)


CUT = [
    "DELETE FROM events WHERE partition = 2 AND position > 30",
    "DELETE FROM audit_leaves WHERE index >= 340",
    "DELETE FROM audit_spans WHERE index >= 340",
    "DELETE FROM audit_heads WHERE size > 340",
    "UPDATE audit_log SET size = 340",
    "UPDATE audit_cursors SET position = 30 WHERE partition = 2",
    "UPDATE partitions SET position = 30 WHERE partition = 2",
]


async def test_a_tail_that_was_cut_off_cleanly_is_shown_by_a_head_that_was_kept(copies: Copies) -> None:
    assert (await copies.verify(*CUT)).ok
    report = await copies.verify(*CUT, heads=copies.heads)
    assert [finding.kind for finding in report.findings] == ["truncated"]
    assert (report.findings[0].index, report.findings[0].until) == (340, SIZE)


async def test_a_log_that_was_made_anew_with_the_key_is_shown_by_a_head_that_was_kept(copies: Copies, postgres: EmbeddedPostgres) -> None:
    name = f"t{os.urandom(6).hex()}"
    url = await postgres.create_database(name, template=copies.name)
    connection = await asyncpg.connect(url)
    event = copies.events[BODY]
    await connection.execute("UPDATE events SET data = data || ' ' WHERE run_id = $1 AND seq = $2", event.run_id, event.seq)
    for table in ("leaves", "spans", "nodes", "heads", "cursors", "log", "keys"):
        await connection.execute(f"DELETE FROM audit_{table}")
    await connection.close()
    async with PostgresStore(url) as store:
        forger = SignedLog(store)
        await forger.logger.take()
        await forger.logger.sign()
        assert (await verify(store.audit, Wanted(trusted=TRUSTED))).ok
        report = await verify(store.audit, Wanted(trusted=TRUSTED, heads=copies.heads[:1]))
        assert [finding.kind for finding in report.findings] == ["forked"], words(report)
        assert report.findings[0].index == 150
    await postgres.drop_database(name)


async def test_verifying_from_a_head_on(copies: Copies, postgres: EmbeddedPostgres) -> None:
    name = f"t{os.urandom(6).hex()}"
    url = await postgres.create_database(name, template=copies.name)
    async with PostgresStore(url) as store:
        report = await verify(store.audit, Wanted(trusted=TRUSTED, since=240))
        assert report.ok, words(report)
        assert (report.leaves, report.heads) == (107, 2)
    await postgres.drop_database(name)
