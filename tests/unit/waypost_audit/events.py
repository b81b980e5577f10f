"""A log to audit: commits events as a coordinator does, on any store."""

from __future__ import annotations

import hashlib
import itertools
import os
import time
from dataclasses import dataclass, field

from waypost_io.store.ports import Commit, EventRow, Store
from waypost_proto.ids import RunId, uuid7

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
        body = f'{{"run_id":"{run_id}","seq":{seq},"text":"\u00e9 {partition}"}}'.encode()
        return EventRow(run_id, seq, "state_changed", partition, self.positions[partition], time.time(), body)


async def check_log(store: Store, written: list[EventRow]) -> None:
    """The audit log holds exactly these events: each once, per partition in order, numbered without a gap, with true digests."""
    entries = await store.audit.entries(limit=1_000_000)
    assert [index for index, _, _ in entries] == list(range(1, len(entries) + 1))
    for partition in range(PARTITIONS):
        taken = [(event.run_id, event.seq, event.position) for _, event, _ in entries if event.partition == partition]
        assert taken == [(event.run_id, event.seq, event.position) for event in written if event.partition == partition]
    bodies = {(event.run_id, event.seq): event.body for event in written}
    for _, event, digest in entries:
        assert digest == hashlib.sha256(bodies[event.run_id, event.seq]).digest()
