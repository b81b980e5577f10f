"""Taking a partition over: publish again what lies above the published position, and nothing else (CORRECTNESS.md row 13).

Events keep their ids and dispatches keep theirs, so what had reached JetStream is recognised there. Work in progress at workers and
gateways is not touched. Mail between runs that nobody has received yet is read from its table.
"""

from __future__ import annotations

import structlog

from waypost_coordinator.ground import Ground
from waypost_coordinator.lately import WAKES
from waypost_coordinator.letters import Letter, Rederive
from waypost_coordinator.settling import Settler
from waypost_io.store.ports import Lease
from waypost_proto.codec import decode_union
from waypost_proto.ids import RunId
from waypost_proto.mailbox import AnyMail

log = structlog.get_logger(__name__)

PAGE = 1_000


class TakeOver:
    """What happens to a partition between getting its lease and opening its mailbox."""

    def __init__(self, ground: Ground, settler: Settler) -> None:
        self._ground = ground
        self._settler = settler

    async def take_over(self, lease: Lease) -> list[Letter]:
        """Publish what may not have been published; what the decider must see before anything else. Raises `Unreachable`.

        Doing it twice is harmless.
        """
        first: dict[RunId, int] = {}
        woken: set[RunId] = set()
        position = lease.published
        while True:
            rows = await self._ground.store.log.events_after(lease.partition, position, limit=PAGE)
            await self._settler.settle_now(self._settler.publish_events(rows))
            for row in rows:
                first.setdefault(row.run_id, row.seq)
                if row.type in WAKES:
                    woken.add(row.run_id)
            if len(rows) < PAGE:
                break
            position = rows[-1].position
        letters = [
            Letter(mail=Rederive(above=seq - 1, fresh=False, wake=run_id in woken), run_id=run_id, partition=lease.partition)
            for run_id, seq in first.items()
        ]
        mail = await self.unreceived(lease.partition)
        if first or mail:
            log.info("partition_taken_over", partition=lease.partition, epoch=lease.epoch, runs=len(first), mail=len(mail))
        return [*letters, *mail]

    async def unreceived(self, partition: int) -> list[Letter]:
        """The messages between runs that their receivers have not recorded. One that is received twice has no effect."""
        letters: list[Letter] = []
        after = ""
        while True:
            rows = await self._ground.store.log.inbox(partition, after=after, limit=PAGE)
            for row in rows:
                mail = decode_union(AnyMail, row.body)
                letters.append(Letter(mail=mail, run_id=row.run_id, partition=partition, inbox_id=row.message_id, in_order=True))
            if len(rows) < PAGE:
                return letters
            after = rows[-1].message_id
