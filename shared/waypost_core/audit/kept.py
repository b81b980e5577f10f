"""Heads and keys that were kept elsewhere, as people hand them to a check: texts in files."""

from __future__ import annotations

import msgspec

from waypost_core.audit.heads import parse_head
from waypost_core.audit.notes import BadNote, VerifierKey


class HeadRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A head as anchors keep it: one line of JSON. Only `note` counts; the rest is for people and for searching."""

    origin: str
    size: int
    root: str
    time: str
    key_id: str
    note: str


def read_heads(text: str, where: str) -> list[str]:
    """The notes in a file: an anchor's, with a line of JSON for each head, or one head as it was signed. Raises `BadNote`."""
    if not text.lstrip().startswith("{"):
        parse_head(text)
        return [text]
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                found.append(msgspec.json.decode(line.encode(), type=HeadRecord).note)
            except msgspec.DecodeError as error:
                raise BadNote(f"{where}, line {number}: {error}") from error
    return found


def read_verifier_keys(text: str, where: str) -> list[VerifierKey]:
    """Verifier keys, one a line; lines that begin with `#` are comments. Raises `BadNote`, also when there is none."""
    found = [VerifierKey.parse(line) for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    if not found:
        raise BadNote(f"{where} has no verifier key; `waypost audit keys` prints them")
    return found
