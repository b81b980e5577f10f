"""What a check found. JSON as it is; `text` of a finding is for people."""

from __future__ import annotations

from typing import Literal

import msgspec

Kind = Literal[
    "edited", "missing", "inserted", "order", "misfiled", "root", "head", "key", "truncated", "forked", "unreadable", "store", "drop"
]
MAX_FINDINGS = 200
"""More are counted and not kept: one changed hash can spoil everything after it."""


class Finding(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that is wrong, and where: a leaf, an event, or somewhere in leaves `[index, until)`."""

    kind: Kind
    text: str
    index: int | None = None
    until: int | None = None
    run_id: str | None = None
    seq: int | None = None
    line: int | None = None
    """Of the export, from 1."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What was checked and what is wrong. `ok`: nothing is.

    `leaves` were checked, `events` of them with their bytes; of `heads` signature and root were right. `signed_size`: leaves under the
    largest head that is right. `trusted`: a key from elsewhere vouches for the heads; otherwise the record only agrees with itself.
    """

    ok: bool
    origin: str
    leaves: int
    events: int
    runs: int
    heads: int
    signed_size: int
    signed_at: str
    key_id: str
    trusted: bool
    findings: list[Finding]
    more_findings: int = 0
    dropped: int = 0
    """Leaves whose events retention has dropped, with a signed statement."""

    @property
    def text(self) -> str:
        """In a line."""
        signed = (
            f"{self.signed_size} under a head of key {self.key_id} at {self.signed_at}" if self.signed_size else "no head that is right"
        )
        dropped = f", {self.dropped} dropped on record" if self.dropped else ""
        return f"{self.leaves} leaves, {self.events} events of {self.runs} runs{dropped}, {signed}"


class Findings:
    """Collects them, up to a limit."""

    def __init__(self) -> None:
        self.kept: list[Finding] = []
        self.more = 0

    def __bool__(self) -> bool:
        return bool(self.kept)

    def add(self, finding: Finding) -> None:
        if len(self.kept) < MAX_FINDINGS:
            self.kept.append(finding)
        else:
            self.more += 1
