"""Pulling a consumer: delivery, acks, redelivery, sharing, cancellation, deletion."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from tests.waiting import wait_until
from waypost_io.bus.ports import Delivery, Puller
from waypost_proto.errors import ContractError, NotFound


async def collect(puller: Puller, count: int, *, ack: bool = True, limit: int = 100) -> list[Delivery]:
    got: list[Delivery] = []
    async with asyncio.timeout(20):
        while len(got) < count:
            got.extend(await puller.next_batch(limit))
    for delivery in got:
        if ack:
            delivery.ack()
    return got


async def ready(world: Any, **consumer: Any) -> tuple[Any, Any, Any]:
    """A bus, a stream and its consumer `c`."""
    bus = await world.bus()
    stream = world.stream()
    await bus.ensure_stream(stream)
    await bus.ensure_consumer(world.consumer(stream, **consumer))
    return bus, stream, bus.pull(stream.name, "c")


async def test_a_delivery_tells_what_it_is(world: Any) -> None:
    bus, _, puller = await ready(world)
    before = time.time()
    await bus.publish(world.subject("a.b"), b"body", headers={"K": "v"})
    await bus.publish(world.subject("a.b"), b"more")
    first, second = await collect(puller, 2)
    assert (first.subject, first.body, dict(first.headers)) == (world.subject("a.b"), b"body", {"K": "v"})
    assert (first.stream_seq, first.delivered, second.stream_seq) == (1, 1, 2)
    assert before - 5 < first.timestamp <= second.timestamp < before + 60
    assert dict(second.headers) == {}


async def test_next_batch_waits_for_the_first_message(world: Any) -> None:
    bus, _, puller = await ready(world)
    waiting = asyncio.ensure_future(puller.next_batch(10))
    await bus.flush()
    assert not waiting.done()
    await bus.publish(world.subject("a"), b"1")
    assert [delivery.body for delivery in await waiting] == [b"1"]


async def test_never_more_than_the_limit_and_never_none(world: Any) -> None:
    bus, _, puller = await ready(world)
    for n in range(25):
        await bus.publish(world.subject("a"), str(n).encode())
    seen: list[bytes] = []
    while len(seen) < 25:
        batch = await puller.next_batch(4)
        assert 1 <= len(batch) <= 4
        seen.extend(delivery.body for delivery in batch)
    assert seen == [str(n).encode() for n in range(25)]


async def test_an_acked_message_leaves_the_work_queue(world: Any) -> None:
    bus, stream, puller = await ready(world)
    for n in range(3):
        await bus.publish(world.subject("a"), str(n).encode())
    first, second, _ = await collect(puller, 3, ack=False)
    first.ack()
    first.ack()
    second.ack()
    second.in_progress()
    await world.until_count(stream, 1)


async def test_an_unacked_message_comes_again_with_the_same_identity(world: Any) -> None:
    bus, _, puller = await ready(world, ack_wait_seconds=0.3)
    await bus.publish(world.subject("a"), b"1")
    (first,) = await collect(puller, 1, ack=False)
    (second,) = await collect(puller, 1)
    assert (second.stream_seq, second.timestamp, second.body) == (first.stream_seq, first.timestamp, b"1")
    assert (first.delivered, second.delivered) == (1, 2)


async def test_in_progress_holds_a_redelivery_back(world: Any) -> None:
    bus, _, puller = await ready(world, ack_wait_seconds=1.0)
    await bus.publish(world.subject("held"), b"held")
    await bus.publish(world.subject("left"), b"left")
    held, left = await collect(puller, 2, ack=False)
    again = asyncio.ensure_future(collect(puller, 2, ack=False))
    for _ in range(8):  # well past the ack wait of the one that nobody holds
        held.in_progress()
        await asyncio.sleep(0.2)
    assert held.delivered == left.delivered == 1
    held.ack()
    for delivery in await again:
        assert delivery.body == b"left", "a message in progress came again"


async def test_a_message_that_is_given_back_goes_to_another_puller_at_once(world: Any) -> None:
    bus, stream, one = await ready(world, ack_wait_seconds=600.0)
    await bus.publish(world.subject("a"), b"1")
    (mine,) = await collect(one, 1, ack=False)
    await one.close()
    other = (await world.bus("other")).pull(stream.name, "c", max_in_hand=10)
    mine.give_back()
    mine.give_back()  # idempotent
    (theirs,) = await collect(other, 1, ack=False)
    assert (theirs.stream_seq, theirs.delivered) == (mine.stream_seq, 2)
    mine.ack()  # too late: it is not ours any more
    theirs.ack()
    await world.until_count(stream, 0)


async def test_what_is_on_its_way_to_a_puller_that_closes_goes_to_others_at_once(world: Any) -> None:
    """Whatever the server sent before it learnt of the end: nothing waits for the ack wait."""
    bus, stream, one = await ready(world, ack_wait_seconds=600.0)
    other = (await world.bus("other")).pull(stream.name, "c", max_in_hand=100)
    count = 60
    waiting = asyncio.ensure_future(one.next_batch(1))
    await asyncio.sleep(0)
    for n in range(count):
        bus.publish(world.subject("a"), str(n).encode())  # not awaited: they are being stored and delivered while it closes
    (first,) = await waiting
    await one.close()
    first.give_back()
    found = {delivery.body for delivery in await collect(other, count)}
    assert found == {str(n).encode() for n in range(count)}


async def test_a_late_ack_of_the_first_delivery_counts(world: Any) -> None:
    bus, stream, puller = await ready(world, ack_wait_seconds=0.3)
    await bus.publish(world.subject("a"), b"1")
    (first,) = await collect(puller, 1, ack=False)
    await collect(puller, 1, ack=False)
    first.ack()
    await world.until_count(stream, 0)


async def test_two_pullers_share_a_consumer(world: Any) -> None:
    bus, stream, one = await ready(world)
    other_bus = await world.bus("other")
    other = other_bus.pull(stream.name, "c", max_in_hand=10)
    count = 200
    seen: list[bytes] = []
    both = asyncio.Event()
    who: set[int] = set()

    async def take(n: int, puller: Puller) -> None:
        while True:
            for delivery in await puller.next_batch(10):
                seen.append(delivery.body)
                delivery.ack()
                who.add(n)
            if len(seen) >= count:
                both.set()

    tasks = [asyncio.ensure_future(take(n, puller)) for n, puller in enumerate((one, other))]
    await asyncio.sleep(0.1)  # both have asked before there is anything
    for n in range(count):
        await bus.publish(world.subject("a"), str(n).encode())
    await asyncio.wait_for(both.wait(), 20)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert sorted(seen, key=int) == [str(n).encode() for n in range(count)]
    assert who == {0, 1}


async def test_max_ack_pending_bounds_what_is_out(world: Any) -> None:
    bus, _, puller = await ready(world, max_ack_pending=3)
    for n in range(6):
        await bus.publish(world.subject("a"), str(n).encode())
    first = await collect(puller, 3, ack=False)
    waiting = asyncio.ensure_future(puller.next_batch(10))
    await bus.flush()
    assert not waiting.done()
    for delivery in first:
        delivery.ack()
    assert (await asyncio.wait_for(waiting, 10))[0].body == b"3"


async def test_without_prefetch_no_more_is_taken_than_was_asked_for(world: Any) -> None:
    bus, stream, _ = await ready(world)
    for n in range(10):
        await bus.publish(world.subject("a"), str(n).encode())
    modest = bus.pull(stream.name, "c", prefetch=False)
    got = await collect(modest, 4, ack=False, limit=4)
    assert len(got) == 4
    other = (await world.bus("other")).pull(stream.name, "c")
    rest = await collect(other, 6, ack=False)
    assert [delivery.body for delivery in rest] == [str(n).encode() for n in range(4, 10)]
    assert len(await collect(other, 0)) == 0


async def test_a_cancelled_next_batch_loses_nothing(world: Any) -> None:
    bus, _, puller = await ready(world)
    count = 300
    seen: list[bytes] = []

    async def publish() -> None:
        for n in range(count):
            await bus.publish(world.subject("a"), str(n).encode())

    publishing = asyncio.ensure_future(publish())
    async with asyncio.timeout(30):
        while len(seen) < count:
            call = asyncio.ensure_future(puller.next_batch(7))
            await asyncio.sleep(0)
            if len(seen) % 3 == 0:
                await asyncio.sleep(0.001)
            call.cancel()
            try:
                batch = await call
            except asyncio.CancelledError:
                batch = await puller.next_batch(7)
            for delivery in batch:
                assert delivery.delivered == 1, "it had to be redelivered, so it had been lost"
                seen.append(delivery.body)
                delivery.ack()
    await publishing
    assert seen == [str(n).encode() for n in range(count)]


async def test_no_consumer(world: Any) -> None:
    bus = await world.bus()
    stream = world.stream()
    with pytest.raises(NotFound, match=stream.name):
        await bus.pull(stream.name, "c").next_batch(1)
    await bus.ensure_stream(stream)
    with pytest.raises(NotFound, match="'c'"):
        await bus.pull(stream.name, "c").next_batch(1)


async def test_a_consumer_deleted_while_pulling_and_made_again(world: Any) -> None:
    bus, stream, puller = await ready(world)
    other = await world.bus("other")
    waiting = asyncio.ensure_future(puller.next_batch(1))
    await bus.flush()
    await asyncio.sleep(0.05)  # the pull request is at the server
    await other.delete_consumer(stream.name, "c")
    with pytest.raises(NotFound, match="does not exist"):
        await asyncio.wait_for(waiting, 10)
    await other.delete_consumer(stream.name, "c")
    with pytest.raises(NotFound):
        await puller.next_batch(1)
    await bus.ensure_consumer(world.consumer(stream))
    await bus.publish(world.subject("a"), b"1")
    assert [delivery.body for delivery in await collect(puller, 1)] == [b"1"]


async def test_an_ack_for_a_deleted_consumer_does_not_remove_its_successors_message(world: Any) -> None:
    """Row 9: with the same name, a zombie's ack would remove the new owner's message."""
    bus, stream, puller = await ready(world)
    await bus.publish(world.subject("a"), b"1")
    (old,) = await collect(puller, 1, ack=False)
    waiting = asyncio.ensure_future(puller.next_batch(1))
    await asyncio.sleep(0.05)
    await bus.delete_consumer(stream.name, "c")
    with pytest.raises(NotFound):
        await asyncio.wait_for(waiting, 10)
    await bus.ensure_consumer(world.consumer(stream))
    (new,) = await collect(puller, 1, ack=False)
    old.ack()
    assert (new.stream_seq, new.delivered) == (1, 1)
    await bus.publish(world.subject("a"), b"2")
    (second,) = await collect(puller, 1)  # acked after the zombie's ack, so once this has gone, that has been dealt with
    assert second.stream_seq == 2
    await world.until_count(stream, 1)


async def test_a_successor_under_a_new_name_gets_everything_in_order(world: Any) -> None:
    """Row 9: one consumer per (partition, epoch)."""
    bus, stream, puller = await ready(world)
    for n in range(20):
        await bus.publish(world.subject("a"), str(n).encode())
    old = await collect(puller, 20, ack=False)
    for delivery in old[:5]:
        delivery.ack()
    await world.until_count(stream, 15)
    await bus.delete_consumer(stream.name, "c")
    await bus.ensure_consumer(world.consumer(stream, "c2"))
    got = await collect(bus.pull(stream.name, "c2"), 15)
    assert [delivery.body for delivery in got] == [str(n).encode() for n in range(5, 20)]
    for delivery in old:
        delivery.ack()  # a zombie


async def test_closing_gives_back_what_was_not_handed_out(world: Any) -> None:
    bus, stream, puller = await ready(world, ack_wait_seconds=60.0)
    for n in range(10):
        await bus.publish(world.subject("a"), str(n).encode())
    (first,) = await puller.next_batch(1)
    await bus.flush()
    await puller.close()
    await puller.close()
    first.ack()  # what was handed out may still be acked
    rest = await collect(bus.pull(stream.name, "c"), 9)  # far sooner than the ack wait, but not in order
    assert sorted(delivery.body for delivery in rest) == [str(n).encode() for n in range(1, 10)]
    with pytest.raises(ContractError):
        await puller.next_batch(1)


async def test_an_unused_consumer_goes_after_its_time(world: Any) -> None:
    bus, stream, puller = await ready(world, inactive_seconds=0.3)
    await bus.publish(world.subject("a"), b"1")
    await collect(puller, 1)
    await puller.close()
    await wait_until(lambda: world.consumer_is_gone(stream, "c"))
    with pytest.raises(NotFound):
        await bus.pull(stream.name, "c").next_batch(1)


async def test_a_consumer_with_unacked_messages_stays(world: Any) -> None:
    """Probed: the server never drops it, so whoever declares a worker dead deletes its consumer."""
    bus, stream, puller = await ready(world, inactive_seconds=0.2, ack_wait_seconds=60.0)
    await bus.publish(world.subject("a"), b"1")
    await collect(puller, 1, ack=False)
    await puller.close()
    await asyncio.sleep(1.5)  # that nothing happens can only be waited for
    assert not await world.consumer_is_gone(stream, "c")


async def test_a_lifetime_on_a_message(world: Any) -> None:
    """Row 22: a sticky message for a dead worker must not run stale later."""
    bus = await world.bus()
    stream = world.stream(allow_message_ttl=True)
    await bus.ensure_stream(stream)
    await bus.publish(world.subject("short"), b"short", headers={"Nats-TTL": "1s"})
    await bus.publish(world.subject("long"), b"long")
    await asyncio.sleep(1.2)  # the lifetime itself; there is nothing to wait for
    await bus.ensure_consumer(world.consumer(stream))
    assert [delivery.body for delivery in await collect(bus.pull(stream.name, "c"), 1)] == [b"long"]


async def test_one_caller_at_a_time(world: Any) -> None:
    bus, _, puller = await ready(world)
    waiting = asyncio.ensure_future(puller.next_batch(1))
    await bus.flush()
    with pytest.raises(ContractError):
        await puller.next_batch(1)
    waiting.cancel()
    with pytest.raises(ContractError):
        await puller.next_batch(0)


async def test_a_consumer_of_what_is_new_begins_behind_what_was_there_and_keeps_its_place(world: Any) -> None:
    bus = await world.bus()
    stream = world.stream(retention="limits")
    await bus.ensure_stream(stream)
    await bus.publish(world.subject("a.b"), b"before")
    await bus.ensure_consumer(world.consumer(stream, new_only=True))
    await bus.publish(world.subject("a.b"), b"after")
    puller = bus.pull(stream.name, "c")
    assert [delivery.body for delivery in await collect(puller, 1)] == [b"after"]
    await puller.close()
    await bus.publish(world.subject("a.b"), b"meanwhile")
    await bus.ensure_consumer(world.consumer(stream, new_only=True))  # as at the next start
    assert [delivery.body for delivery in await collect(bus.pull(stream.name, "c"), 1)] == [b"meanwhile"]
