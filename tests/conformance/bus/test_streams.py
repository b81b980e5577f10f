"""Streams and consumers: made, changed, compared, refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.waiting import wait_until
from waypost_io.bus import topology
from waypost_proto.errors import Misconfigured, NotFound
from waypost_proto.ids import WorkerId
from waypost_proto.subjects import STREAMS, Subjects


async def test_making_a_stream_again_changes_nothing(world: Any) -> None:
    bus = await world.bus()
    stream = world.stream()
    first = await bus.ensure_stream(stream)
    await bus.publish(world.subject("a"), b"1")
    again = await bus.ensure_stream(stream)
    assert first.name == again.name == stream.name
    assert first.created == again.created
    assert (first.last_seq, again.last_seq) == (0, 1)
    assert await bus.stream_mark(stream.name) == again


async def test_a_changeable_setting_is_brought_to_the_spec(world: Any) -> None:
    bus = await world.bus()
    stream = world.stream(max_message_bytes=500)
    first = await bus.ensure_stream(stream)
    second = await bus.ensure_stream(
        replace(stream, max_message_bytes=100_000, max_bytes=1 << 21, subjects=(world.subject(">"), world.subject(">", "T")))
    )
    assert second.created == first.created
    await bus.publish(world.subject("x", "T"), b"x" * 2_000)


@pytest.mark.parametrize(("setting", "value"), [("storage", "memory"), ("retention", "limits")])
async def test_a_setting_that_cannot_change_is_named(world: Any, setting: str, value: str) -> None:
    bus = await world.bus()
    stream = world.stream()
    await bus.ensure_stream(stream)
    with pytest.raises(Misconfigured, match=f"{stream.name}.*{setting} is"):
        await bus.ensure_stream(replace(stream, **{setting: value}))


async def test_two_streams_cannot_take_one_subject(world: Any) -> None:
    bus = await world.bus()
    await bus.ensure_stream(world.stream())
    with pytest.raises(Misconfigured, match="overlap"):
        await bus.ensure_stream(world.stream("U", subjects=(world.subject("a.*"),)))


async def test_no_such_stream(world: Any) -> None:
    bus = await world.bus()
    stream = world.stream()
    assert await bus.stream_mark(stream.name) is None
    assert await bus.purge(stream.name) == 0
    await bus.delete_consumer(stream.name, "c")
    with pytest.raises(NotFound, match=stream.name):
        await bus.ensure_consumer(world.consumer(stream))


async def test_a_consumer_that_is_made_again_is_another(world: Any) -> None:
    bus = await world.bus()
    stream = world.stream()
    assert await bus.consumer_created(stream.name, "c") is None
    await bus.ensure_stream(stream)
    assert await bus.consumer_created(stream.name, "c") is None
    spec = world.consumer(stream)
    await bus.ensure_consumer(spec)
    first = await bus.consumer_created(stream.name, spec.name)
    await bus.ensure_consumer(spec)
    assert await bus.consumer_created(stream.name, spec.name) == first
    await bus.delete_consumer(stream.name, spec.name)
    await bus.ensure_consumer(spec)
    assert first is not None
    assert await bus.consumer_created(stream.name, spec.name) not in (None, first)


async def test_the_subjects_of_what_lies_in_a_stream(world: Any) -> None:
    bus = await world.bus()
    stream = world.stream()
    assert await bus.subjects(stream.name, world.subject(">")) == {}
    await bus.ensure_stream(stream)
    assert await bus.subjects(stream.name, world.subject(">")) == {}
    for n in range(5):
        await bus.publish(world.subject(f"w{n % 3}.x"), b"1")
    assert await bus.subjects(stream.name, world.subject("*.x")) == {
        world.subject("w0.x"): 2,
        world.subject("w1.x"): 2,
        world.subject("w2.x"): 1,
    }
    assert await bus.subjects(stream.name, world.subject("w2.*")) == {world.subject("w2.x"): 1}
    await bus.purge(stream.name, world.subject("w2.*"))
    assert await bus.subjects(stream.name, world.subject("w2.*")) == {}


async def test_how_much_waits_in_a_stream_and_for_whom(world: Any) -> None:
    bus = await world.bus()
    stream = world.stream(retention="work_queue", max_bytes=1 << 20)
    assert await bus.load(stream.name) is None
    await bus.ensure_stream(stream)
    empty = await bus.load(stream.name)
    assert (empty.messages, empty.bytes, empty.max_bytes, empty.consumers) == (0, 0, 1 << 20, ())
    await bus.ensure_consumer(world.consumer(stream, filter_subject=world.subject("w0.>")))
    for n in range(6):
        await bus.publish(world.subject(f"w{n % 2}.x"), b"1")
    puller = bus.pull(stream.name, "c", prefetch=False)
    (taken,) = await puller.next_batch(1)
    load = await bus.load(stream.name)
    assert load.messages == 6
    assert load.bytes >= 6
    (consumer,) = load.consumers
    assert (consumer.name, consumer.filter_subject, consumer.pending, consumer.unacked) == ("c", world.subject("w0.>"), 2, 1)
    taken.ack()
    await bus.flush()
    await wait_until(lambda: _drained(bus, stream.name))


async def _drained(bus: Any, stream: str) -> bool:
    load = await bus.load(stream)
    return (load.messages, load.consumers[0].unacked) == (5, 0)


async def test_purging_a_subject(world: Any) -> None:
    bus = await world.bus()
    stream = world.stream()
    await bus.ensure_stream(stream)
    for n in range(6):
        await bus.publish(world.subject(f"w{n % 2}.x"), b"1")
    assert await bus.purge(stream.name, world.subject("w1.*")) == 3
    assert await bus.purge(stream.name) == 3
    mark = await bus.stream_mark(stream.name)
    assert mark is not None
    assert mark.last_seq == 6


async def test_a_consumer_is_compared_and_changed(world: Any) -> None:
    bus = await world.bus()
    stream = world.stream()
    await bus.ensure_stream(stream)
    consumer = world.consumer(stream, ack_wait_seconds=60.0)
    await bus.ensure_consumer(consumer)
    await bus.ensure_consumer(consumer)
    await bus.ensure_consumer(replace(consumer, ack_wait_seconds=0.2))
    await bus.publish(world.subject("a"), b"1")
    puller = bus.pull(stream.name, "c")
    await puller.next_batch(1)
    assert (await puller.next_batch(1))[0].delivered == 2


@pytest.mark.parametrize(("before", "after"), [("file", "memory"), ("memory", "file")])
async def test_a_consumer_that_lies_elsewhere_serves_as_it_is(world: Any, before: str, after: str) -> None:
    """One that another version made. The server cannot move it; the other settings are changed all the same."""
    bus = await world.bus()
    stream = world.stream()
    await bus.ensure_stream(stream)
    await bus.ensure_consumer(world.consumer(stream, ack_wait_seconds=60.0, storage=before))
    made = await bus.consumer_created(stream.name, "c")
    await bus.ensure_consumer(world.consumer(stream, ack_wait_seconds=0.2, storage=after))
    assert await bus.consumer_created(stream.name, "c") == made
    await bus.publish(world.subject("a"), b"1")
    puller = bus.pull(stream.name, "c")
    await puller.next_batch(1)
    assert (await puller.next_batch(1))[0].delivered == 2


async def test_consumers_of_a_work_queue_must_not_overlap(world: Any) -> None:
    bus = await world.bus()
    stream = world.stream()
    await bus.ensure_stream(stream)
    await bus.ensure_consumer(world.consumer(stream, "one", filter_subject=world.subject("a.*")))
    await bus.ensure_consumer(world.consumer(stream, "two", filter_subject=world.subject("b.*")))
    with pytest.raises(Misconfigured, match="three"):
        await bus.ensure_consumer(world.consumer(stream, "three", filter_subject=world.subject("*.x")))


async def test_a_consumer_sees_only_its_filter(world: Any) -> None:
    bus = await world.bus()
    stream = world.stream()
    await bus.ensure_stream(stream)
    await bus.publish(world.subject("b.1"), b"b")
    await bus.publish(world.subject("a.1"), b"a1")
    await bus.ensure_consumer(world.consumer(stream, filter_subject=world.subject("a.*")))
    await bus.publish(world.subject("a.2"), b"a2")
    puller = bus.pull(stream.name, "c")
    seen: list[bytes] = []
    while len(seen) < 2:
        seen.extend(delivery.body for delivery in await puller.next_batch(5))
    assert seen == [b"a1", b"a2"]


async def test_all_of_waypost_fits_together(world: Any) -> None:
    """Every stream and every kind of consumer under one prefix; none overlaps with another."""
    bus = await world.bus()
    subjects = Subjects(world.prefix)
    specs = topology.stream_specs(subjects, partitions=4)
    assert [spec.name for spec in specs] == [subjects.stream(name) for name in STREAMS]
    for spec in specs:
        await bus.ensure_stream(spec)
    workers = [WorkerId("w-1"), WorkerId("w-2")]
    consumers = [
        topology.tasks_consumer(subjects),
        *(topology.mail_consumer(subjects, partition, 1) for partition in range(4)),
        topology.tool_consumer(subjects, "core-banking"),
        topology.tool_consumer(subjects, "sanctions"),
        topology.work_consumer(subjects, "a-b", "c"),
        topology.work_consumer(subjects, "a", "b-c"),
        *(topology.sticky_consumer(subjects, worker) for worker in workers),
    ]
    assert len({(spec.stream, spec.name) for spec in consumers}) == len(consumers)
    for spec in consumers * 2:
        await bus.ensure_consumer(spec)
    with pytest.raises(Misconfigured):
        await bus.ensure_consumer(topology.mail_consumer(subjects, 0, 2))
    await bus.delete_consumer(specs[1].name, "mailbox-0-1")
    await bus.ensure_consumer(topology.mail_consumer(subjects, 0, 2))
    await bus.publish(subjects.work("a", "b-c"), b"any")
    await bus.publish(subjects.work("a", "b-c", "w-2"), b"sticky", headers={topology.TTL_HEADER: "60s"})
    await bus.publish(f"{world.prefix}.tasks.an.illegal.agent", b"task")
    for spec, body in ((consumers[8], b"any"), (consumers[10], b"sticky"), (consumers[0], b"task")):
        assert [delivery.body for delivery in await bus.pull(spec.stream, spec.name).next_batch(5)] == [body]


def test_the_streams_are_bounded_and_small_enough_for_a_laptop() -> None:
    specs = topology.stream_specs(Subjects(), partitions=8)
    assert all(0 < spec.max_bytes < 1 << 30 for spec in specs)
    assert sum(spec.max_bytes for spec in specs) < 3 << 30
    for spec in specs:
        assert (spec.retention == "work_queue") == (spec.discard == "new"), spec.name
        assert spec.retention == "work_queue" or spec.max_age_seconds > 0, spec.name
