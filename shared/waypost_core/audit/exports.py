"""Exports: the record as lines of JSON that prove themselves to whoever has the public key. Format `waypost-audit-export/1`:

    {"line":"manifest",…}   what this is: the log, the scope, the signed head it proves itself against, the statements of keys
    {"line":"event",…}      a leaf with its event's exact bytes
    {"line":"skip",…}       2**height leaves that the scope leaves out, as the hash of their subtree
    {"line":"head",…}       a head signed when the log had the leaves above it
    {"line":"end",…}        counts, and the SHA-256 of all bytes above: what is cut off or damaged on the way is noticed

Lines are in order of leaf. Events and skipped subtrees together make the tree up to the root of the manifest's head, so that nothing can be
changed, left out, added or moved, whatever the scope. Not proved, for a run or a time range: that a skipped leaf is not one of the scope.
But of a run everything up to its last event is there, because its events count 1, 2, 3 ….
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import Literal

import msgspec

from waypost_core.audit.checking import KEPT, Checker
from waypost_core.audit.drops import Dropped
from waypost_core.audit.heads import Head, parse_head
from waypost_core.audit.keyring import Keyring
from waypost_core.audit.notes import BadNote, VerifierKey
from waypost_core.audit.proofs import body_bytes, hash_bytes
from waypost_core.audit.report import Report

FORMAT = "waypost-audit-export/1"


class Scope(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an export holds: everything, one run, or what was recorded in [`since`, `until`)."""

    kind: Literal["all", "run", "time"] = "all"
    run_id: str | None = None
    since: str | None = None
    until: str | None = None


class Manifest(msgspec.Struct, frozen=True, kw_only=True, tag="manifest", tag_field="line"):
    """The first line. `size` and `root` are the head's, for people."""

    format: str = FORMAT
    origin: str
    scope: Scope
    size: int
    root: str
    head: str
    keys: list[str]
    made_at: str
    made_by: str
    drops: list[tuple[str, str]] | msgspec.UnsetType = msgspec.UNSET
    """Of an export of everything: statements of what retention has dropped, each with its list of leaves."""


class EventLine(msgspec.Struct, frozen=True, kw_only=True, tag="event", tag_field="line", omit_defaults=True):
    """A leaf and its event. `body_base64` instead of `body` when the bytes are no text."""

    index: int
    run_id: str
    seq: int
    leaf: str
    body: str | None = None
    body_base64: str | None = None


class SkipLine(msgspec.Struct, frozen=True, kw_only=True, tag="skip", tag_field="line"):
    """Leaves `[index, index + 2**height)`."""

    index: int
    height: int
    hash: str


class HeadLine(msgspec.Struct, frozen=True, kw_only=True, tag="head", tag_field="line"):
    """A head on the way."""

    size: int
    note: str


class EndLine(msgspec.Struct, frozen=True, kw_only=True, tag="end", tag_field="line"):
    """The last line."""

    events: int
    skipped: int
    sha256: str


Line = Manifest | EventLine | SkipLine | HeadLine | EndLine
_decode = msgspec.json.Decoder(Line).decode
Progress = Callable[[int, int], None]
"""Told leaves done and leaves in all, now and then."""
PROGRESS_LINES = 4_096


def check_export(
    lines: Iterable[bytes], *, trusted: Sequence[VerifierKey] = (), heads: Sequence[str] = (), progress: Progress | None = None
) -> Report:
    """Check an export, read line by line with the line ends. `heads`: signed heads that were kept elsewhere, of this log."""
    return _Reader(trusted, heads, progress).read(lines)


