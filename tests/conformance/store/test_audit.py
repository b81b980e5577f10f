"""The audit log: every event once, in one order, by one appender at a time."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.conformance.store.conftest import World
from tests.conformance.store.rows import Owner, new_run_id
from waypost_core.audit.leaves import event_leaf
from waypost_io.store.ports import AnchorRow, Audit, AuditSpan, AuditState, EventRow, HeadRow, KeyRow
from waypost_proto.errors import ConcurrencyError, ContractError


def leaf(event: EventRow) -> bytes:
    return event_leaf(event.run_id, event.seq, event.body)


async def logged(me: Owner, partition: int, count: int) -> list[EventRow]:
    run_id = new_run_id(partition)
    events = [me.event(run_id) for _ in range(count)]
    await me.commit(*events)
    return events


async def held(audit: Audit, owner: str = "logger", seconds: float = 60.0) -> AuditState:
    state = await audit.acquire(owner, origin="waypost/test", lease_seconds=seconds)
    assert state is not None
    return state


async def test_events_become_leaves_and_cursors_move(me: Owner) -> None:
    one, two = await logged(me, 1, 3), await logged(me, 2, 2)
    audit = me.store.audit
    assert await audit.state() == AuditState()
    state = await held(audit)
    assert (state.origin, state.owner, state.size, state.held) == ("waypost/test", "logger", 0, True)
    assert await audit.lag() == {0: 0, 1: 3, 2: 2, 3: 0}
    first = await audit.pending(2)
    assert [(span.partition, span.position, span.behind, span.count, span.gap) for span in first] == [
        (1, 1, 3, 2, None),
        (2, 1, 2, 2, None),
    ]
    assert first[0].leaves == leaf(one[0]) + leaf(one[1])
    assert first[0].recorded_from == pytest.approx(one[0].recorded_at)
    await audit.append(state, first, [(1, 0, b"n" * 32)])
    assert await audit.cursors() == {1: 2, 2: 2}
    assert await audit.lag() == {0: 0, 1: 1, 2: 0, 3: 0}
    rest = await audit.pending(10)
    await audit.append(replace(state, size=4), rest, [(1, 1, b"m" * 32), (2, 0, b"o" * 32)])
    assert await audit.state() == replace(state, size=5)
    assert await audit.pending(10) == []
    wanted = [one[0], one[1], two[0], two[1], one[2]]
    assert [(index, leaf(event)) for index, event in await audit.entries(0, 10)] == [(n, leaf(e)) for n, e in enumerate(wanted)]
    assert [index for index, _ in await audit.entries(1, 4)] == [1, 2, 3]
    assert await audit.hashes(0, 0, 5) == b"".join(leaf(event) for event in wanted)
    assert await audit.hashes(0, 1, 5) == b"".join(leaf(event) for event in wanted[1:])
    assert await audit.hashes(0, 3, 4) == leaf(two[1])
    assert await audit.hashes(0, 4, 9) == leaf(one[2])
    assert await audit.hashes(1, 0, 9) == b"n" * 32 + b"m" * 32
    assert await audit.hashes(2, 0, 1) == b"o" * 32
    assert await audit.hashes(1, 5, 6) == b""
    pieces = [(0, 1, 3), (1, 0, 2), (0, 3, 5), (2, 0, 1), (0, 4, 5), (1, 1, 3), (0, 7, 9)]
    assert await audit.pieces(pieces) == [await audit.hashes(*piece) for piece in pieces]
    assert await audit.pieces([]) == []
    assert [(index, event.seq) for index, event in await audit.entries_of_run(one[0].run_id, after=1)] == [(1, 2), (4, 3)]
    found = await audit.find(one[2].run_id, 3)
    assert found is not None
    assert (found[0], found[1].body) == (4, one[2].body)
    assert await audit.find(one[0].run_id, 9) is None
    spans = await audit.spans(3, 5)
    assert [(span.partition, span.position, span.index, span.count) for span in spans] == [(2, 1, 2, 2), (1, 3, 4, 1)]
    assert all(isinstance(span, AuditSpan) for span in spans)


async def test_an_event_that_is_not_in_the_log_is_not_found(me: Owner) -> None:
    events = await logged(me, 1, 2)
    audit = me.store.audit
    state = await held(audit)
    assert await audit.find(events[0].run_id, 1) is None
    await audit.append(state, await audit.pending(1), [])
    assert await audit.find(events[1].run_id, 2) is None


async def test_one_owner_at_a_time(world: World, me: Owner) -> None:
    await logged(me, 1, 2)
    audit, other = me.store.audit, (await world.store()).audit
    state = await held(audit)
    assert await other.acquire("other", origin="x", lease_seconds=60) is None
    assert await audit.acquire("logger", origin="x", lease_seconds=-1) == state  # renewed, and over
    taken = await held(other, "other")
    assert (taken.epoch, taken.origin) == (state.epoch + 1, state.origin)
    with pytest.raises(ConcurrencyError):
        await audit.append(state, await audit.pending(10), [])
    await audit.release("logger", state.epoch)
    assert (await audit.state()).held
    await other.append(taken, await other.pending(10), [])
    await other.release("other", taken.epoch)
    assert not (await audit.state()).held
    assert (await held(audit)).size == 2


async def test_an_append_builds_on_the_size_that_is_there(me: Owner) -> None:
    await logged(me, 1, 4)
    audit = me.store.audit
    state = await held(audit)
    first = await audit.pending(2)
    await audit.append(state, first, [])
    with pytest.raises(ConcurrencyError):
        await audit.append(state, first, [])
    with pytest.raises(ContractError):
        await audit.append(replace(state, size=2), first, [])
    assert (await audit.state()).size == 2
    assert await audit.cursors() == {1: 2}


async def test_a_gap_ends_what_is_taken(me: Owner) -> None:
    events = await logged(me, 1, 2)
    me.positions[1] += 3
    await logged(me, 1, 2)
    (span,) = await me.store.audit.pending(10)
    assert span.leaves == leaf(events[0]) + leaf(events[1])
    assert (span.gap, span.behind) == (6, 7)


async def test_heads_keys_and_anchors_are_kept(me: Owner) -> None:
    audit = me.store.audit
    assert await audit.newest_head() is None
    heads = [HeadRow(size=size, key_id="k", signed_at=1_800_000_000.0 + size, note=f"n{size}") for size in (1, 5, 9)]
    for head in heads:
        await audit.add_head(head)
    await audit.add_head(replace(heads[0], note="another"))
    assert await audit.heads() == heads
    assert await audit.heads(from_size=2, limit=1) == heads[1:2]
    assert await audit.newest_head() == heads[2]
    assert await audit.newest_head(at_most=8) == heads[1]
    key = KeyRow(number=1, key_id="k", size=0, added_at=1_800_000_000.0, note="n")
    await audit.add_key(key)
    with pytest.raises(ConcurrencyError):
        await audit.add_key(replace(key, key_id="l"))
    assert await audit.keys() == [key]
    anchor = AnchorRow(name="worm", size=5, anchored_at=1_800_000_000.0, place="there")
    await audit.anchored(anchor)
    await audit.anchored(replace(anchor, size=3))
    assert await audit.anchors() == [anchor]
    await audit.anchored(replace(anchor, size=9))
    assert [row.size for row in await audit.anchors()] == [9]
