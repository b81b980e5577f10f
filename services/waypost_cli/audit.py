"""`waypost audit verify|prove|export|head|keys|new-key`. They read Postgres (WAYPOST_POSTGRES_URL); a check of a file needs no server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
from cyclopts import Parameter

from waypost_cli.audit_progress import progress
from waypost_cli.connect import quiet, use_running_dev
from waypost_cli.exits import FAILED
from waypost_cli.options import AsJson
from waypost_cli.output import ago, note, print_facts, print_json, print_table, say
from waypost_proto.errors import BadInput
from waypost_proto.ids import RunId
from waypost_proto.task import format_time

if TYPE_CHECKING:
    from waypost_core.audit.notes import VerifierKey
    from waypost_core.audit.report import Report
    from waypost_io.store.ports import Audit, HeadRow

TIMEOUT_SECONDS = 120.0
"""A look over the whole log takes longer than a service's statements do."""
_HEADS = 100
Keys = Annotated[list[str], Parameter(name="--key", help="A verifier key that you trust, or a file of them; may be repeated.")]
Heads = Annotated[list[Path], Parameter(name="--heads", help="A file of heads kept elsewhere, as anchors write it; may be repeated.")]


async def verify(
    *,
    export: Annotated[Path | None, Parameter(name="--export", help="Check this export instead of the database.")] = None,
    proof: Annotated[Path | None, Parameter(name="--proof", help="Check this proof instead of the database.")] = None,
    key: Keys = [],  # noqa: B006
    heads: Heads = [],  # noqa: B006
    since: Annotated[int, Parameter(help="Begin behind so many leaves, at the signed head of that size.")] = 0,
    json: AsJson = False,
) -> int:
    """Check the whole log: each event's bytes against its leaf, the tree, each head. Exit 1 with what is wrong, and where.

    Without --key the record is held against keys that it names itself: that finds damage, and not somebody who has made another record with
    another key. With --heads it is held against what was signed at other times, wherever those heads were kept.
    """
    trusted, notes = _trusted(key), _notes(heads)
    if proof is not None:
        return _verify_proof(proof, trusted)
    if export is not None:
        report = await asyncio.to_thread(_verify_export, export, trusted, notes)
    else:
        report = await _verify_database(trusted, notes, since)
    if json:
        print_json(report)
    else:
        _show(report)
    return 0 if report.ok else FAILED


async def prove(
    run: str | None = None,
    seq: int | None = None,
    /,
    *,
    size: Annotated[int | None, Parameter(help="Against the signed head of so many leaves; the newest if not given.")] = None,
    from_size: Annotated[int | None, Parameter(name="--from", help="Prove instead that the log of so many leaves only grew.")] = None,
    out: Annotated[Path | None, Parameter(help="Write the proof to this file.")] = None,
    json: AsJson = False,  # noqa: ARG001 - a proof is JSON in any case
) -> None:
    """Prove that event SEQ of RUN is in the log, or with --from that nothing was changed since a head.

    `waypost audit verify --proof FILE --key KEY` checks it, without a server.
    """
    from waypost_io.audit.proving import prove_event, prove_growth

    if (from_size is None) == (run is None) or (run is not None and seq is None):
        raise BadInput("name a run and the number of one of its events, or give --from SIZE")
    async with _log() as audit:
        found: msgspec.Struct
        if from_size is not None:
            found = await prove_growth(audit, from_size, size)
        else:
            assert run is not None
            assert seq is not None
            found = await prove_event(audit, RunId(run), seq, size=size)
    if out is None:
        print_json(found)
        return
    out.write_bytes(msgspec.json.format(msgspec.json.encode(found)) + b"\n")
    note(f"written to {out}")


