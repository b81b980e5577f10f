"""Publishing to a stream: confirmation, duplicates, order, limits, errors."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

from waypost_proto.errors import BadInput, NotFound, TooLarge, TransientError
from waypost_proto.ids import derive_run_id, partition_of
from waypost_proto.limits import MAX_MESSAGE_BYTES
from waypost_proto.subjects import Subjects


async def test_a_publish_is_confirmed_with_stream_and_sequence(world: Any) -> None:
    bus = await world.bus()
    stream = world.stream()
    await bus.ensure_stream(stream)
    first = await bus.publish(world.subject("a"), b"1")
    second = await bus.publish(world.subject("b"), b"2")
    assert (first.stream, first.seq, first.duplicate) == (stream.name, 1, False)
    assert (second.stream, second.seq, second.duplicate) == (stream.name, 2, False)


async def test_the_same_message_id_is_stored_once(world: Any) -> None:
    bus = await world.bus()
    await bus.ensure_stream(world.stream())
    first = await bus.publish(world.subject("a"), b"1", msg_id="x")
    again = await bus.publish(world.subject("other"), b"2", msg_id="x")
    other = await bus.publish(world.subject("a"), b"3", msg_id="y")
    assert (again.seq, again.duplicate) == (first.seq, True)
    assert (other.seq, other.duplicate) == (2, False)


async def test_the_duplicate_window_ends(world: Any) -> None:
    bus = await world.bus()
    stream = world.stream(duplicate_window_seconds=0.2)
    await bus.ensure_stream(stream)
    await bus.publish(world.subject("a"), b"1", msg_id="x")
    async with asyncio.timeout(10):
        while (await bus.publish(world.subject("a"), b"1", msg_id="x")).duplicate:
            await asyncio.sleep(0.05)
    mark = await bus.stream_mark(stream.name)
    assert mark is not None
    assert mark.last_seq == 2


async def test_thousands_pipelined_are_stored_in_the_order_of_the_calls(world: Any) -> None:
    bus = await world.bus()
    stream = world.stream()
    await bus.ensure_stream(stream)
    await bus.ensure_consumer(world.consumer(stream))
    count = 10_000  # more than may be in flight at once
    acks = [bus.publish(world.subject(f"k{n % 7}"), str(n).encode(), msg_id=f"m{n}") for n in range(count)]
    assert [(await ack).seq for ack in acks] == list(range(1, count + 1))
    puller = bus.pull(stream.name, "c")
    seen: list[bytes] = []
    while len(seen) < count:
        for delivery in await puller.next_batch(500):
            seen.append(delivery.body)
            delivery.ack()
    assert seen == [str(n).encode() for n in range(count)]


async def test_body_and_headers_together_are_limited(world: Any) -> None:
    bus = await world.bus()
    await bus.ensure_stream(world.stream())
    head = len(b"NATS/1.0\r\nNats-Msg-Id: i\r\nA: b\r\n\r\n")
    fits = b"x" * (MAX_MESSAGE_BYTES - head)
    assert (await bus.publish(world.subject("a"), fits, headers={"A": "b"}, msg_id="i")).seq == 1
    with pytest.raises(TooLarge, match="the limit is 524288"):
        await bus.publish(world.subject("a"), fits + b"x", headers={"A": "b"}, msg_id="j")
    with pytest.raises(TooLarge):
        bus.send(world.subject("a"), b"x" * (MAX_MESSAGE_BYTES + 1))
    assert (await bus.publish(world.subject("a"), b"the connection lives")).seq == 2


async def test_a_stream_may_take_less_than_the_bus(world: Any) -> None:
    bus = await world.bus()
    await bus.ensure_stream(world.stream(max_message_bytes=1_000))
    with pytest.raises(TooLarge):
        await bus.publish(world.subject("a"), b"x" * 2_000)


async def test_no_stream_takes_the_subject(world: Any) -> None:
    bus = await world.bus()
    with pytest.raises(NotFound, match="no stream takes"):
        await bus.publish(world.subject("nobody"), b"1")


async def test_a_full_stream_refuses_and_takes_again_once_there_is_room(world: Any) -> None:
    bus = await world.bus()
    stream = world.stream(max_bytes=20_000)
    await bus.ensure_stream(stream)
    acks = [bus.publish(world.subject("a"), b"x" * 1_000) for _ in range(100)]
    outcomes = await asyncio.gather(*acks, return_exceptions=True)
    refused = [outcome for outcome in outcomes if isinstance(outcome, TransientError)]
    assert 0 < len(refused) < 100
    assert await bus.purge(stream.name) == 100 - len(refused)
    await bus.publish(world.subject("a"), b"x" * 1_000)


async def test_a_stream_that_discards_old_messages_takes_every_new_one(world: Any) -> None:
    bus = await world.bus()
    stream = world.stream(retention="limits", discard="old", max_bytes=20_000)
    await bus.ensure_stream(stream)
    for n in range(1, 101):
        assert (await bus.publish(world.subject("a"), b"x" * 1_000)).seq == n
    assert 0 < await bus.purge(stream.name) < 30


@pytest.mark.parametrize("subject", ["with blank", "line\r\nbreak", "tab\tted", ""])
async def test_a_subject_that_would_break_the_protocol_is_refused(world: Any, subject: str) -> None:
    bus = await world.bus()
    with pytest.raises(BadInput, match="subject"):
        await bus.publish(subject, b"1")
    with pytest.raises(BadInput, match="subject"):
        bus.send(subject, b"1")


async def test_headers_arrive_as_they_were_sent(world: Any) -> None:
    bus = await world.bus()
    stream = world.stream()
    await bus.ensure_stream(stream)
    await bus.ensure_consumer(world.consumer(stream))
    headers = {"traceparent": "00-abc-def-01", "Waypost-Reason": "größer als erlaubt: 5 > 3", "Empty": ""}
    await bus.publish(world.subject("a"), b"1", headers=headers, msg_id="id-1")
    await bus.publish(world.subject("a"), b"2")
    got = [*(await bus.pull(stream.name, "c").next_batch(1))]
    assert dict(got[0].headers) == {**headers, "Nats-Msg-Id": "id-1"}


async def test_a_line_break_in_a_header_cannot_inject_another(world: Any) -> None:
    bus = await world.bus()
    heard: asyncio.Queue[Any] = asyncio.Queue()
    await bus.subscribe(world.subject("h"), heard.put)
    bus.send(world.subject("h"), b"", headers={"A": "1\r\nB: 2"})
    message = await heard.get()
    assert set(message.headers) == {"A"}
    with pytest.raises(BadInput, match="header name"):
        bus.send(world.subject("h"), b"", headers={"A\r\nB": "2"})


async def test_dropping_the_awaitable_is_silent(world: Any, caplog: pytest.LogCaptureFixture) -> None:
    bus = await world.bus()
    bus.publish(world.subject("nobody"), b"1")
    bus.publish("bad subject", b"1")
    await bus.flush()
    await asyncio.sleep(0)
    gc.collect()
    assert "never retrieved" not in caplog.text


async def test_a_cancelled_wait_leaves_the_publish(world: Any) -> None:
    bus = await world.bus()
    stream = world.stream()
    await bus.ensure_stream(stream)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await bus.publish(world.subject("a"), b"1")
    assert (await bus.publish(world.subject("a"), b"2")).seq == 2


async def test_the_server_partitions_as_ids_do(world: Any) -> None:
    """CORRECTNESS: the coordinator and the stream's transform must agree on every run's partition."""
    bus = await world.bus()
    subjects = Subjects(world.prefix)
    stream = world.stream("MAILBOX", subjects=(subjects.all_mail(),), transform=(subjects.all_mail(), subjects.mail_transform(8)))
    await bus.ensure_stream(stream)
    await bus.ensure_consumer(world.consumer(stream, filter_subject=f"{world.prefix}.mailbox.>"))
    runs = [derive_run_id(1_700_000_000_000 + n, "test", str(n)) for n in range(400)]
    acks = [bus.publish(subjects.mail("advance", "agent-1", run), run.encode()) for run in runs]
    for ack in acks:
        await ack
    puller = bus.pull(stream.name, "c")
    found: dict[str, str] = {}
    while len(found) < len(runs):
        for delivery in await puller.next_batch(100):
            found[delivery.body.decode()] = delivery.subject
            delivery.ack()
    expected = {run: f"{world.prefix}.mailbox.{partition_of(run, 8)}.advance.agent-1.{run}" for run in runs}
    assert found == expected
    assert len({subject.split(".")[2] for subject in found.values()}) == 8
