"""Which partitions are ours. Renews, acquires, gives up; tells the rest of the shell what was gained and lost.

A partition is held from a monotonic moment before the renewal was asked for, for as long as the lease lasts; after that we stop by
ourselves, whatever the database says (CORRECTNESS.md rows 10, 19). Every commit confirms the epoch in Postgres besides.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Iterable

import structlog

from waypost_coordinator.ground import Ground
from waypost_io.store.ports import Lease
from waypost_proto.errors import TransientError

log = structlog.get_logger(__name__)

Gained = Callable[[Lease], Awaitable[None]]
Lost = Callable[[frozenset[int]], Awaitable[None]]
SAFETY_SHARE = 0.2
"""The share of a lease before its end at which we stop using it: room for a slow round trip."""


class Leases:
    """Run `run()` in a task. `epochs` and `published` are shared with the pipeline and change in place."""

    def __init__(self, ground: Ground, *, lease_seconds: float, gained: Gained, lost: Lost) -> None:
        self._ground = ground
        self._lease_seconds = lease_seconds
        self._gained = gained
        self._lost = lost
        self._name = f"{socket.gethostname()}.{os.getpid()}"
        self._incarnation = 0
        self._until: dict[int, float] = {}
        self._wake = asyncio.Event()
        self._stepping_down: str | None = None
        self._old_epochs: dict[int, int] = {}
        """What a step-down still has to give back while the database is away."""
        self.epochs = ground.epochs
        self.published = ground.published

    @property
    def owner(self) -> str:
        """Our name in the partitions table; a new one after each step-down, so that we can tell our own past from us."""
        return f"{self._name}.{self._incarnation}"

    def lost(self, partitions: Iterable[int]) -> None:
        """The database says that these are no longer ours."""
        self._until.update(dict.fromkeys(partitions, 0.0))
        self._wake.set()

    def step_down(self, why: str) -> None:
        """Give everything up and take it over anew, from what is committed. At once nothing is ours any more."""
        if self._stepping_down is None:
            self._stepping_down = why
            self._wake.set()

    async def take(self) -> None:
        """One round: drop what has expired, renew, acquire. Raises `TransientError`."""
        if self._stepping_down is not None:
            await self._step_down()
        await self._drop(p for p, until in self._until.items() if until <= self._ground.clock.monotonic())
        asked = self._ground.clock.monotonic()
        self._ground.clock.set(await self._ground.store.leases.now(), asked)
        if self.epochs:
            renewed = await self._ground.store.leases.renew(self.owner, self.epochs, lease_seconds=self._lease_seconds)
            held = {lease.partition for lease in renewed}
            self._until.update(dict.fromkeys(held, self._safe_until(asked)))
            await self._drop(p for p in list(self.epochs) if p not in held)
        free = self._ground.partitions - len(self.epochs)
        if free > 0:
            asked = self._ground.clock.monotonic()
            for lease in await self._ground.store.leases.acquire(self.owner, at_most=free, lease_seconds=self._lease_seconds):
                self.epochs[lease.partition] = lease.epoch
                self.published[lease.partition] = lease.published
                self._until[lease.partition] = self._safe_until(asked)
                log.info("partition_gained", partition=lease.partition, epoch=lease.epoch, position=lease.position)
                await self._gained(lease)
        self._ground.metrics.owned(len(self.epochs))

    async def run(self) -> None:
        """Rounds until cancelled, three in a lease's time, at once when something is lost."""
        while True:
            try:
                async with asyncio.timeout(self._lease_seconds / 3):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            try:
                await self.take()
            except TransientError as error:
                log.warning("leases_not_renewed", error=str(error))
                await self._drop(p for p, until in list(self._until.items()) if until <= self._ground.clock.monotonic())
                await asyncio.sleep(min(0.5, self._lease_seconds / 10))
                self._wake.set()

    async def release(self) -> None:
        """Give all partitions back, so that another replica need not wait for the leases to end. Idempotent."""
        epochs = dict(self.epochs)
        await self._drop(list(epochs))
        try:
            await self._ground.store.leases.release(self.owner, epochs)
        except TransientError as error:
            log.warning("leases_not_released", error=str(error))

    async def _step_down(self) -> None:
        log.warning("stepping_down", why=self._stepping_down)
        old_owner, epochs = self.owner, dict(self.epochs) or dict(self._old_epochs)
        await self._drop(list(self.epochs))
        self._old_epochs = epochs
        await self._ground.store.leases.release(old_owner, epochs)
        self._old_epochs = {}
        self._incarnation += 1
        self._stepping_down = None

    async def _drop(self, partitions: Iterable[int]) -> None:
        gone = frozenset(partitions) & self.epochs.keys()
        for partition in gone:
            del self.epochs[partition], self.published[partition]
            self._until.pop(partition, None)
        if gone:
            log.info("partitions_dropped", partitions=sorted(gone))
            await self._lost(gone)

    def _safe_until(self, asked_at: float) -> float:
        return asked_at + self._lease_seconds * (1 - SAFETY_SHARE)
