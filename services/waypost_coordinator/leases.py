"""Which partitions are ours. Renews, acquires, gives up; tells the rest of the shell what was gained and lost.

A partition is held from a monotonic moment before the renewal was asked for, for as long as the lease lasts; after that we stop by
ourselves, whatever the database says (CORRECTNESS.md rows 10, 19). Every commit confirms the epoch in Postgres besides.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Protocol

import structlog

from waypost_coordinator.ground import Ground
from waypost_io.store.ports import Lease
from waypost_proto.errors import TransientError
from waypost_proto.registry import News

log = structlog.get_logger(__name__)

Gained = Callable[[Lease], Awaitable[None]]
Lost = Callable[[frozenset[int]], Awaitable[None]]


class Sharing(Protocol):
    """How partitions are shared out among replicas (`sharing.Replicas`)."""

    def share(self) -> int: ...
    def announce(self, news: News = "here") -> None: ...


ROUNDS = 3
"""In a lease's time."""
ROUNDS_WANTING = 12
"""The same while a partition that should be ours is somebody else's: its owner gives it back, or died, and its lease ends."""
REST_SECONDS = 0.1
"""Before partitions are taken over again after a second step-down in a short time; twice as long after each further one, at most
half a lease. A database that answers and refuses every commit (its disk is full) would have them change hands dozens of times a second."""
SAFETY_SHARE = 0.2
"""The share of a lease before its end at which we stop using it: room for a slow round trip."""


