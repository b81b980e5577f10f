"""Sharing partitions out: who should own how much, and how replicas hear of each other."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.waypost_coordinator.rig import Parts
from tests.waiting import wait_until
from waypost_coordinator.sharing import Replicas, fair_share


@given(st.integers(1, 256), st.sets(st.text("abc", min_size=1, max_size=4), min_size=1, max_size=9))
def test_shares_are_fair_and_cover_everything(partitions: int, names: set[str]) -> None:
    shares = [fair_share(partitions, names, name) for name in names]
    assert sum(shares) == partitions
    assert max(shares) - min(shares) <= 1


async def test_replicas_hear_of_each_other_and_of_a_leaving_one(parts: Parts) -> None:
    changes: list[str] = []
    first = Replicas(parts.ground, "a", silent_seconds=5, changed=lambda: changes.append("a"))
    second = Replicas(parts.ground, "b", silent_seconds=5, changed=lambda: changes.append("b"))
    whole = parts.ground.partitions
    async with first:
        assert first.share() == whole
        async with second:
            await wait_until(lambda: first.share() + second.share() == whole)
            await wait_until(lambda: {"a", "b"} <= set(changes))
        await wait_until(lambda: first.share() == whole)


async def test_a_silent_replica_counts_no_more(parts: Parts) -> None:
    first = Replicas(parts.ground, "a", silent_seconds=5, changed=lambda: None)
    second = Replicas(parts.ground, "b", silent_seconds=5, changed=lambda: None)
    whole = parts.ground.partitions
    async with first, second:
        await wait_until(lambda: first.share() + second.share() == whole)
        parts.pass_seconds(5)
        assert first.share() == whole


async def test_what_no_replica_says_is_ignored(parts: Parts) -> None:
    async with Replicas(parts.ground, "a", silent_seconds=5, changed=lambda: None) as first:
        parts.ground.bus.send(parts.ground.subjects.presence(), b"not json")
        second = Replicas(parts.ground, "b", silent_seconds=5, changed=lambda: None)
        async with second:
            await wait_until(lambda: first.share() < parts.ground.partitions)
