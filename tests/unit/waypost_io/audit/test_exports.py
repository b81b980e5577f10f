"""Exports and proofs: whole, of a run, of a time; and everything that is done to them is noticed, and where."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import pytest

from tests.unit.waypost_audit.events import Scribe
from tests.unit.waypost_audit.signed import SignedLog, key
from waypost_core.audit.exports import Scope, check_export
from waypost_core.audit.notes import VerifierKey
from waypost_core.audit.proofs import ConsistencyProof, InclusionProof, Proof
from waypost_core.audit.report import Report
from waypost_io.audit.exporting import Export, export_file
from waypost_io.audit.proving import prove_event, prove_growth
from waypost_io.store.memory import MemoryStore
from waypost_proto.errors import BadInput, NotFound
from waypost_proto.ids import RunId
from waypost_proto.task import format_time

TRUSTED = [key().verifier]
BATCHES = ({0: 3, 1: 2}, {1: 4}, {0: 1, 2: 5}, {0: 20})
Lines = list[bytes]


@pytest.fixture
async def scribe() -> Scribe:
    return await Scribe(MemoryStore(time.time)).start()


@pytest.fixture
async def log(scribe: Scribe) -> SignedLog:
    log = SignedLog(scribe.store)
    await log.write(scribe, *BATCHES)
    return log


async def lines_of(log: SignedLog, **scope: str) -> Lines:
    return [line async for line in Export(log.store.audit, Scope(**scope)).lines()]  # type: ignore[arg-type]


def sealed(lines: Sequence[bytes]) -> Lines:
    """With a last line that fits: whoever changes an export can compute a SHA-256 too."""
    body = [line for line in lines if b'"line":"end"' not in line]
    counts = {"events": 0, "skipped": 0}
    for line in body:
        kind = json.loads(line)
        counts["events"] += kind["line"] == "event"
        counts["skipped"] += 1 << kind["height"] if kind["line"] == "skip" else 0
    end = {"line": "end", **counts, "sha256": hashlib.sha256(b"".join(body)).hexdigest()}
    return [*body, json.dumps(end).encode() + b"\n"]


def check(lines: Sequence[bytes], trusted: Sequence[VerifierKey] = TRUSTED, heads: Sequence[str] = ()) -> Report:
    return check_export(lines, trusted=trusted, heads=heads)


async def test_an_export_of_everything_is_whole(log: SignedLog, scribe: Scribe) -> None:
    lines = await lines_of(log)
    report = check(lines)
    assert report.ok, report.findings
    assert (report.leaves, report.events, report.runs, report.heads) == (35, 35, 3, 4)
    assert (report.signed_size, report.trusted, report.key_id) == (35, True, key().verifier.key_id)
    bodies = [json.loads(line)["body"].encode() for line in lines if b'"line":"event"' in line]
    assert sorted(bodies) == sorted(event.body for event in scribe.written)
    assert check(sealed(lines)).ok


async def test_an_export_of_a_run_proves_itself_against_the_same_head(log: SignedLog, scribe: Scribe) -> None:
    run_id = scribe.written[0].run_id
    lines = await lines_of(log, kind="run", run_id=run_id)
    report = check(lines)
    assert report.ok, report.findings
    assert (report.events, report.runs, report.signed_size) == (24, 1, 35)
    assert all(json.loads(line)["run_id"] == run_id for line in lines if b'"line":"event"' in line)
    with pytest.raises(NotFound, match="has no event"):
        await lines_of(log, kind="run", run_id="01970000-0000-7000-8000-000000000001")


async def test_an_export_of_a_time_holds_what_was_recorded_then(log: SignedLog, scribe: Scribe) -> None:
    times = sorted(event.recorded_at for event in scribe.written)
    since, until = format_time(times[7]), format_time(times[30])
    lines = await lines_of(log, kind="time", since=since, until=until)
    report = check(lines)
    assert report.ok, report.findings
    assert report.events == sum(times[7] <= event.recorded_at < times[30] for event in scribe.written)
    assert check(await lines_of(log, kind="time", since=since)).events == 28
    assert check(await lines_of(log, kind="time", until=until)).ok
    for bad in ({"since": until, "until": since}, {"since": "yesterday"}):
        with pytest.raises(BadInput):
            await lines_of(log, kind="time", **bad)


async def test_without_a_head_there_is_no_export(scribe: Scribe) -> None:
    log = SignedLog(scribe.store)
    with pytest.raises(NotFound, match="WAYPOST_AUDIT_KEY_FILE"):
        await lines_of(log)


async def test_any_flipped_bit_is_noticed(log: SignedLog) -> None:
    lines = await lines_of(log, kind="time", since="2020-01-01T00:00:00Z")
    whole = b"".join(lines[:6]) + b"".join(lines[-2:])
    assert not check(whole.splitlines(keepends=True)).ok  # lines are missing
    whole = b"".join(lines)
    for at in range(0, len(whole), 17):
        changed = bytearray(whole)
        changed[at] ^= 1 << (at % 8)
        assert not check(bytes(changed).splitlines(keepends=True)).ok, whole[max(0, at - 20) : at + 20]


@pytest.mark.parametrize("scope", ["all", "run"])
async def test_any_flipped_bit_of_an_event_or_a_hash_is_noticed_though_the_digest_was_mended(
    log: SignedLog, scribe: Scribe, scope: str
) -> None:
    lines = await lines_of(log, kind="run", run_id=scribe.written[0].run_id) if scope == "run" else await lines_of(log)
    kinds = {json.loads(line)["line"]: number for number, line in enumerate(lines[:-1])}
    assert kinds.keys() == ({"manifest", "event", "skip"} if scope == "run" else {"manifest", "event", "head"})
    for kind in kinds.keys() - {"manifest"}:
        line = lines[kinds[kind]]
        for at in range(0, len(line) - 1, 1 if kind != "event" else 2):
            changed = bytearray(line)
            changed[at] ^= 1 << (at % 8)
            try:
                whole = sealed([*lines[: kinds[kind]], bytes(changed), *lines[kinds[kind] + 1 : -1]])
            except (ValueError, KeyError, TypeError):
                continue  # it is no JSON any more, and the test cannot count it
            assert not check(whole).ok, (line[max(0, at - 20) : at + 20], bytes(changed[max(0, at - 20) : at + 20]))


def numbered(lines: Sequence[bytes]) -> Lines:
    """Events numbered anew, so that nothing jumps."""
    found, index = [], 0
    for line in lines:
        fields = json.loads(line)
        if fields["line"] == "event":
            line = json.dumps(fields | {"index": index}).encode() + b"\n"  # noqa: PLW2901
            index += 1
        found.append(line)
    return found


def edited(line: bytes) -> bytes:
    """Another approver, and a leaf hash that fits."""
    fields = json.loads(line)
    from waypost_core.audit.leaves import event_leaf
    from waypost_core.audit.proofs import hash_text

    body = fields["body"].replace('"ann"', '"bob"')
    assert body != fields["body"]
    leaf = hash_text(event_leaf(fields["run_id"], fields["seq"], body.encode()))
    return json.dumps(fields | {"body": body, "leaf": leaf}).encode() + b"\n"


TAMPER: dict[str, tuple[Callable[[Lines], Lines], str]] = {
    "edit": (lambda s: [*s[:9], s[9].replace(b"ann", b"bob"), *s[10:]], "does not fit its leaf hash: the event was changed since"),
    "edit with its leaf": (lambda s: [*s[:9], edited(s[9]), *s[10:]], "something in leaves 5 to 8"),
    "deletion": (lambda s: [*s[:9], *s[10:]], "leaf 7 is missing"),
    "deletion, renumbered": (lambda s: numbered([*s[:9], *s[10:]]), "missing"),
    "insertion": (lambda s: [*s[:9], s[8], *s[9:]], "it was added or moved"),
    "insertion, renumbered": (lambda s: numbered([*s[:9], s[8], *s[9:]]), "comes after event"),
    "reordering": (lambda s: [*s[:8], s[9], s[8], *s[10:]], "it was added or moved"),
    "reordering, renumbered": (lambda s: numbered([*s[:8], s[9], s[8], *s[10:]]), "comes after event"),
    "truncated tail": (lambda s: s[:-5], "without its last line"),
    "truncated tail, sealed": (lambda s: sealed(s[:-5]), "the end, from leaf 31 on, is missing"),
    "another head": (lambda s: [s[0], *s[1:6], s[6].replace(b"\\n5\\n", b"\\n4\\n"), *s[7:]], "head"),
    "no manifest": (lambda s: s[1:], "no manifest"),
    "two manifests": (lambda s: [s[0], *s], "the manifest is the first line"),
    "something behind the end": (lambda s: [*s, s[1]], "comes after the end"),
    "nothing": (lambda s: [], "empty"),
}


@pytest.mark.parametrize("what", TAMPER)
async def test_tampering_is_noticed_and_located(log: SignedLog, what: str) -> None:
    lines = await lines_of(log)
    assert b'"line":"head"' in lines[6]
    change, words = TAMPER[what]
    for found in (change(lines), sealed(change(lines)) if what not in ("nothing", "truncated tail", "something behind the end") else None):
        if found is not None:
            report = check(found)
            assert not report.ok
            assert words in "\n".join(finding.text for finding in report.findings), report.findings


async def test_an_older_export_is_whole_until_a_newer_head_is_held_against_it(log: SignedLog, scribe: Scribe) -> None:
    old = await lines_of(log)
    await log.write(scribe, {1: 3})
    newer = (await log.store.audit.heads())[-1].note
    assert check(old).ok
    report = check(old, heads=[newer])
    assert "the end, from leaf 35 on, is missing" in report.findings[0].text
    assert check(await lines_of(log), heads=[row.note for row in await log.store.audit.heads()]).ok


async def test_a_forked_log_contradicts_a_head_that_was_kept(log: SignedLog) -> None:
    other = await Scribe(MemoryStore(time.time)).start()
    forked = SignedLog(other.store)
    await forked.write(other, *BATCHES)
    kept = (await log.store.audit.heads())[1].note
    lines = await lines_of(forked)
    assert check(lines).ok
    report = check(lines, heads=[kept])
    assert [finding.kind for finding in report.findings] == ["forked"]
    assert report.findings[0].index == 9


async def test_another_key_proves_nothing(log: SignedLog) -> None:
    lines = await lines_of(log)
    report = check(lines, trusted=[key(2).verifier])
    assert not report.ok
    assert "none of them is a key that you trust" in report.findings[-1].text
    assert check(lines, trusted=[]).ok
    assert not check(lines, trusted=[]).trusted


async def test_proofs_of_events_and_of_growth(log: SignedLog, scribe: Scribe) -> None:
    audit = log.store.audit
    for event in scribe.written:
        proof = await prove_event(audit, event.run_id, event.seq)
        again = msgspec.json.decode(msgspec.json.encode(proof), type=Proof)
        assert again.problems(TRUSTED) == []
        assert len(proof.path) <= 6
    assert isinstance(again, InclusionProof)
    for change in (
        {"seq": again.seq + 1},
        {"index": again.index - 1},
        {"body": (again.body or "").replace("ann", "bob")},
        {"path": again.path[::-1]},
        {"path": again.path[1:]},
        {"head": again.head.replace("35", "34")},
        {"keys": []},
        {"run_id": "x"},
        {"body": None},
    ):
        changed = msgspec.structs.replace(again, **change)
        assert changed.problems(TRUSTED) if "keys" not in change else not changed.problems(TRUSTED), change
    assert again.problems([key(2).verifier])
    for size in (5, 9, 15, 35):
        growth = await prove_growth(audit, size)
        assert growth.problems(TRUSTED) == []
    growth = await prove_growth(audit, 9, 15)
    assert isinstance(growth, ConsistencyProof)
    assert msgspec.structs.replace(growth, path=growth.path[:-1]).problems(TRUSTED)
    old = await prove_event(audit, scribe.written[0].run_id, 1, size=5)
    assert old.problems(TRUSTED) == []
    with pytest.raises(NotFound, match="no signed head of 6"):
        await prove_growth(audit, 6)
    with pytest.raises(BadInput):
        await prove_growth(audit, 15, 9)
    with pytest.raises(NotFound, match="not in the audit log"):
        await prove_event(audit, RunId(scribe.written[0].run_id), 99)
    await scribe.write({0: 1})
    await log.logger.take()
    with pytest.raises(NotFound, match="is leaf 35"):
        await prove_event(audit, scribe.written[-1].run_id, scribe.written[-1].seq)


async def test_a_file_is_whole_or_not_there(log: SignedLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "record.jsonl"
    told: list[tuple[int, int]] = []
    done = await export_file(log.store.audit, Scope(), path, progress=lambda at, of: told.append((at, of)))
    assert (done.events, done.size, done.bytes) == (35, 35, path.stat().st_size)
    assert check(path.read_bytes().splitlines(keepends=True)).ok
    before = path.read_bytes()
    monkeypatch.setattr(log.store.audit, "hashes", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        await export_file(log.store.audit, Scope(), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(BadInput, match="cannot be written"):
        await export_file(log.store.audit, Scope(), tmp_path / "none" / "record.jsonl")


async def test_the_offline_check_needs_a_file_and_a_key_and_nothing_heavy(log: SignedLog, tmp_path: Path) -> None:
    path, proof, heads = tmp_path / "record.jsonl", tmp_path / "proof.json", tmp_path / "head"
    await export_file(log.store.audit, Scope(), path)
    proof.write_bytes(msgspec.json.encode(await prove_growth(log.store.audit, 9)))
    heads.write_text((await log.store.audit.heads())[0].note)
    program = "import sys; from waypost_core.audit.__main__ import main; code = main(sys.argv[1:]); "
    program += (
        "assert not {'asyncpg', 'nats', 'rich', 'cyclopts', 'uvloop', 'structlog', 'waypost_io'} & sys.modules.keys(); sys.exit(code)"
    )

    def run(*arguments: str) -> tuple[int, str]:
        done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    verifier = str(key().verifier)
    code, text = run(str(path), "--key", verifier, "--heads", str(heads))
    assert (code, text.startswith("whole: 35 leaves, 35 events of 3 runs")) == (0, True), text
    assert run(str(proof), "--proof", "--key", verifier) == (0, "proved\n")
    path.write_bytes(path.read_bytes().replace(b"ann", b"eve", 1))
    code, text = run(str(path), "--key", verifier, "--json")
    assert code == 1
    assert json.loads(text)["findings"][0]["kind"] == "edited"
    assert run(str(path), "--key", "nonsense")[0] == 2
