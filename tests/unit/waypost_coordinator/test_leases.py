"""Leases: how long a partition is ours, and what happens when it no longer is."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest

from tests.unit.waypost_coordinator.rig import PARTITIONS, Parts
from tests.waiting import wait_until
from waypost_coordinator.leases import SAFETY_SHARE, Leases
from waypost_io.store.ports import Lease
from waypost_proto.errors import Unreachable

LEASE_SECONDS = 10.0


class Owner:
    """Leases over a standing clock; what they told the shell is in `gained` and `lost`."""

    def __init__(self, parts: Parts) -> None:
        parts.ground.epochs.clear()
        parts.ground.published.clear()
        self.parts = parts
        self.gained: list[int] = []
        self.lost: list[int] = []
        self.fail = ""
        self.leases = Leases(parts.ground, lease_seconds=LEASE_SECONDS, gained=self._gained, lost=self._lost)

    async def _gained(self, lease: Lease) -> None:
        if self.fail:
            raise Unreachable(self.fail)
        assert lease.partition not in self.leases.epochs, "ours before it was taken over"
        self.leases.admit(lease)
        self.gained.append(lease.partition)

    async def _lost(self, partitions: frozenset[int]) -> None:
        self.lost += sorted(partitions)


@pytest.fixture
async def owner(parts: Parts) -> Owner:
    await parts.store.leases.ensure_partitions(PARTITIONS)
    return Owner(parts)


async def test_everything_free_is_taken_over_once_and_renewed(owner: Owner) -> None:
    await owner.leases.take()
    assert owner.gained == [0, 1]
    epochs = dict(owner.leases.epochs)
    for _ in range(5):
        owner.parts.pass_seconds(LEASE_SECONDS / 3)
        await owner.leases.take()
    assert owner.gained == [0, 1]
    assert owner.leases.epochs == epochs
    assert owner.lost == []


async def test_time_runs_out_by_the_monotonic_clock_from_before_the_renewal(owner: Owner) -> None:
    """CORRECTNESS.md rows 10 and 19: whatever the wall clock says, and although the database was not asked."""
    await owner.leases.take()
    owner.parts.wall += 3_600.0
    assert owner.leases.hold([0, 1])
    owner.parts.ticks += LEASE_SECONDS * (1 - SAFETY_SHARE) - 0.1
    assert owner.leases.hold([0, 1])
    owner.parts.ticks += 0.2
    assert not owner.leases.hold([0])
    assert list(owner.leases.epochs) == [1]
    owner.parts.store.database.down = True
    with pytest.raises(Unreachable):
        await owner.leases.take()
    assert owner.lost == [0, 1]
    assert owner.leases.epochs == {}


async def test_a_lease_that_another_took_is_dropped_at_the_renewal(owner: Owner) -> None:
    await owner.leases.take()
    owner.parts.store.database.partitions[1].epoch += 1
    owner.parts.store.database.partitions[1].owner = "another"
    owner.parts.store.database.partitions[1].expires_at = owner.parts.wall + 100
    await owner.leases.take()
    assert owner.lost == [1]
    assert list(owner.leases.epochs) == [0]


async def test_a_step_down_takes_effect_at_once_and_takes_over_under_new_epochs(owner: Owner) -> None:
    await owner.leases.take()
    before, name = dict(owner.leases.epochs), owner.leases.owner
    owner.leases.step_down("a commit is unknown")
    assert owner.leases.epochs == owner.leases.published == {}
    await owner.leases.take()
    assert owner.lost == [0, 1]
    assert owner.gained == [0, 1, 0, 1]
    assert all(owner.leases.epochs[p] > before[p] for p in before)
    assert owner.leases.owner != name


async def test_step_downs_that_follow_on_each_other_rest_before_the_next_take_over(owner: Owner) -> None:
    """A database whose disk is full answers, and refuses every commit."""
    await owner.leases.take()
    for rest in (0.0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, LEASE_SECONDS / 2, LEASE_SECONDS / 2):
        taken = len(owner.gained)
        owner.leases.step_down("a commit is unknown")
        await owner.leases.take()
        if rest:
            assert len(owner.gained) == taken
            owner.parts.ticks += rest - 0.01
            await owner.leases.take()
            assert len(owner.gained) == taken
            owner.parts.ticks += 0.02
            await owner.leases.take()
        assert len(owner.gained) == taken + 2
    owner.parts.pass_seconds(LEASE_SECONDS)
    taken = len(owner.gained)
    owner.leases.step_down("once more")
    await owner.leases.take()
    assert len(owner.gained) == taken + 2, "long after the last one it is taken over at once"


async def test_a_step_down_while_the_database_is_away_is_made_up_for(owner: Owner) -> None:
    await owner.leases.take()
    owner.leases.step_down("first")
    owner.parts.store.database.down = True
    for _ in range(3):
        with pytest.raises(Unreachable):
            await owner.leases.take()
    owner.leases.step_down("again")
    owner.parts.store.database.down = False
    await owner.leases.take()
    assert owner.gained == [0, 1, 0, 1], "given back and taken anew, without waiting for the old leases to end"


async def test_a_take_over_that_fails_gives_the_partition_back(owner: Owner) -> None:
    """Owned without a mailbox it would stand still until the process ends."""
    owner.fail = "NATS is away"
    with pytest.raises(Unreachable):
        await owner.leases.take()
    assert owner.leases.epochs == {}
    assert [lease.owner for lease in await owner.parts.store.leases.owners()] == ["", ""]
    owner.fail = ""
    await owner.leases.take()
    assert owner.gained == [0, 1]


async def test_a_take_over_that_lasts_longer_than_a_lease_is_renewed_meanwhile(owner: Owner, parts: Parts) -> None:
    lease_seconds = 0.03

    async def slowly(lease: Lease) -> None:
        for _ in range(6):
            until = leases._until[lease.partition]
            parts.pass_seconds(lease_seconds / 3)
            await wait_until(lambda: leases._until[lease.partition] > until)  # noqa: B023  # waited for before the next turn
        leases.admit(lease)
        owner.gained.append(lease.partition)

    leases = Leases(parts.ground, lease_seconds=lease_seconds, gained=slowly, lost=owner._lost)
    await leases.take()

    assert owner.gained == [0, 1]
    assert leases.hold([0, 1])
    assert owner.lost == []


async def test_released_partitions_are_free_for_others_at_once(owner: Owner, parts: Parts) -> None:
    await owner.leases.take()
    await owner.leases.release()
    await owner.leases.release()
    assert owner.lost == [0, 1]
    taken = await parts.store.leases.acquire("another", at_most=5, lease_seconds=1)
    assert len(taken) == PARTITIONS


async def test_what_was_released_for_good_is_not_taken_again(owner: Owner, parts: Parts) -> None:
    """A round that was due while the replica left must not own a partition that nobody serves."""
    await owner.leases.take()
    await owner.leases.release()
    await owner.leases.take()
    await asyncio.wait_for(owner.leases.run(), 5)
    assert owner.gained == [0, 1]
    assert len(await parts.store.leases.acquire("another", at_most=5, lease_seconds=1)) == PARTITIONS


async def test_two_owners_never_hold_the_same_partition(owner: Owner, parts: Parts) -> None:
    await owner.leases.take()
    assert await parts.store.leases.acquire("another", at_most=5, lease_seconds=LEASE_SECONDS) == []
    parts.pass_seconds(LEASE_SECONDS + 1)
    taken = await parts.store.leases.acquire("another", at_most=1, lease_seconds=LEASE_SECONDS)
    assert not owner.leases.hold([taken[0].partition]), "we let go before the lease can end"
    await owner.leases.take()
    assert taken[0].partition not in owner.leases.epochs


async def test_the_loop_goes_on_by_itself_while_the_database_comes_and_goes(parts: Parts) -> None:
    await parts.store.leases.ensure_partitions(PARTITIONS)
    owner = Owner(parts)
    owner.leases._lease_seconds = 1.0
    running = asyncio.ensure_future(owner.leases.run())
    try:
        parts.store.database.down = True
        owner.leases.step_down("wake")
        await asyncio.sleep(0)
        parts.store.database.down = False
        await wait_until(lambda: len(owner.leases.epochs) == PARTITIONS)
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


async def test_a_partition_that_is_lost_while_it_is_acquired_is_lost_before_it_is_gained(
    owner: Owner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or the late news of the loss would close the mailbox that was just opened, and the partition would stand still for ever."""
    store = owner.parts.store.leases
    await store.acquire("another", at_most=1, lease_seconds=1_000)
    await owner.leases.take()
    (mine,) = owner.leases.epochs
    news: list[str] = []
    gained, acquire = owner.leases._gained, store.acquire

    async def note_gained(lease: Lease) -> None:
        news.append("gained")
        await gained(lease)

    async def note_lost(_partitions: frozenset[int]) -> None:
        news.append("lost")

    async def late(name: str, *, at_most: int, lease_seconds: float) -> list[Lease]:
        owner.parts.pass_seconds(LEASE_SECONDS + 1)
        owner.leases.lost([mine])
        return await acquire(name, at_most=at_most, lease_seconds=lease_seconds)

    owner.leases._gained, owner.leases._lost = note_gained, note_lost
    monkeypatch.setattr(store, "acquire", late)
    await owner.leases.take()
    assert news == ["lost", "gained"]
    assert list(owner.leases.epochs) == [mine]
