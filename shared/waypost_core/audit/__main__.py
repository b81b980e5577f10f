"""`python -m waypost_core.audit EXPORT --key KEY`: check an export or a proof with nothing but the public key. Touches no server.

Exit: 0 it is whole, 1 it is not, 2 usage.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from waypost_core.audit.exports import check_export
from waypost_core.audit.kept import read_heads, read_verifier_keys
from waypost_core.audit.notes import BadNote, VerifierKey
from waypost_core.audit.proofs import Proof
from waypost_core.audit.report import Report


def main(arguments: Sequence[str] | None = None) -> int:
    """Check, print, return the exit code."""
    options = _parser().parse_args(arguments)
    try:
        keys = [key for each in options.key for key in _keys(each)]
        heads = [note for path in options.heads for note in read_heads(path.read_text(encoding="utf-8"), str(path))]
        if options.proof:
            return _check_proof(options.file.read_bytes(), keys)
        with options.file.open("rb") as file:
            report = check_export(file, trusted=keys, heads=heads)
    except (OSError, UnicodeDecodeError, BadNote) as error:
        print(f"cannot check: {error}", file=sys.stderr)
        return 2
    _print(report, as_json=options.json)
    return 0 if report.ok else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m waypost_core.audit", description="Check an export of the audit log, or a proof.")
    parser.add_argument("file", type=Path, help="the export (or the proof, with --proof)")
    parser.add_argument("--key", action="append", required=True, help="a verifier key, or a file of them; may be repeated")
    parser.add_argument("--heads", action="append", default=[], type=Path, help="a file of heads that an anchor kept; may be repeated")
    parser.add_argument("--proof", action="store_true", help="the file is a proof of `waypost audit prove`")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


def _keys(given: str) -> list[VerifierKey]:
    path = Path(given)
    return read_verifier_keys(path.read_text(encoding="utf-8"), given) if path.is_file() else [VerifierKey.parse(given)]


def _check_proof(data: bytes, keys: Sequence[VerifierKey]) -> int:
    try:
        problems = msgspec.json.decode(data, type=Proof).problems(keys)
    except msgspec.DecodeError as error:
        problems = [f"this is no proof: {error}"]
    print("\n".join(problems) if problems else "proved")
    return 1 if problems else 0


def _print(report: Report, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(msgspec.to_builtins(report), indent=2))
        return
    for finding in report.findings:
        print(f"{finding.kind}: {finding.text}")
    if report.more_findings:
        print(f"and {report.more_findings} more")
    verdict = "whole" if report.ok else "NOT WHOLE"
    print(f"{verdict}: {report.text}")


if __name__ == "__main__":
    sys.exit(main())
