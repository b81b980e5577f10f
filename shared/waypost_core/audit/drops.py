"""Statements of what retention has dropped: a signed note beside the heads, so that a check can tell what was dropped from what is missing.

    waypost audit drop
    waypost/9f3c…                 the log's name
    1234                          leaves under the head that covers all of it
    qINS1GRFiWaxCW4YgfwTAkl…=     the root of that head
    time 2026-11-22T17:00:00.000000Z
    by ann                        who dropped it
    what events_2026_05
    events 120
    runs 3
    upto 900                      the last leaf that was dropped, and one
    leaves 4c1f…                  SHA-256 of the list of leaves

The list of leaves stands beside the note: `low+count` joined by commas, rising, in decimal digits. The hashes of those leaves stay in the
tree, so heads and proofs stay good; what the statement excuses is that their events are not there any more, and nothing else.
"""

from __future__ import annotations

import bisect
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from waypost_core.audit.heads import Head
from waypost_core.audit.keyring import Keyring
from waypost_core.audit.notes import BadNote, Note

_FIRST = "waypost audit drop"
_FIELDS = ("time", "by", "what", "events", "runs", "upto", "leaves")


@dataclass(frozen=True, slots=True, kw_only=True)
class Drop:
    """What was dropped. `head` has covered all of it; `digest` is that of the list of leaves."""

    head: Head
    """Of its time: when it was dropped."""
    by: str
    what: str
    events: int
    runs: int
    upto: int
    digest: str

    @property
    def text(self) -> str:
        """What is signed. Raises `BadNote` for a `by` or `what` of several lines."""
        for text in (self.by, self.what):
            if not text or not text.isprintable():
                raise BadNote(f"{text!r} cannot stand in a statement: it needs a line of printable text")
        origin, size, root, time = self.head.text.splitlines()
        lines = [_FIRST, origin, size, root, time, f"by {self.by}", f"what {self.what}"]
        lines += [f"events {self.events}", f"runs {self.runs}", f"upto {self.upto}", f"leaves {self.digest}"]
        return "\n".join(lines) + "\n"

    @classmethod
    def parse(cls, text: str) -> Drop:
        """Raises `BadNote`."""
        lines = text.splitlines()
        if len(lines) != 4 + len(_FIELDS) or lines[0] != _FIRST or tuple(line.split(" ")[0] for line in lines[4:]) != _FIELDS:
            raise BadNote("this is no statement of what was dropped")
        said = {name: line.partition(" ")[2] for name, line in zip(_FIELDS, lines[4:], strict=True)}
        try:
            events, runs, upto = int(said["events"]), int(said["runs"]), int(said["upto"])
        except ValueError:
            raise BadNote("a statement of what was dropped counts events, runs and leaves in digits") from None
        head = Head.parse("\n".join(lines[1:5]) + "\n")
        return cls(head=head, by=said["by"], what=said["what"], events=events, runs=runs, upto=upto, digest=said["leaves"])


def digest_of_leaves(leaves: str) -> str:
    """What a statement says of its list of leaves."""
    return hashlib.sha256(leaves.encode()).hexdigest()


class Dropped:
    """The leaves that good statements excuse. `statements` are (note, list of leaves); `problems` says what is wrong with the others."""

    def __init__(self, ring: Keyring, statements: Iterable[tuple[str, str]]) -> None:
        self.problems: list[str] = []
        self.good: list[Drop] = []
        found: list[tuple[int, int]] = []
        for number, (note, leaves) in enumerate(statements, 1):
            try:
                drop, ranges = _read(ring, note, leaves)
            except BadNote as error:
                self.problems.append(f"statement {number} of what was dropped is not good: {error}")
                continue
            self.good.append(drop)
            found += ranges
        found.sort()
        self._lows = [low for low, _ in found]
        self._ends = [end for _, end in found]

    def covers(self, low: int, high: int | None = None) -> bool:
        """Whether every leaf of `[low, high)` was dropped on record; of one leaf without `high`."""
        high = low + 1 if high is None else high
        while low < high:
            at = bisect.bisect_right(self._lows, low) - 1
            if at < 0 or self._ends[at] <= low:
                return False
            low = self._ends[at]
        return True


def _read(ring: Keyring, note: str, leaves: str) -> tuple[Drop, Sequence[tuple[int, int]]]:
    parsed = Note.parse(note)
    drop = Drop.parse(parsed.text)
    fault = ring.fault(drop.head, parsed)
    if fault:
        raise BadNote(fault)
    if digest_of_leaves(leaves) != drop.digest:
        raise BadNote(f"the list of leaves beside it is not the one that was signed ({drop.what}, by {drop.by})")
    ranges = []
    for piece in leaves.split(",") if leaves else []:
        low, _, count = piece.partition("+")
        ranges.append((int(low), int(low) + int(count)))
    if sum(end - low for low, end in ranges) != drop.events or max((end for _, end in ranges), default=0) != drop.upto:
        raise BadNote(f"it counts {drop.events} events up to leaf {drop.upto}, its list others")
    if drop.upto > drop.head.size:
        raise BadNote(f"it excuses leaves beyond the {drop.head.size} of its head")
    return drop, ranges
