"""A log to audit: commits events as a coordinator does, on any store."""

from __future__ import annotations

import itertools
import os
import time
from dataclasses import dataclass, field
from uuid import UUID

from waypost_core.audit.growing import GrowingTree
from waypost_core.audit.merkle import leaf_hash
from waypost_io.audit.tree import read_tree
from waypost_io.store.ports import Commit, EventRow, Store
from waypost_proto.ids import RunId, uuid7
from waypost_proto.task import format_time

PARTITIONS = 3
OWNER = "scribe"


@dataclass
class Scribe:
    """The only writer of the event log in a test."""

    store: Store
    url: str = ""
    """Of the database, where it has one."""
    epochs: dict[int, int] = field(default_factory=dict)
    positions: dict[int, int] = field(default_factory=dict)
    written: list[EventRow] = field(default_factory=list)
    _runs: dict[int, tuple[RunId, itertools.count[int]]] = field(default_factory=dict)

    async def start(self) -> Scribe:
        await self.store.leases.ensure_partitions(PARTITIONS)
        for lease in await self.store.leases.acquire(OWNER, at_most=PARTITIONS, lease_seconds=3_600):
            self.epochs[lease.partition] = lease.epoch
            self.positions[lease.partition] = lease.position
        assert len(self.epochs) == PARTITIONS
        return self

    async def stop(self) -> None:
        await self.store.leases.release(OWNER, self.epochs)

    async def write(self, counts: dict[int, int], *, gap: int = 0) -> list[EventRow]:
        """Commit so many events per partition in one transaction; `gap` positions are left out before the first of each."""
        events = []
        for partition, count in counts.items():
            self.positions[partition] += gap
            events += [self._event(partition) for _ in range(count)]
        leases = [(p, self.epochs[p], self.positions[p], 0) for p in counts]
        result = await self.store.log.commit(Commit(owner=OWNER, leases=leases, events=events))
        assert not result.lost
        self.written += events
        return events

    def _event(self, partition: int) -> EventRow:
        run_id, seqs = self._runs.setdefault(partition, (uuid7(int(time.time() * 1000), os.urandom(10)), itertools.count(1)))
        self.positions[partition] += 1
        seq = next(seqs)
        at = round(time.time(), 6)
        named = f'"run_id":"{run_id}","seq":{seq},"type":"state_changed","agent":"clerk","recorded_at":"{format_time(at)}"'
        body = f'{{{named},"data": {{"text":"\u00e9 {partition}","approved_by":"ann","policy":"7"}}}}'.encode()
        return EventRow(run_id, seq, "state_changed", partition, self.positions[partition], at, body)


async def check_log(store: Store, written: list[EventRow]) -> None:
    """The audit log holds exactly these events: each once, per partition in order, numbered without a gap, with true leaves and tree."""
    size = (await store.audit.state()).size
    entries = await store.audit.entries(0, size)
    assert [index for index, _ in entries] == list(range(size))
    for partition in range(PARTITIONS):
        taken = [(event.run_id, event.seq, event.position) for _, event in entries if event.partition == partition]
        assert taken == [(event.run_id, event.seq, event.position) for event in written if event.partition == partition]
    bodies = {(event.run_id, event.seq): event.body for event in written}
    leaves = [leaf_hash(b"\x01" + UUID(e.run_id).bytes + e.seq.to_bytes(8, "big") + bodies[e.run_id, e.seq]) for _, e in entries]
    assert await store.audit.hashes(0, 0, size) == b"".join(leaves)
    tree = GrowingTree()
    for level, index, kept in tree.extend(b"".join(leaves)):
        assert await store.audit.hashes(level, index, index + 1) == kept
    assert (await read_tree(store.audit, size)).root == tree.root


async def taken(scribe: Scribe) -> bool:
    """Whether everything that was written is in the audit log."""
    return (await scribe.store.audit.state()).size == len(scribe.written)
