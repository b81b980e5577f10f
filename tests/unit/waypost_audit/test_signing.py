"""Heads and keys: when they are signed, how a key takes over, and that nothing is signed over a log that contradicts what was signed."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.waypost_audit.events import Scribe
from tests.unit.waypost_audit.signed import SignedLog, key
from waypost_audit.reading import LogBroken
from waypost_core.audit.heads import Head, KeyStatement, parse_head
from waypost_core.audit.keyring import Keyring
from waypost_core.audit.notes import BadNote, Note, SigningKey, VerifierKey, signed
from waypost_io.audit.keyfile import add_key, ensure_key, read_keys
from waypost_io.audit.verifying import Wanted, verify
from waypost_io.store.memory import MemoryDatabase, MemoryStore
from waypost_io.store.ports import HeadRow
from waypost_proto.errors import ConcurrencyError, Misconfigured, TransientError


@pytest.fixture
def database() -> MemoryDatabase:
    return MemoryDatabase(time.time)


@pytest.fixture
async def scribe(database: MemoryDatabase) -> Scribe:
    return await Scribe(MemoryStore(time.time, database=database)).start()


async def test_a_head_is_signed_over_what_is_there_and_once(scribe: Scribe) -> None:
    log = SignedLog(scribe.store)
    await log.logger.take()
    assert not await log.logger.sign()
    await log.write(scribe, {0: 3}, {1: 2})
    assert not await log.logger.sign()
    heads = await scribe.store.audit.heads()
    assert [head.size for head in heads] == [3, 5]
    head, note = parse_head(heads[1].note)
    assert (head.origin, head.size) == ("waypost/test", 5)
    assert note.signed_by(key().verifier)
    assert not note.signed_by(key(2).verifier)
    assert log.metrics.heads.value == 2
    assert log.metrics.head_size.value == 5
    assert (await verify(scribe.store.audit, Wanted(trusted=[key().verifier]))).ok


async def test_keys_take_over_from_one_another(scribe: Scribe) -> None:
    log = SignedLog(scribe.store)
    await log.write(scribe, {0: 3})
    for number in (2, 3):
        log.keys = [key(number - 1), key(number)]
        await log.write(scribe, {0: 2})
        log.keys = [key(number)]  # the old one may go
        await log.write(scribe, {0: 1})
    rows = await scribe.store.audit.keys()
    assert [(row.number, row.key_id, row.size) for row in rows] == [
        (1, key(1).verifier.key_id, 0),
        (2, key(2).verifier.key_id, 3),
        (3, key(3).verifier.key_id, 6),
    ]
    for number in (1, 2, 3):  # whoever knows one of them can follow the others
        report = await verify(scribe.store.audit, Wanted(trusted=[key(number).verifier]))
        assert report.ok, report.findings
        assert report.heads == 5
    assert not (await verify(scribe.store.audit, Wanted(trusted=[key(4).verifier]))).ok


async def test_an_old_key_signs_nothing_newer(scribe: Scribe) -> None:
    log = SignedLog(scribe.store)
    await log.write(scribe, {0: 3})
    log.keys = [key(1), key(2)]
    await log.write(scribe, {0: 2})
    row = (await scribe.store.audit.heads())[-1]
    ring = Keyring([each.note for each in await scribe.store.audit.keys()])
    head = parse_head(row.note)[0]
    assert ring.fault(*parse_head(row.note)) == ""
    assert "signs heads of more than -1 and at most 3 leaves" in ring.fault(*parse_head(signed(head.text, [key(1)])))
    assert "another log" in ring.fault(*parse_head(signed(replace(head, origin="x").text, [key(2)])))
    assert ring.current == key(2).verifier


async def test_a_key_that_nobody_brought_in_signs_nothing_and_that_is_said(scribe: Scribe) -> None:
    log = SignedLog(scribe.store)
    await log.write(scribe, {0: 3})
    log.keys = [key(2)]
    await scribe.write({0: 1})
    await log.logger.take()
    assert not await log.logger.sign()
    with pytest.raises(TransientError, match="which the key file lacks"):
        await log.logger.readiness()
    log.keys = [key(1), key(2)]
    assert await log.logger.sign()
    assert await log.logger.readiness() == "1 events behind"  # of its last look
    log.keys = [key(2), key(1)]
    await scribe.write({0: 1})
    await log.logger.take()
    assert not await log.logger.sign()
    assert "a key does not come back" in log.signer.trouble


async def test_a_forged_statement_is_noticed(scribe: Scribe) -> None:
    log = SignedLog(scribe.store)
    await log.write(scribe, {0: 3})
    (row,) = await scribe.store.audit.keys()
    statement = KeyStatement(origin="waypost/test", size=3, root=b"r" * 32, time=1.0, old=key(1).verifier, new=key(9).verifier)
    ring = Keyring([row.note, signed(statement.text, [key(9)])], [key(1).verifier])
    assert ring.problems == [f"statement 2 of the log's keys is not signed by waypost-audit+{key(1).verifier.key_id}"]
    assert Keyring([row.note, "nonsense"]).problems


@pytest.mark.parametrize("change", ["size", "leaf", "head", "node"])
async def test_a_log_that_contradicts_its_head_is_not_gone_on_with(scribe: Scribe, database: MemoryDatabase, change: str) -> None:
    log = SignedLog(scribe.store)
    await log.write(scribe, {0: 300})
    tables = database.audit
    match change:
        case "size":
            tables.state = replace(tables.state, size=299)
        case "leaf":
            tables.leaves = tables.leaves[:-1] + bytes([tables.leaves[-1] ^ 1])
        case "head":
            (name, row), *_ = tables.heads.items()
            tables.heads[name] = replace(row, note=row.note.replace("\n300\n", "\n301\n"))
        case "node":
            tables.nodes.clear()
    heir = SignedLog(MemoryStore(time.time, database=database), owner="two")
    database.audit.expires_at = 0.0
    await scribe.write({0: 1})
    with pytest.raises(LogBroken):
        await heir.logger.take()
    assert tables.state.size in (299, 300)


async def test_a_log_that_another_logger_went_on_with_is_not_taken_for_a_broken_one(
    scribe: Scribe, database: MemoryDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process is stopped when it has just become the active one, for longer than its lease."""
    stopped, heir = SignedLog(MemoryStore(time.time, database=database), owner="one"), SignedLog(scribe.store, owner="two")
    await heir.write(scribe, {0: 3})
    newest_head = stopped.store.audit.newest_head
    database.audit.expires_at = 0.0

    async def after_a_while() -> HeadRow | None:
        database.audit.expires_at = 0.0
        await heir.write(scribe, {0: 2})
        return await newest_head()

    heir.logger._renew_at = float("-inf")
    monkeypatch.setattr(stopped.store.audit, "newest_head", after_a_while)
    with pytest.raises(ConcurrencyError, match="taken over by two"):
        await stopped.logger.take()
    assert stopped.metrics.broken.value == 0


