"""The checker: leaves in order go in, with the bytes of their events, and the signed heads; a report comes out. Memory: one number per run.

It computes each leaf from the event's bytes. Where the record also tells the leaf hash, both are kept apart from the first difference on,
and the next head says which of them was signed: so an event that was changed is told from a leaf hash that was. What has no difference of
its own shows at the first head whose root does not come out, and lies between it and the head before.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from waypost_core.audit.drops import Dropped
from waypost_core.audit.growing import GrowingTree, StoredNode
from waypost_core.audit.heads import Head, parse_head
from waypost_core.audit.keyring import Keyring
from waypost_core.audit.leaves import event_leaf
from waypost_core.audit.notes import BadNote, Note
from waypost_core.audit.report import Finding, Findings, Kind, Report
from waypost_proto.task import format_time


class _Named(msgspec.Struct):
    """What an event's bytes say of themselves."""

    run_id: str
    seq: int


KEPT = "head that was kept elsewhere"
_named = msgspec.json.Decoder(_Named).decode


class Checker:
    """Feed it in order of index: `event`, `lost`, `skip`, and each head by `head` when `size` has reached it; then `finish`.

    `every_event`: no event of any run is left out, so each run counts 1, 2, 3 …; otherwise its numbers only rise.
    """

    def __init__(self, ring: Keyring, *, every_event: bool = True, tree: GrowingTree | None = None) -> None:
        self.findings = Findings()
        self._ring = ring
        self._every_event = every_event
        self._told = tree or GrowingTree()
        self._actual: GrowingTree | None = None
        """The tree of the events' own leaves, from the first that differs from what was told."""
        self._buffer = bytearray()
        self._actual_buffer = bytearray()
        self._nodes: list[StoredNode] = []
        self._disputed: list[Finding] = []
        self._last_seq: dict[str, int] = {}
        self._computable = True
        self._size = self._good_size = self._told.size
        self._events = self._heads = self._leaves = 0
        self._head: Head | None = None
        self._head_key = ""
        self._dropped: Dropped | None = None
        self._roots: list[tuple[Head, str]] = []
        self._excused = 0
        for problem in ring.problems:
            self.add("key", problem)

    @property
    def size(self) -> int:
        """Leaves so far."""
        return self._size

    def add(self, kind: Kind, text: str, **where: Any) -> None:
        """Something is wrong."""
        self.findings.add(Finding(kind=kind, text=text, **where))

    def event(self, run_id: str, seq: int, body: bytes, told: bytes | None = None, *, line: int | None = None) -> None:
        """The next leaf is this event. `told`: the leaf hash that the record gives, if it does."""
        index = self._size
        try:
            leaf = event_leaf(run_id, seq, body)
        except (ValueError, OverflowError):
            leaf = told or b"\0" * 32
            self.add("misfiled", f"leaf {index}: {run_id!r}, {seq} cannot be an event", index=index, line=line)
        if told is not None and told != leaf:
            self._dispute(index, run_id, seq, line)
        self._buffer += told or leaf
        if self._actual is not None:
            self._actual_buffer += leaf
        self._size = index + 1
        if self._roots:
            self._statements_at(self._size)
        self._events += 1
        self._leaves += 1
        self._number(index, run_id, seq, line)
        self._names(index, run_id, seq, body, line)

    def allow(self, dropped: Dropped) -> None:
        """What retention has dropped on record; statements that are not good are findings."""
        self._dropped = dropped
        self._roots = sorted(((drop.head, drop.what) for drop in dropped.good), key=lambda each: -each[0].size)
        for problem in dropped.problems:
            self.add("drop", problem)

    def excused(self, low: int, high: int) -> bool:
        """Whether the events of these leaves were dropped on record; if so they are counted."""
        if self._dropped is None or not self._dropped.covers(low, high):
            return False
        self._excused += high - low
        return True

    def _statements_at(self, size: int) -> None:
        """The heads that statements name, of sizes that are reached: their roots are this log's."""
        while self._roots and self._roots[-1][0].size <= size:
            head, what = self._roots.pop()
            if head.size < size or not self._computable:
                continue
            self._flush()
            if head.root not in (self._told.root, self._actual.root if self._actual else b""):
                text = f"the statement that {what} was dropped names another root of {head.size} leaves than this log has"
                self.add("drop", text, index=head.size)

    def lost(self, told: bytes) -> None:
        """The next leaf is known, its event is not there. Says nothing of itself."""
        self._buffer += told
        if self._actual is not None:
            self._actual_buffer += told
        self._size += 1
        self._leaves += 1
        if self._roots:
            self._statements_at(self._size)

    def skip(self, height: int, hash_: bytes) -> None:
        """The next 2**height leaves are left out on purpose. Raises `ValueError` when such a subtree cannot begin here."""
        self._flush()
        for tree in filter(None, (self._told, self._actual)):
            if self._computable:
                tree.append_subtree(height, hash_)
        self._size += 1 << height
        if self._roots:
            self._statements_at(self._size)

    def jump(self, size: int) -> None:
        """Go on at another size: leaves are missing or come twice, and no root can be computed from here on."""
        self._flush()
        self._computable = False
        self._size = size

    def take_nodes(self) -> list[StoredNode]:
        """The nodes that the database should have kept of the leaves since the last call."""
        self._flush()
        found, self._nodes = self._nodes, []
        return found

    def _flush(self) -> None:
        """Take what was fed into the tree."""
        if self._computable:
            self._nodes += self._told.extend(bytes(self._buffer))
            if self._actual is not None:
                self._actual.extend(bytes(self._actual_buffer))
        self._buffer.clear()
        self._actual_buffer.clear()

    def head(self, note: str, *, what: str = "head") -> None:
        """A head of the size that is reached. One of another size, or one that cannot be read, is a finding."""
        parsed = self.parse(note, what)
        if parsed is None:
            return
        head, signed = parsed
        if head.size != self._size:
            self.add("head", f"a {what} of {head.size} leaves stands where {self._size} leaves are", index=head.size)
            return
        self._root(head, signed, what)

    def parse(self, note: str, what: str = "head") -> tuple[Head, Note] | None:
        """Read a head; what cannot be read, or is not signed by the right key, is a finding."""
        try:
            head, signed = parse_head(note)
        except BadNote as error:
            self.add("head", f"a {what} cannot be read: {error}")
            return None
        fault = self._ring.fault(head, signed)
        if fault:
            self.add("head", f"the {what} of {head.size} leaves is not good: {fault}", index=head.size)
            return None
        return head, signed

    def beyond(self, notes: Iterable[str], what: str = "head") -> None:
        """Heads of more leaves than there are."""
        for note in notes:
            parsed = self.parse(note, what)
            if parsed is not None:
                size = parsed[0].size
                text = f"a signed {what} covers {size} leaves, there are {self._size}: the end, from leaf {self._size} on, is missing"
                self.add("truncated", text, index=self._size, until=size)

    def finish(self, origin: str, *, trusted: bool) -> Report:
        """The report. Idempotent once everything is fed."""
        self._flush()
        self._settle("the event or its leaf hash was changed")
        head = self._head
        return Report(
            ok=not self.findings,
            origin=origin,
            leaves=self._leaves,
            events=self._events,
            runs=len(self._last_seq),
            heads=self._heads,
            signed_size=head.size if head else 0,
            signed_at=format_time(head.time) if head else "",
            key_id=self._head_key,
            trusted=trusted,
            findings=sorted(self.findings.kept, key=lambda found: (found.index is None, found.index or 0)),
            more_findings=self.findings.more,
            dropped=self._excused,
        )

    # -- events

    def _dispute(self, index: int, run_id: str, seq: int, line: int | None) -> None:
        text = f"event {seq} of run {run_id} (leaf {index}) does not fit its leaf hash"
        self._disputed.append(Finding(kind="edited", text=text, index=index, run_id=run_id, seq=seq, line=line))
        if self._actual is None:
            self._flush()
            self._actual = self._told.copy()

    def _settle(self, verdict: str) -> None:
        for found in self._disputed:
            self.findings.add(msgspec.structs.replace(found, text=f"{found.text}: {verdict}"))
        self._disputed.clear()

    def _number(self, index: int, run_id: str, seq: int, line: int | None) -> None:
        last = self._last_seq.get(run_id)
        if last is None and not self._every_event:
            last = seq - 1
        expected = (last or 0) + 1
        self._last_seq[run_id] = max(seq, last or 0)
        if seq == expected or (seq > expected and not self._every_event):
            return
        if seq < expected:
            self.add(
                "order",
                f"event {seq} of run {run_id} (leaf {index}) comes after event {last}",
                index=index,
                run_id=run_id,
                seq=seq,
                line=line,
            )
        else:
            which = f"event {expected} is" if seq == expected + 1 else f"events {expected} to {seq - 1} are"
            text = f"run {run_id}: after event {last or 'none'} comes event {seq} (leaf {index}), {which} missing"
            self.add("missing", text, index=index, run_id=run_id, seq=expected, line=line)

    def _names(self, index: int, run_id: str, seq: int, body: bytes, line: int | None) -> None:
        try:
            named = _named(body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            self.add(
                "misfiled", f"leaf {index}: the bytes of event {seq} of run {run_id} are no event", index=index, run_id=run_id, seq=seq
            )
            return
        if named.seq != seq or named.run_id != run_id:
            text = f"leaf {index}: the bytes filed as event {seq} of run {run_id} are event {named.seq} of run {named.run_id}"
            self.findings.add(Finding(kind="misfiled", text=text, index=index, run_id=run_id, seq=seq, line=line))

    # -- heads

    def _root(self, head: Head, signed: Note, what: str) -> None:
        self._flush()
        if not self._computable:
            return
        if self._told.root == head.root:
            self._settle("the event was changed since it was signed")
        elif self._actual is not None and self._actual.root == head.root:
            self._settle("its leaf hash was changed, the event is as it was signed")
            self._told = self._actual
        else:
            self._wrong_root(head, what)
            return
        for statement in self._ring.statements:
            if statement.size == head.size and statement.root != head.root:
                self.add("key", f"the statement of key {statement.new.key_id} names another root of {head.size} leaves than the head does")
        self._actual = None
        self._good_size = head.size
        self._heads += 1
        self._head = head
        self._head_key = next((each.key_id for each in signed.signatures), "")

    def _wrong_root(self, head: Head, what: str) -> None:
        if what == KEPT or (self._heads and head.size == self._good_size):
            text = f"the {what} of {head.size} leaves has another root than this log at that size: the log was forked, or written anew"
            self.add("forked", text, index=head.size)
            return
        text = f"the root of the first {head.size} leaves is not the one of the signed {what}: something in leaves "
        text += f"{self._good_size} to {head.size - 1} was changed, removed, added or reordered"
        if self._disputed:
            self._settle("the event or its leaf hash was changed")
        self.add("root", text, index=self._good_size, until=head.size)
        self._computable = False  # every later root is wrong too, and says no more
