"""A place outside of everything that keeps heads of the audit log, fails now and then, and what must hold of it.

It survives every process and every disk of the deployment: what it was given cannot be taken back, so a head that the log does not have any
more, or has differently, is found there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.simulation.chance import Chance
from tests.simulation.loop import Process
from tests.simulation.trouble import Trouble
from waypost_audit.anchors.settings import NamedAnchor
from waypost_core.audit.growing import GrowingTree
from waypost_core.audit.heads import parse_head
from waypost_io.audit.anchoring import HeadRecord, check_after, record_line
from waypost_io.store.memory import MemoryDatabase

NAME = "outside"


class Anchorage:
    """An `Anchor` for every audit logger of a simulation. `violations` are what it saw while it happened."""

    def __init__(self, trouble: Trouble, chance: Chance) -> None:
        self._trouble = trouble
        self._chance = chance
        trouble.odd_anchors = chance.pick([0.0, 0.1, 0.5])
        self.kept: list[HeadRecord] = []
        self.violations: list[str] = []

    @property
    def anchors(self) -> list[NamedAnchor]:
        """As a logger's file of anchors would give them."""
        return [NamedAnchor(NAME, 1.0, self)]

    def put(self, head: HeadRecord) -> str:
        """See `waypost_io.audit.anchoring.Anchor`. It may fail before it has kept the head, and after."""
        if self._chance.hits(self._trouble.odd_anchors):
            raise OSError("the place is away")
        last = record_line(self.kept[-1]) if self.kept else b""
        if check_after(last, head, NAME):
            self.kept.append(head)
        if self._chance.hits(self._trouble.odd_anchors):
            raise OSError("the place does not say whether it kept the head")
        return f"line {len(self.kept)}"

    def observe(self, process: Process, statement: str, args: tuple[Any, ...], _kwargs: dict[str, Any], outcome: Any) -> None:
        """What the database says that a place has, it has: whoever looks there for a head would else find a gap."""
        if statement == "audit.anchored" and not isinstance(outcome, BaseException):
            has = self.kept[-1].size if self.kept else 0
            if args[0].size > has:
                self.violations.append(f"{process.name} noted a head of {args[0].size} leaves as anchored, the place has {has}")

    def faults(self, tables: MemoryDatabase) -> Iterator[str]:
        """In the end the place has the newest head, and every head that it has is one that this log signed, over these leaves."""
        tree, at = GrowingTree(), 0
        signed = {row.note for row in tables.audit.heads.values()}
        for record in self.kept:
            head, _ = parse_head(record.note)
            tree.extend(bytes(tables.audit.leaves[at * 32 : head.size * 32]))
            at = head.size
            if record.note not in signed or (head.size, head.root) != (tree.size, tree.root):
                yield f"the anchored head of {head.size} leaves is not of this log"
        newest = max((size for size, _ in tables.audit.heads), default=0)
        if newest and at != newest:
            yield f"the newest head of {newest} leaves was not anchored, one of {at} was"
