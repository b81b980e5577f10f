"""Removes activations that lie on the subject of a worker that is gone (CORRECTNESS.md row 22).

When a worker is lost its runs are given out again at once (`sweep`), and what lay on its subject is stale. Not removed at that
moment: another replica may still hear the worker, and would never send again what it sent. But whoever has not been heard at
two looks in a row, minutes apart, is gone for every replica. A lifetime on each message (`Nats-TTL`) would do it too, and costs the
server a tenth of its CPU time per step.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from waypost_io.bus.ports import Bus
from waypost_proto.errors import WaypostError
from waypost_proto.subjects import ANY_WORKER, Subjects

log = structlog.get_logger(__name__)

LOOK_SECONDS = 300.0


class Lingering:
    """`alive` says whether a worker was heard lately. Run `run()` in a task."""

    def __init__(self, bus: Bus, subjects: Subjects, alive: Callable[[str], bool]) -> None:
        self._bus = bus
        self._subjects = subjects
        self._alive = alive
        self._gone: set[str] = set()

    async def run(self, seconds: float = LOOK_SECONDS) -> None:
        """Every `seconds`, until cancelled. What fails is done at the next look."""
        while True:
            await asyncio.sleep(seconds)
            try:
                await self.look()
            except WaypostError as error:
                log.debug("lingering_not_looked_at", error=str(error))

    async def look(self) -> int:
        """Remove what lies on the subjects of workers that were gone at the last look and still are; the number of messages."""
        stream = self._subjects.stream("WORK")
        found = await self._bus.subjects(stream, self._subjects.all_work())
        workers = {subject: subject.rpartition(".")[2] for subject in found}
        gone = {worker for worker in workers.values() if worker != ANY_WORKER and not self._alive(worker)}
        removed = 0
        for subject, worker in workers.items():
            if worker in gone & self._gone:
                removed += await self._bus.purge(stream, subject)
        if removed:
            log.info("stale_activations_removed", messages=removed, workers=sorted(gone & self._gone))
        self._gone = gone
        return removed