async def export(
    file: Path,
    /,
    *,
    run: Annotated[str | None, Parameter(help="Only this run.")] = None,
    since: Annotated[str | None, Parameter(help="Only what was recorded from this time on (RFC 3339).")] = None,
    until: Annotated[str | None, Parameter(help="Only what was recorded before this time.")] = None,
    json: AsJson = False,
) -> None:
    """Write the record to FILE as JSON lines: a manifest, each event's exact bytes, and the hashes that lead to the newest signed head.

    The file is there when it is whole, and not before. `waypost audit verify --export FILE --key KEY` checks it anywhere.
    """
    from waypost_core.audit.exports import Scope
    from waypost_io.audit.exporting import export_file

    if run is not None and (since or until):
        raise BadInput("give either --run or a time range")
    kind = "run" if run is not None else "time" if since or until else "all"
    scope = Scope(kind=kind, run_id=run, since=since, until=until)  # type: ignore[arg-type]
    async with _log() as audit:
        with progress("exporting") as told:
            done = await export_file(audit, scope, file, progress=told)
    if json:
        print_json(done)
    else:
        say(f"{file}: {done.events} events, {done.skipped} leaves left out, {done.bytes} bytes, under a head of {done.size} leaves")


async def head(
    *,
    all: Annotated[bool, Parameter(name="--all", help="List the newest heads instead.")] = False,  # noqa: A002
    raw: Annotated[bool, Parameter(name="--note", help="Print the signed text and nothing else: to keep it elsewhere.")] = False,
    json: AsJson = False,
) -> int:
    """Show the newest signed head, how far the log is behind, and how far each anchor has come. Exit 1 when nothing is signed."""
    async with _log() as audit:
        newest, state, lag, anchors = await audit.newest_head(), await audit.state(), await audit.lag(), await audit.anchors()
        found = await _last(audit) if all else []
    if all:
        _list(found, as_json=json)
        return 0
    if newest is not None and raw:
        print(newest.note, end="")
        return 0
    behind = sum(lag.values())
    if json:
        named = None if newest is None else {"size": newest.size, "key_id": newest.key_id, "note": newest.note}
        print_json(
            {"origin": state.origin, "leaves": state.size, "behind": behind, "active": state.held, "head": named, "anchors": anchors}
        )
    else:
        print_facts(
            [
                ("log", state.origin or "not begun"),
                ("leaves", str(state.size)),
                ("behind", f"{behind} events"),
                ("logger", state.owner if state.held else "none is active"),
                ("head", "none is signed" if newest is None else f"{newest.size} leaves, {ago(format_time(newest.signed_at))}"),
                ("key", newest.key_id if newest else ""),
                *((f"anchor {a.name}", f"{a.size} leaves, {ago(format_time(a.anchored_at))}: {a.place}") for a in anchors),
            ]
        )
        if newest is not None:
            say("\n" + newest.note.rstrip())
    return 0 if newest is not None else FAILED


async def keys(*, json: AsJson = False) -> None:
    """Print the public keys of the log, the one in use last: give them to whoever checks. Compare them with what you made."""
    from waypost_core.audit.heads import KeyStatement
    from waypost_core.audit.notes import Note

    async with _log() as audit:
        rows = await audit.keys()
    texts = [str(KeyStatement.parse(Note.parse(row.note).text).new) for row in rows]
    if json:
        print_json(
            [{"number": r.number, "key_id": r.key_id, "from_size": r.size, "key": text} for r, text in zip(rows, texts, strict=True)]
        )
        return
    for text in texts:
        say(text)
    if not rows:
        note("no key has signed yet")


def new_key(
    file: Path,
    /,
    *,
    name: Annotated[str, Parameter(help="Name of the key; it is in every signature.")] = "waypost-audit",
) -> None:
    """Make a key that signs heads and add it to FILE, which WAYPOST_AUDIT_KEY_FILE names; prints its public half.

    In a file with older keys it takes over from the last one by a statement that both sign: leave the old key there until it has.
    """
    from waypost_io.audit.keyfile import add_key

    key = add_key(file.expanduser(), name)
    say(str(key.verifier))
    note(f"the secret half is in {file}, readable by you alone; give the line above to whoever checks")


