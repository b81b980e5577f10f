"""A log and a bus whose answers wait until a test lets them through."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Any

from waypost_io.bus.memory import MemoryBroker, MemoryBus
from waypost_io.bus.ports import Headers, PubAck
from waypost_io.store.ports import Commit, CommitResult, RunRow
from waypost_proto.errors import BadMessage, PublishTimeout, SequenceTaken
from waypost_proto.ids import RunId


class GatedLog:
    """The log of a store, whose commits wait at `gate`, and their answers at `told`; a batch that touches a run of `poison` is refused.
    `commits` keeps them all, `sought` the runs that were looked for."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.gate = asyncio.Event()
        self.gate.set()
        self.told = asyncio.Event()
        self.told.set()
        self.waiting = 0
        self.commits: list[Commit] = []
        self.poison: set[RunId] = set()
        self.refused: list[int] = []
        """Numbers of events in refused batches."""
        self.sought: list[RunId] = []

    async def load_runs(self, run_ids: Sequence[RunId]) -> dict[RunId, RunRow]:
        self.sought.extend(run_ids)
        found: dict[RunId, RunRow] = await self._inner.load_runs(run_ids)
        return found

    async def commit(self, batch: Commit) -> CommitResult:
        self.waiting += 1
        try:
            await self.gate.wait()
        finally:
            self.waiting -= 1
        if any(event.run_id in self.poison for event in batch.events):
            self.refused.append(len(batch.events))
            raise BadMessage("the database cannot hold this (a test said so)")
        try:
            result: CommitResult = await self._inner.commit(batch)
        except SequenceTaken:
            self.refused.append(len(batch.events))
            raise
        self.commits.append(batch)
        await self.told.wait()
        return result

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class GatedBus(MemoryBus):
    """Publishes on subjects that contain `held` wait at `gate`; the next `time_out` ones are stored and not confirmed."""

    def __init__(self, broker: MemoryBroker) -> None:
        super().__init__(broker)
        self.held = ""
        self.gate = asyncio.Event()
        self.time_out = 0
        self.published: list[tuple[str, str]] = []
        """(subject, message id) of every publish, in order, repeats too."""

    def publish(self, subject: str, body: bytes, *, headers: Headers | None = None, msg_id: str | None = None) -> Awaitable[PubAck]:
        self.published.append((subject, msg_id or ""))
        if self.held and self.held in subject:
            return asyncio.ensure_future(self._later(subject, body, headers, msg_id))
        if self.time_out and self.held == "":
            self.time_out -= 1
            super().publish(subject, body, headers=headers, msg_id=msg_id)
            return asyncio.ensure_future(self._unconfirmed())
        return super().publish(subject, body, headers=headers, msg_id=msg_id)

    async def _later(self, subject: str, body: bytes, headers: Headers | None, msg_id: str | None) -> PubAck:
        await self.gate.wait()
        return await super().publish(subject, body, headers=headers, msg_id=msg_id)

    async def _unconfirmed(self) -> PubAck:
        raise PublishTimeout("a test said so")
