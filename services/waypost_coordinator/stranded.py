"""Finds activations for any worker of a build that ended while nobody owned their runs' partition.

Whoever owns a partition when the last worker of a build goes gives its runs to another build (`sweep`). A deploy that stops everything,
or a coordinator that dies at the same moment, leaves nobody to do that; and of a run that nobody has answered yet the log does not say
which build it was given to. The stream does: activations lie where nobody takes them. So for each partition that comes to us that is
looked at once, when every worker that lives has had the time to be heard.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection

import structlog

from waypost_coordinator.ground import Ground
from waypost_proto.errors import WaypostError
from waypost_proto.subjects import ANY_WORKER

log = structlog.get_logger(__name__)

AGAIN_SECONDS = 1.0

Builds = Collection[tuple[str, str]]


class Stranded:
    """`lives` says whether a worker hosts an (agent, build); `move` gives the untaken runs of builds and partitions out again.
    A partition is looked at `seconds` after `gained`. Run `run()` in a task."""

    def __init__(
        self,
        ground: Ground,
        *,
        lives: Callable[[str, str], bool],
        move: Callable[[Builds, Collection[int]], Awaitable[int]],
        seconds: float,
    ) -> None:
        self._ground = ground
        self._lives = lives
        self._move = move
        self._seconds = seconds
        self._due: dict[int, float] = {}
        self._note = asyncio.Event()

    def gained(self, partition: int) -> None:
        """A partition is ours now. Idempotent: it is looked at once, counted from the last time."""
        self._due[partition] = asyncio.get_running_loop().time() + self._seconds
        self._note.set()

    async def run(self) -> None:
        """Until cancelled. What fails is done a second later."""
        while True:
            if not self._due:
                self._note.clear()
                await self._note.wait()
            await asyncio.sleep(max(0.0, min(self._due.values()) - asyncio.get_running_loop().time()))
            try:
                await self.look()
            except WaypostError as error:
                log.debug("stranded_not_looked_for", error=str(error))
                await asyncio.sleep(AGAIN_SECONDS)

    async def look(self) -> int:
        """Look at the partitions that are due; the number of runs given out again. Raises `Unreachable`."""
        now = asyncio.get_running_loop().time()
        due = {partition: at for partition, at in self._due.items() if at <= now}
        ours = due.keys() & self._ground.epochs.keys()
        ended = await self._ended() if ours else set()
        count = await self._move(ended, ours) if ended else 0
        if count:
            log.warning("activations_lay_at_ended_builds", builds=sorted(f"{agent}@{build}" for agent, build in ended), runs=count)
        for partition, at in due.items():
            if self._due.get(partition) == at:  # it may have been lost and gained again meanwhile
                del self._due[partition]
        return count

    async def _ended(self) -> set[tuple[str, str]]:
        """Builds that activations for any worker wait for, and that nobody hosts."""
        subjects = self._ground.subjects
        found = await self._ground.bus.subjects(subjects.stream("WORK"), subjects.all_work())
        places = (subject.split(".")[-3:] for subject in found)
        waited_for = {(agent, build) for agent, build, worker in places if worker == ANY_WORKER}
        return {(agent, build) for agent, build in waited_for if not self._lives(agent, build)}