# -- parts


@asynccontextmanager
async def _log() -> AsyncIterator[Audit]:
    """The audit log of the database that the environment, or the `waypost dev` of this folder, names."""
    from waypost_io.settings import Settings, load
    from waypost_io.store.postgres import PostgresStore

    quiet()
    use_running_dev()
    url = load(Settings).postgres_url
    if not url:
        raise BadInput("which database? set WAYPOST_POSTGRES_URL, or use it beside a running `waypost dev`")
    async with PostgresStore(url, pool_size=6, application_name="waypost audit", timeout_seconds=TIMEOUT_SECONDS) as store:
        yield store.audit


async def _verify_database(trusted: Sequence[VerifierKey], notes: Sequence[str], since: int) -> Report:
    from waypost_io.audit.verifying import Wanted, verify

    async with _log() as audit:
        with progress("verifying") as told:
            return await verify(audit, Wanted(trusted=trusted, heads=notes, since=since), progress=told)


def _verify_export(path: Path, trusted: Sequence[VerifierKey], notes: Sequence[str]) -> Report:
    from waypost_core.audit.exports import check_export

    try:
        with path.open("rb") as file, progress("verifying") as told:
            return check_export(file, trusted=trusted, heads=notes, progress=told)
    except OSError as error:
        raise BadInput(f"--export {path}: {error.strerror or error}") from error


def _verify_proof(path: Path, trusted: Sequence[VerifierKey]) -> int:
    from waypost_core.audit.proofs import Proof

    try:
        found = msgspec.json.decode(path.read_bytes(), type=Proof)
    except (OSError, msgspec.DecodeError) as error:
        raise BadInput(f"--proof {path}: {error}") from error
    problems = found.problems(trusted)
    for problem in problems:
        note(problem)
    if not problems:
        say("proved" if trusted else "proved against keys that the proof names itself; give --key to be sure")
    return FAILED if problems else 0


def _show(report: Report) -> None:
    for finding in report.findings:
        say(f"{finding.kind}: {finding.text}")
    if report.more_findings:
        say(f"and {report.more_findings} more")
    say(f"{'the record is whole' if report.ok else 'THE RECORD IS NOT WHOLE'}: {report.text}")
    if not report.trusted:
        note("held against keys that the record names itself; give --key to be sure who signed it")


async def _last(audit: Audit) -> list[HeadRow]:
    """The newest heads, newest first."""
    found: list[HeadRow] = []
    row = await audit.newest_head()
    while row is not None and len(found) < _HEADS:
        found.append(row)
        row = await audit.newest_head(at_most=row.size - 1)
    return found


def _list(found: Sequence[HeadRow], *, as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    rows = ([str(row.size), format_time(row.signed_at), row.key_id] for row in found)
    print_table(["LEAVES", "SIGNED", "KEY"], rows, empty="no head is signed")


def _trusted(given: Sequence[str]) -> list[VerifierKey]:
    from waypost_core.audit.kept import read_verifier_keys
    from waypost_core.audit.notes import BadNote, VerifierKey

    try:
        found: list[VerifierKey] = []
        for each in given:
            path = Path(each).expanduser()
            found += read_verifier_keys(path.read_text(encoding="utf-8"), each) if path.is_file() else [VerifierKey.parse(each)]
    except (BadNote, OSError, UnicodeDecodeError) as error:
        raise BadInput(f"--key: {error}") from error
    return found


def _notes(paths: Sequence[Path]) -> list[str]:
    from waypost_core.audit.kept import read_heads
    from waypost_core.audit.notes import BadNote

    try:
        return [found for path in paths for found in read_heads(path.expanduser().read_text(encoding="utf-8"), str(path))]
    except (BadNote, OSError, UnicodeDecodeError) as error:
        raise BadInput(f"--heads: {error}") from error
