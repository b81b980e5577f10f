"""Changes of many runs, for a list that keeps itself up to date: which run, its status, its last event.

Events are collected for a moment and the runs they are of looked up in one query, whatever the number of watchers, so a busy run is told
of a few times in a second and not at each step. It is live only: whoever connects, or hears `missed`, reads the list again.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Self

import structlog

from waypost_edge.api import sse
from waypost_edge.api.feed import Arrived, Feed
from waypost_edge.api.sse import Bell
from waypost_edge.api.types import ChangesAsked, RunChange
from waypost_edge.auth import Caller
from waypost_io.store.ports import Reads, RunGlance
from waypost_proto.codec import encode
from waypost_proto.errors import BadInput, WaypostError
from waypost_proto.ids import RunId, check_name
from waypost_proto.task import format_time
from waypost_proto.values import RunStatus

GATHER_SECONDS = 0.2
MAX_CHANGED = 2_000
"""Runs in one look; when more have changed, everybody is told to read the list again."""
MAX_WAITING = 2_000
"""Changes that wait for one watcher; past it, it is told to read the list again."""
_READY, _MISSED = sse.frame(b"{}", kind="ready"), sse.frame(b"{}", kind="missed")
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which changes somebody is told of."""

    caller: Caller
    agents: frozenset[str] = frozenset()
    statuses: frozenset[str] = frozenset()
    labels: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, asked: ChangesAsked, caller: Caller) -> Self:
        """Raises `BadInput`."""
        for status in asked.status:
            if status not in set(RunStatus):
                raise BadInput(f"status {status[:80]!r} is not one of {', '.join(RunStatus)}")
        agents = frozenset(check_name("agent", agent) for agent in asked.agent)
        return cls(caller=caller, agents=agents, statuses=frozenset(asked.status), labels=tuple(asked.labels.items()))

    def takes(self, run: RunGlance) -> bool:
        """Whether this change is for them. A run that has just left the statuses asked for is left out, as it is from the list."""
        return (
            self.caller.sees(run.tenant, run.agent)
            and (not self.agents or run.agent in self.agents)
            and (not self.statuses or run.status in self.statuses)
            and all(run.labels.get(name) == value for name, value in self.labels)
        )


@dataclass(eq=False, slots=True)
class _Reader:
    filter: Filter
    bell: Bell
    waiting: OrderedDict[RunId, bytes] = field(default_factory=OrderedDict)
    missed: bool = False

    def give(self, run_id: RunId, frame: bytes) -> None:
        self.waiting[run_id] = frame
        if len(self.waiting) > MAX_WAITING:
            self.waiting.clear()
            self.missed = True
        self.bell.ring()

    async def frames(self) -> AsyncGenerator[bytes, None]:
        yield _READY
        while True:
            frames = [*self.waiting.values()]
            self.waiting.clear()
            if self.missed:
                self.missed = False
                frames = [_MISSED]
            if frames:
                yield b"".join(frames)
            else:
                await self.bell.wait()
                yield b""


class RunList:
    """All who watch lists."""

    def __init__(self, feed: Feed, reads: Reads) -> None:
        self._feed = feed
        self._reads = reads
        self._readers: set[_Reader] = set()
        self._changed: dict[RunId, str] = {}
        self._told = asyncio.Event()
        self._too_many = False
        feed.on_missed(self._missed)

    @asynccontextmanager
    async def watching(self, wanted: Filter, bell: Bell) -> AsyncIterator[AsyncGenerator[bytes, None]]:
        """Frames for one watcher, never ending."""
        reader = _Reader(wanted, bell)
        async with self._feed.tap_all(self._take):
            self._readers.add(reader)
            try:
                yield reader.frames()
            finally:
                self._readers.discard(reader)

    async def run(self) -> None:
        """Look up what has changed and tell, until cancelled."""
        while True:
            await self._told.wait()
            await asyncio.sleep(GATHER_SECONDS)
            self._told.clear()
            changed, self._changed = self._changed, {}
            too_many, self._too_many = self._too_many, False
            if too_many:
                self._missed()
                continue
            try:
                await self._tell(changed)
            except WaypostError as error:
                _log.warning("changed runs cannot be looked up", error=str(error))
                self._missed()

    def _take(self, arrived: Arrived) -> None:
        if len(self._changed) >= MAX_CHANGED:
            self._too_many = True
        else:
            self._changed[arrived.run_id] = arrived.head.type
        self._told.set()

    def _missed(self) -> None:
        for reader in self._readers:
            reader.missed = True
            reader.bell.ring()

    async def _tell(self, changed: dict[RunId, str]) -> None:
        for run in await self._reads.glance(list(changed)):
            frame = b""
            for reader in self._readers:
                if reader.filter.takes(run):
                    frame = frame or sse.frame(encode(_change(run, changed[run.run_id])), kind="run")
                    reader.give(run.run_id, frame)


def _change(run: RunGlance, event_type: str) -> RunChange:
    return RunChange(
        run_id=run.run_id,
        agent=run.agent,
        tenant=run.tenant,
        status=run.status,
        seq=run.seq,
        type=event_type,
        updated_at=format_time(run.updated_at),
        labels=dict(run.labels),
    )