class _Reader:
    """One pass over one export."""

    def __init__(self, trusted: Sequence[VerifierKey], heads: Sequence[str], progress: Progress | None) -> None:
        self._trusted = trusted
        self._kept = heads
        self._progress = progress
        self._checker = Checker(Keyring((), trusted))
        self._manifest: Manifest | None = None
        self._end: EndLine | None = None
        self._digest = hashlib.sha256()
        self._events = self._skipped = 0
        self._waiting: list[tuple[Head, str]] = []
        """Heads that were kept elsewhere and not reached yet, largest first."""

    def read(self, lines: Iterable[bytes]) -> Report:
        number = 0
        for number, raw in enumerate(lines, 1):
            try:
                line = _decode(raw)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                self._checker.add("unreadable", f"line {number} is no line of an export: {error}", line=number)
                self._digest.update(raw)
                continue
            if self._end is not None:
                self._checker.add("inserted", f"line {number} comes after the end", line=number)
            if isinstance(line, EndLine):
                self._close(line, number)
            else:
                self._digest.update(raw)
                self._one(line, number)
            if self._progress is not None and self._manifest is not None and number % PROGRESS_LINES == 0:
                self._progress(self._checker.size, self._manifest.size)
        return self._finish(number)

    def _one(self, line: Line, number: int) -> None:
        match line:
            case Manifest():
                self._begin(line, number)
            case EventLine():
                self._event(line, number)
            case SkipLine():
                self._skip(line, number)
            case HeadLine():
                self._checker.head(line.note)
                self._reached()
            case EndLine():
                """Not one of these."""

    def _begin(self, line: Manifest, number: int) -> None:
        if self._manifest is not None or number != 1:
            self._checker.add("order", f"line {number}: the manifest is the first line, and there is one", line=number)
            return
        self._manifest = line
        findings = self._checker.findings
        self._checker = Checker(Keyring(line.keys, self._trusted), every_event=line.scope.kind != "time")
        self._checker.findings.kept[:0] = findings.kept
        if line.drops:
            self._checker.allow(Dropped(Keyring(line.keys, self._trusted), line.drops))
        if line.format != FORMAT:
            self._checker.add("unreadable", f"the export has the format {line.format!r}, this checks {FORMAT!r}")
        for note in self._kept:
            self._keep(note)
        self._waiting.sort(key=lambda kept: -kept[0].size)

    def _keep(self, note: str) -> None:
        try:
            head, _ = parse_head(note)
        except BadNote as error:
            self._checker.add("head", f"a head that was kept elsewhere cannot be read: {error}")
            return
        self._waiting.append((head, note))

    def _place(self, index: int, number: int) -> bool:
        """Whether a line for this leaf may stand here."""
        expected = self._checker.size
        if index > expected:
            last = f"leaf {expected} is" if index == expected + 1 else f"leaves {expected} to {index - 1} are"
            text = f"line {number} is leaf {index}, {expected} is expected: {last} missing"
            self._checker.add("missing", text, index=expected, until=index, line=number)
            self._checker.jump(index)
        elif index < expected:
            text = f"line {number} is leaf {index}, {expected} is expected: it was added or moved"
            self._checker.add("inserted", text, index=index, line=number)
            return False
        return True

    def _event(self, line: EventLine, number: int) -> None:
        self._reached()
        try:
            body, told = body_bytes(line.body, line.body_base64), hash_bytes(line.leaf)
        except BadNote as error:
            text = f"line {number}: {error}"
            self._checker.add("unreadable", text, index=line.index, run_id=line.run_id, seq=line.seq, line=number)
            return
        if self._manifest is not None and self._manifest.scope.kind == "run" and line.run_id != self._manifest.scope.run_id:
            self._checker.add("inserted", f"line {number} is of run {line.run_id}, not of the scope", index=line.index, line=number)
        self._events += 1
        if self._place(line.index, number):
            self._checker.event(line.run_id, line.seq, body, told, line=number)

    def _skip(self, line: SkipLine, number: int) -> None:
        self._reached()
        if not 0 <= line.height <= 62:
            self._checker.add("unreadable", f"line {number}: {line.height} is no height", index=line.index, line=number)
            return
        whole = self._manifest is not None and self._manifest.scope.kind == "all"
        if whole and not self._checker.excused(line.index, line.index + (1 << line.height)):
            text = f"line {number}: the event of leaf {line.index} is not there, and this is an export of everything"
            self._checker.add("missing", text, index=line.index, until=line.index + (1 << line.height), line=number)
        if not self._place(line.index, number):
            return
        try:
            self._checker.skip(line.height, hash_bytes(line.hash))
        except (ValueError, BadNote) as error:
            self._checker.add("unreadable", f"line {number}: {error}", index=line.index, line=number)
            self._checker.jump(line.index + 1)
            return
        self._skipped += 1 << line.height

    def _reached(self) -> None:
        """Heads that were kept elsewhere, whose size is reached or passed inside a skipped subtree."""
        while self._waiting and self._waiting[-1][0].size <= self._checker.size:
            head, note = self._waiting.pop()
            if head.size == self._checker.size:
                self._checker.head(note, what=KEPT)

    def _close(self, line: EndLine, number: int) -> None:
        self._end = line
        if line.sha256 != self._digest.hexdigest():
            self._checker.add("unreadable", "the SHA-256 of the lines is not the one in the last line: bytes were changed", line=number)
        if (line.events, line.skipped) != (self._events, self._skipped):
            text = f"the last line counts {line.events} events and {line.skipped} skipped leaves; "
            self._checker.add("missing", f"{text}there are {self._events} and {self._skipped}", line=number)

    def _finish(self, lines: int) -> Report:
        checker, manifest = self._checker, self._manifest
        if manifest is None:
            checker.add("unreadable", "this is no export: its first line is no manifest" if lines else "the file is empty")
            return checker.finish("", trusted=False)
        if self._end is None:
            checker.add("truncated", f"the export ends after line {lines} without its last line", line=lines)
        parsed = checker.parse(manifest.head, "head of the manifest")
        if parsed is not None:
            head = parsed[0]
            if (head.size, head.origin) != (manifest.size, manifest.origin) or _root_text(head) != manifest.root:
                checker.add("head", "the manifest says something else than its head: size, root or origin", index=head.size)
            if head.size > checker.size:
                checker.beyond([manifest.head], "head of the manifest")
            else:
                checker.head(manifest.head, what="head of the manifest")
        self._reached()
        checker.beyond([note for head, note in self._waiting if head.size > checker.size], KEPT)
        return checker.finish(manifest.origin, trusted=bool(self._trusted))


def _root_text(head: Head) -> str:
    """The root as it stands in a head's text."""
    return head.text.splitlines()[2]