async def test_notes_and_keys_are_read_back_and_nothing_else(tmp_path: Path) -> None:
    made = key(1)
    assert SigningKey.parse(made.text()).verifier == VerifierKey.parse(str(made.verifier)) == made.verifier
    assert made.text() not in repr(made)
    for text in ("", "a+b", str(made.verifier)[:-2] + "A=", str(made.verifier).replace("waypost", "waylost"), made.text()):
        with pytest.raises(BadNote):
            VerifierKey.parse(text)
    for text in ("", str(made.verifier), made.text()[:-3] + "AA=", made.text().replace("waypost", "waylost")):
        with pytest.raises(BadNote) as error:
            SigningKey.parse(text)
        assert made.text()[-20:] not in str(error.value)
    head = Head(origin="o", size=7, root=b"r" * 32, time=1_800_000_000.5)
    note = signed(head.text, [made])
    assert parse_head(note)[0] == head
    for bad in ("", head.text, note[:-1], note.replace("\u2014", "-"), note.replace("\n7\n", "\n07\n"), note.replace("\n7\n", "\n-7\n")):
        with pytest.raises(BadNote):
            parse_head(bad)
    assert not Note.parse(note.replace("\n7\n", "\n8\n")).signed_by(made.verifier)


async def test_the_published_example_of_a_signed_note() -> None:
    """Of golang.org/x/mod/sumdb/note: the key and the note of its documentation."""
    verifier = VerifierKey.parse("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")
    text = (
        "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n\n"
        "\u2014 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
    )
    assert Note.parse(text).signed_by(verifier)
    assert not Note.parse(text.replace("your", "our", 1)).signed_by(verifier)


async def test_the_key_file(tmp_path: Path) -> None:
    path = tmp_path / "sub" / "audit.key"
    (first,) = ensure_key(path)
    assert ensure_key(path)[0].verifier == first.verifier
    assert path.stat().st_mode & 0o777 == 0o600
    second = add_key(path, "other")
    assert [each.verifier for each in read_keys(path)] == [first.verifier, second.verifier]
    path.write_text(f"# old\n{first.text()}")
    add_key(path)
    assert len(read_keys(path)) == 2
    path.write_text(f"{first.text()}\n{second.text()[:-9]}\n")
    with pytest.raises(Misconfigured, match="line 2") as error:
        read_keys(path)
    assert second.text()[-30:-9] not in str(error.value)
    path.write_text("# none\n")
    with pytest.raises(Misconfigured, match="has no key"):
        read_keys(path)
    with pytest.raises(Misconfigured, match="cannot be read"):
        read_keys(tmp_path / "none")