class Leases:
    """Run `run()` in a task. `epochs` and `published` are shared with the pipeline and change in place.

    `gained` takes a partition over and calls `admit` once what must come first is queued; before that it is not ours to decide in, or the
    published position could pass what the take-over has still to publish (CORRECTNESS.md row 12).
    """

    def __init__(self, ground: Ground, *, lease_seconds: float, gained: Gained, lost: Lost) -> None:
        self._ground = ground
        self._lease_seconds = lease_seconds
        self._gained = gained
        self._lost = lost
        self.name = f"{socket.gethostname()}.{os.getpid()}.{ground.name}"
        """Of this process, for the other replicas."""
        self.replicas: Sharing | None = None
        """With whom the partitions are shared; None: they are all for us."""
        self._incarnation = 0
        self._until: dict[int, float] = {}
        self._wake = asyncio.Event()
        self._stepping_down: str | None = None
        self._to_release: dict[int, int] = {}
        """What a step-down has to give back, also when the database is away for a while."""
        self._ended = False
        """Everything was given back for good."""
        self._wanting = False
        """Less than our share is ours, and the rest was not free."""
        self._hasty = 0
        """Step-downs that followed soon on another."""
        self._stepped_down_at = -float("inf")
        self._rest_until = -float("inf")
        self._leaving: set[int] = set()
        """No longer ours, and the rest of the shell was not told yet."""
        self.epochs = ground.epochs
        self.published = ground.published

    @property
    def owner(self) -> str:
        """Our name in the partitions table; a new one after each step-down, so that we can tell our own past from us."""
        return f"{self.name}.{self._incarnation}"

    def lost(self, partitions: Iterable[int]) -> None:
        """The database says that these are no longer ours. At once they are not."""
        self._give_up(partitions)
        self._wake.set()

    def step_down(self, why: str) -> None:
        """Give everything up and take it over anew, from what is committed. At once nothing is ours any more."""
        self._stepping_down = self._stepping_down or why
        self._to_release.update(self.epochs)
        self._give_up(list(self.epochs))
        self._wake.set()

    def hold(self, partitions: Iterable[int]) -> bool:
        """Whether all of these are ours at this moment. A process that was stopped finds out here that its time is over."""
        now = self._ground.clock.monotonic()
        late = [p for p in partitions if self._until.get(p, 0.0) <= now]
        if late:
            self.lost(late)
        return not late

    def admit(self, lease: Lease) -> None:
        """A partition that `gained` was called for is taken over: from now on it is ours to decide in."""
        if lease.partition not in self._until:
            return  # its time ran out while it was taken over; owned without a time it would be renewed after its mailbox is closed
        self.epochs[lease.partition] = lease.epoch
        self.published[lease.partition] = lease.published

    async def take(self) -> None:
        """One round: drop what has expired, renew, acquire. Raises `TransientError`."""
        if self._ended:
            return
        if self._stepping_down is not None:
            await self._step_down()
        self._give_up(self._expired())
        await self._tell()
        asked = self._ground.clock.monotonic()
        self._ground.clock.set(await self._ground.store.leases.now(), asked)
        if self.epochs:
            renewed = await self._ground.store.leases.renew(self.owner, self.epochs, lease_seconds=self._lease_seconds)
            held = {lease.partition for lease in renewed} & self.epochs.keys()
            self._until.update(dict.fromkeys(held, self._safe_until(asked)))
            self._give_up(p for p in list(self.epochs) if p not in held)
            await self._tell()
        free = (self._ground.partitions if self.replicas is None else self.replicas.share()) - len(self.epochs)
        if free < 0:
            await self._give_back(sorted(self.epochs)[free:])
        elif free > 0 and self._stepping_down is None and self._resting() <= 0:
            asked = self._ground.clock.monotonic()
            found = await self._ground.store.leases.acquire(self.owner, at_most=free, lease_seconds=self._lease_seconds)
            if self._ended:  # they were acquired for nothing
                await self._ground.store.leases.release(self.owner, {lease.partition: lease.epoch for lease in found})
                return
            self._wanting = len(found) < free
            await self._welcome(found, self._safe_until(asked))
        self._ground.metrics.owned(len(self.epochs))

    def again(self) -> None:
        """Another round at once: a replica came, went, or gave partitions back."""
        self._wake.set()

    async def _give_back(self, partitions: list[int]) -> None:
        """More than our share: let go of these in order, so that another replica takes them over at once."""
        epochs = {partition: self.epochs[partition] for partition in partitions}
        self._give_up(partitions)
        await self._tell()
        await self._ground.store.leases.release(self.owner, epochs)
        if self.replicas is not None:
            self.replicas.announce("released")

    async def run(self) -> None:
        """Rounds until cancelled, three in a lease's time, at once when something is lost, more while there is something to wait for."""
        while not self._ended:
            try:
                async with asyncio.timeout(self._pause_seconds()):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            if self._ended:
                return
            if self.replicas is not None:
                self.replicas.announce()
            try:
                await self.take()
            except TransientError as error:
                log.warning("leases_not_renewed", error=str(error))
                self._give_up(self._expired())
                await self._tell()
                await asyncio.sleep(min(0.5, self._lease_seconds / 10))
                self._wake.set()

    async def release(self) -> None:
        """Give all partitions back for good, so that another replica need not wait for the leases to end. Idempotent."""
        self._ended = True
        epochs = dict(self.epochs)
        self._give_up(list(epochs))
        await self._tell()
        try:
            await self._ground.store.leases.release(self.owner, epochs)
        except TransientError as error:
            log.warning("leases_not_released", error=str(error))
        if self.replicas is not None:
            self.replicas.announce("leaving")

    async def _welcome(self, leases: list[Lease], until: float) -> None:
        """Take over what was acquired. What cannot be taken over is given back: owned without a mailbox it would stand still.

        After a crash there may be more to take over than a lease's time allows, so all of it is renewed meanwhile.
        """
        pending = {lease.partition: until for lease in leases}
        keeping = asyncio.create_task(self._keep({lease.partition: lease.epoch for lease in leases}, pending))
        try:
            for done, lease in enumerate(leases):
                await self._tell()  # that it was lost before must be told before it is gained, or that news would close what is opened now
                log.info("partition_gained", partition=lease.partition, epoch=lease.epoch, position=lease.position)
                self._until[lease.partition] = pending.pop(lease.partition)
                try:
                    await self._gained(lease)
                except TransientError:
                    rest = {lease.partition: lease.epoch for lease in leases[done:]}
                    pending.clear()
                    self._give_up(rest)
                    await self._tell()
                    await self._ground.store.leases.release(self.owner, rest)
                    raise
        finally:
            keeping.cancel()
            await asyncio.wait([keeping])

    async def _keep(self, acquired: Mapping[int, int], pending: dict[int, float]) -> None:
        """Renew what is ours and what is `pending` (partition → until when), until cancelled. What fails, the next round finds out."""
        while True:
            await asyncio.sleep(self._lease_seconds / 3)
            asked = self._ground.clock.monotonic()
            wanted = {p: epoch for p, epoch in {**acquired, **self.epochs}.items() if p in pending or p in self._until}
            try:
                renewed = await self._ground.store.leases.renew(self.owner, wanted, lease_seconds=self._lease_seconds)
            except TransientError as error:
                log.warning("leases_not_renewed", error=str(error))
                continue
            for lease in renewed:
                if lease.partition in pending:
                    pending[lease.partition] = self._safe_until(asked)
                elif lease.partition in self._until:
                    self._until[lease.partition] = self._safe_until(asked)

    async def _step_down(self) -> None:
        log.warning("stepping_down", why=self._stepping_down)
        self._to_release.update(self.epochs)
        self._give_up(list(self.epochs))
        await self._tell()
        await self._ground.store.leases.release(self.owner, self._to_release)
        self._to_release = {}
        self._incarnation += 1
        self._stepping_down = None
        now = self._ground.clock.monotonic()
        self._hasty = self._hasty + 1 if now - self._stepped_down_at < self._lease_seconds else 0
        self._stepped_down_at = now
        self._rest_until = now + min(REST_SECONDS * 2 ** (self._hasty - 1), self._lease_seconds / 2) if self._hasty else now

    def _resting(self) -> float:
        """Seconds in which nothing is to be taken over."""
        return self._rest_until - self._ground.clock.monotonic()

    def _pause_seconds(self) -> float:
        """Until the next round, unless something calls for one."""
        usual = self._lease_seconds / (ROUNDS_WANTING if self._wanting else ROUNDS)
        resting = self._resting()
        return min(usual, resting) if resting > 0 else usual

    def _expired(self) -> list[int]:
        now = self._ground.clock.monotonic()
        return [partition for partition, until in self._until.items() if until <= now]

    def _give_up(self, partitions: Iterable[int]) -> None:
        """From now on these are not ours; `_tell` tells the rest of the shell."""
        for partition in list(partitions):
            self.epochs.pop(partition, None)
            self.published.pop(partition, None)
            if self._until.pop(partition, None) is not None:
                self._leaving.add(partition)

    async def _tell(self) -> None:
        gone, self._leaving = frozenset(self._leaving), set()
        if gone:
            log.info("partitions_dropped", partitions=sorted(gone))
            await self._lost(gone)

    def _safe_until(self, asked_at: float) -> float:
        return asked_at + self._lease_seconds * (1 - SAFETY_SHARE)
