"""The timers of our partitions: rows in Postgres, a heap in memory of what is due soon, no polling per run.

A timer that is set further ahead than the horizon stays in Postgres until a look-ahead finds it. Firing hands a letter to the decider;
a timer that means nothing any more is cleared there.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Iterable

import structlog

from waypost_coordinator.batch import TimerKey
from waypost_coordinator.clock import DatabaseClock
from waypost_io.store.ports import Store, TimerRow
from waypost_proto.errors import TransientError
from waypost_proto.ids import RunId

log = structlog.get_logger(__name__)

HORIZON_SECONDS = 120.0
LOOK_AHEAD_SECONDS = 60.0
PAGE = 5_000
MOST = 1_000_000
"""At most so many timers are held in memory; paused runs keep theirs due, and must not keep others from being read."""

Fire = Callable[[RunId, int, tuple[str, ...]], None]
"""Called with run, partition and the ids of its timers that are due."""


class Timers:
    """Run `run()` in a task. `set`, `clear`, `drop` are called after commits; they never wait."""

    def __init__(self, store: Store, clock: DatabaseClock, fire: Fire) -> None:
        self._store = store
        self._clock = clock
        self._fire = fire
        self._heap: list[tuple[float, TimerKey]] = []
        self._due: dict[TimerKey, tuple[float, int]] = {}
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        return len(self._due)

    def set(self, row: TimerRow) -> None:
        """Remember a timer if it is due within the horizon; a second call moves it."""
        key = (row.run_id, row.timer_id)
        if row.due_at > self._clock.now() + HORIZON_SECONDS:
            self._due.pop(key, None)
            return
        self._due[key] = (row.due_at, row.partition)
        heapq.heappush(self._heap, (row.due_at, key))
        if self._heap[0][1] == key:
            self._changed.set()

    def clear(self, key: TimerKey) -> None:
        self._due.pop(key, None)

    def drop(self, partitions: Iterable[int]) -> None:
        """Forget the timers of partitions that are no longer ours."""
        gone = set(partitions)
        self._due = {key: due for key, due in self._due.items() if due[1] not in gone}

    async def load(self, partitions: Iterable[int]) -> None:
        """Read what is due within the horizon. Raises `Unreachable`."""
        owned, before, limit = list(partitions), self._clock.now() + HORIZON_SECONDS, PAGE
        while True:
            rows = await self._store.timers.due(owned, before=before, limit=limit)
            if len(rows) < limit or limit >= MOST:
                break
            limit = min(limit * 8, MOST)
        for row in rows:
            if (row.run_id, row.timer_id) not in self._due:
                self.set(row)

    async def run(self, partitions: Callable[[], Iterable[int]]) -> None:
        """Fire what is due and look ahead, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._fire_forever())
            group.create_task(self._look_ahead_forever(partitions))

    async def _fire_forever(self) -> None:
        while True:
            self._fire_due()
            self._changed.clear()
            wait = None if not self._heap else max(0.0, self._heap[0][0] - self._clock.now())
            try:
                async with asyncio.timeout(wait):
                    await self._changed.wait()
            except TimeoutError:
                pass

    def _fire_due(self) -> None:
        now = self._clock.now()
        due: dict[tuple[RunId, int], list[str]] = {}
        while self._heap and self._heap[0][0] <= now:
            due_at, key = heapq.heappop(self._heap)
            current = self._due.get(key)
            if current is not None and current[0] == due_at:
                del self._due[key]
                due.setdefault((key[0], current[1]), []).append(key[1])
        for (run_id, partition), timer_ids in due.items():
            self._fire(run_id, partition, tuple(timer_ids))

    async def _look_ahead_forever(self, partitions: Callable[[], Iterable[int]]) -> None:
        while True:
            await asyncio.sleep(LOOK_AHEAD_SECONDS)
            try:
                await self.load(partitions())
            except TransientError as error:
                log.warning("timers_not_read", error=str(error))
