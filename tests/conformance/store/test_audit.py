"""The audit log: every event once, in one order, by one appender at a time."""

from __future__ import annotations

import pytest

from tests.conformance.store.conftest import World
from tests.conformance.store.rows import Owner, new_run_id
from waypost_io.store.ports import EventRow
from waypost_proto.errors import ConcurrencyError, ContractError


def digests(events: list[EventRow]) -> list[bytes]:
    return [b"digest %d %d" % (event.partition, event.position) for event in events]


async def logged(me: Owner, partition: int, count: int) -> list[EventRow]:
    run_id = new_run_id(partition)
    events = [me.event(run_id) for _ in range(count)]
    await me.commit(*events)
    return events


async def test_events_become_entries_and_cursors_move(me: Owner) -> None:
    one, two = await logged(me, 1, 3), await logged(me, 2, 2)
    audit = me.store.audit
    assert await audit.cursors() == {}
    assert await audit.lag() == {0: 0, 1: 3, 2: 2, 3: 0}
    mixed = [one[0], two[0], one[1]]
    assert await audit.append(mixed, digests(mixed)) == 3
    assert await audit.cursors() == {1: 2, 2: 1}
    assert await audit.lag() == {0: 0, 1: 1, 2: 1, 3: 0}
    rest = [two[1], one[2]]
    assert await audit.append(rest, digests(rest)) == 2
    wanted = list(zip(range(1, 6), mixed + rest, digests(mixed + rest), strict=True))
    assert await audit.entries() == wanted
    assert await audit.entries(after=2, limit=2) == wanted[2:4]
    assert await audit.entries(run_id=two[0].run_id) == [wanted[1], wanted[3]]
    assert await audit.entries(run_id=two[0].run_id, after=2) == [wanted[3]]


async def test_appending_again_adds_nothing(me: Owner) -> None:
    events = await logged(me, 1, 4)
    audit = me.store.audit
    assert await audit.append(events[:3], digests(events[:3])) == 3
    assert await audit.append(events[:3], digests(events[:3])) == 0
    assert await audit.append(events, digests(events)) == 1
    assert await audit.append([], []) == 0
    assert [event for _, event, _ in await audit.entries()] == events


async def test_another_appender_is_noticed_until_the_cursors_are_read_again(world: World, me: Owner) -> None:
    one, two = await logged(me, 1, 2), await logged(me, 2, 1)
    other = (await world.store()).audit
    audit = me.store.audit
    await audit.cursors()
    await other.cursors()
    await other.append(one[:1], digests(one[:1]))
    with pytest.raises(ConcurrencyError):
        await audit.append(two, digests(two))
    assert await audit.cursors() == {1: 1}
    assert await audit.append(two, digests(two)) == 1
    with pytest.raises(ConcurrencyError):
        await other.append(one, digests(one))
    assert [event for _, event, _ in await audit.entries()] == [one[0], two[0]]


async def test_a_new_appender_goes_on_where_the_last_one_stopped(world: World, me: Owner) -> None:
    events = await logged(me, 1, 3)
    await me.store.audit.append(events[:2], digests(events[:2]))
    heir = (await world.store()).audit
    assert await heir.append(events, digests(events)) == 1


async def test_disorder_is_our_bug(me: Owner) -> None:
    events = await logged(me, 1, 2)
    with pytest.raises(ContractError):
        await me.store.audit.append(events[::-1], digests(events))
    with pytest.raises(ContractError):
        await me.store.audit.append(events, digests(events)[:1])
    assert await me.store.audit.entries() == []
