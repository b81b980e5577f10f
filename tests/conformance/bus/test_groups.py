"""Several messages with one confirmation: all stored or not sure, order, duplicates, a stream that does not take groups, a cut."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from waypost_io.bus._groups import Group
from waypost_io.bus.jetstream import JetStreamBus
from waypost_io.bus.ports import GROUP_MOST, Outbound, PubAck
from waypost_proto.errors import ContractError, NotFound, TooLarge, TransientError
from waypost_proto.limits import MAX_MESSAGE_BYTES


def outbound(world: Any, count: int, *, first: int = 0) -> list[Outbound]:
    return [Outbound(world.subject(f"k{n % 3}"), str(n).encode(), f"m{n}", {"traceparent": f"00-{n}"}) for n in range(first, first + count)]


async def bodies(bus: Any, stream: Any, count: int) -> list[Any]:
    puller = bus.pull(stream.name, "c")
    seen: list[Any] = []
    while len(seen) < count:
        for delivery in await puller.next_batch(1_000):
            seen.append(delivery)
            delivery.ack()
    await puller.close()
    return seen


async def test_a_group_is_stored_in_order_with_its_headers(world: Any) -> None:
    bus = await world.bus()
    stream = world.stream(allow_groups=True)
    await bus.ensure_stream(stream)
    await bus.ensure_consumer(world.consumer(stream))
    ack = await bus.publish_group(outbound(world, 5))
    assert (ack.stream, ack.seq) == (stream.name, 5)
    seen = await bodies(bus, stream, 5)
    assert [delivery.body for delivery in seen] == [b"0", b"1", b"2", b"3", b"4"]
    assert [delivery.headers["traceparent"] for delivery in seen] == [f"00-{n}" for n in range(5)]


async def test_many_groups_keep_the_order_of_the_calls_among_single_publishes(world: Any) -> None:
    bus = await world.bus()
    stream = world.stream(allow_groups=True)
    await bus.ensure_stream(stream)
    await bus.ensure_consumer(world.consumer(stream))
    waiting = []
    for start in range(0, 9_000, 90):
        waiting.append(bus.publish_group(outbound(world, 89, first=start)))
        waiting.append(bus.publish(world.subject("one"), str(start + 89).encode(), msg_id=f"m{start + 89}"))
    await asyncio.gather(*(asyncio.ensure_future(each) for each in waiting))
    assert [int(delivery.body) for delivery in await bodies(bus, stream, 9_000)] == list(range(9_000))


async def test_duplicates_in_a_group_are_stored_once(world: Any) -> None:
    bus = await world.bus()
    stream = world.stream(allow_groups=True)
    await bus.ensure_stream(stream)
    await bus.publish(world.subject("a"), b"1", msg_id="m1")
    await bus.publish_group(outbound(world, 3))
    await bus.publish_group(outbound(world, 3))
    assert await world.count(stream) == 3


async def test_a_group_of_one_is_a_publish(world: Any) -> None:
    bus = await world.bus()
    await bus.ensure_stream(world.stream(allow_groups=True))
    assert (await bus.publish_group(outbound(world, 1))).seq == 1


@pytest.mark.parametrize("count", [0, GROUP_MOST + 1])
async def test_too_many_or_none_are_refused_at_the_call(world: Any, count: int) -> None:
    bus = await world.bus()
    with pytest.raises(ContractError, match="at most"):
        bus.publish_group(outbound(world, count))


async def test_one_that_is_too_large_fails_the_group(world: Any) -> None:
    bus = await world.bus()
    await bus.ensure_stream(world.stream(allow_groups=True))
    with pytest.raises(TooLarge):
        await bus.publish_group([*outbound(world, 2), Outbound(world.subject("a"), b"x" * MAX_MESSAGE_BYTES, "big")])


async def test_without_a_stream_a_group_fails(world: Any) -> None:
    bus = await world.bus()
    with pytest.raises(NotFound, match="no stream takes"):
        await bus.publish_group(outbound(world, 3))


async def test_a_refused_message_fails_the_group(world: Any) -> None:
    bus = await world.bus()
    await bus.ensure_stream(world.stream(allow_groups=True, max_message_bytes=1_000))
    messages = outbound(world, 3)
    messages[1].body = b"x" * 2_000
    with pytest.raises((TransientError, TooLarge)):
        await bus.publish_group(messages)


async def test_a_stream_that_does_not_take_groups_takes_messages_one_by_one_after_the_first(world: Any) -> None:
    bus = await world.bus()
    stream = world.stream()
    await bus.ensure_stream(stream)
    if world.kind != "memory":
        with pytest.raises(TransientError, match="one by one"):
            await bus.publish_group(outbound(world, 3))
        assert await world.count(stream) == 0
    await bus.publish_group(outbound(world, 3))
    assert await world.count(stream) == 3


async def test_groups_can_be_allowed_later(world: Any) -> None:
    bus = await world.bus()
    await bus.ensure_stream(world.stream())
    await bus.ensure_stream(world.stream(allow_groups=True))
    assert (await bus.publish_group(outbound(world, 3))).seq == 3


async def test_a_group_survives_the_servers_death(own_world: Any) -> None:
    bus = await own_world.bus()
    stream = own_world.stream(allow_groups=True)
    await bus.ensure_stream(stream)
    waiting = [asyncio.ensure_future(bus.publish_group(outbound(own_world, 50, first=first))) for first in range(0, 500, 50)]
    if isinstance(bus, JetStreamBus):
        bus.push()
    await own_world.kill()
    await own_world.start()
    await asyncio.gather(*waiting)
    assert await own_world.count(stream) == 500


def test_a_server_without_batches_confirms_each_message() -> None:
    group = Group([Outbound("s.a", b"1", "m1"), Outbound("s.b", b"2", "m2")], limit=1_000)
    assert group.heard(b"i.1", b'{"stream":"S","seq":7}', None) is None
    assert group.heard(b"i.1", b'{"stream":"S","seq":7,"duplicate":true}', None) is None
    assert group.heard(b"i.2", b'{"stream":"S","seq":8}', None) == PubAck("S", 8)


@pytest.mark.parametrize(
    "answer",
    [
        b'{"stream":"S","seq":7,"batch":"b","count":1}',
        b'{"type":"gap","last_seq":2,"seq":3}',
        b'{"type":"err","seq":2,"error":{"code":400,"err_code":10071,"description":"wrong last sequence"}}',
        b'{"error":{"code":400,"err_code":10208,"description":"batch publish ID unknown"},"stream":"S","seq":0}',
        b"not json",
    ],
)
def test_anything_but_the_full_count_is_a_failure(answer: bytes) -> None:
    group = Group([Outbound("s.a", b"1", "m1"), Outbound("s.b", b"2", "m2")], limit=1_000)
    assert group.heard(b"i.1", b'{"type":"ack","seq":0,"msgs":1000}', None) is None
    assert isinstance(group.heard(b"i.2", answer, None), TransientError)
