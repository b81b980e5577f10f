"""Core messages: send, subscribe, queue groups, request and reply."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from waypost_io.bus.ports import Message
from waypost_proto.errors import ContractError, Unreachable


async def test_subscribers_hear_what_is_sent_in_order(world: Any) -> None:
    one, two = await world.bus("one"), await world.bus("two")
    heard: asyncio.Queue[Message] = asyncio.Queue()
    await one.subscribe(f"{world.prefix}.news.*", heard.put)
    for n in range(50):
        two.send(f"{world.prefix}.news.{n}", str(n).encode(), headers={"N": str(n)}, reply="back")
    got = [await asyncio.wait_for(heard.get(), 10) for _ in range(50)]
    assert [message.body for message in got] == [str(n).encode() for n in range(50)]
    assert (got[7].subject, dict(got[7].headers), got[7].reply) == (f"{world.prefix}.news.7", {"N": "7"}, "back")


async def test_a_stream_subject_is_heard_by_subscribers_too(world: Any) -> None:
    bus = await world.bus()
    await bus.ensure_stream(world.stream())
    heard: asyncio.Queue[Message] = asyncio.Queue()
    await bus.subscribe(world.subject(">"), heard.put)
    await bus.publish(world.subject("a"), b"published")
    bus.send(world.subject("a"), b"sent")
    assert [(await asyncio.wait_for(heard.get(), 10)).body for _ in range(2)] == [b"published", b"sent"]
    await bus.flush()
    mark = await bus.stream_mark(world.stream().name)
    assert mark is not None
    assert mark.last_seq == 2


async def test_a_queue_group_shares_messages(world: Any) -> None:
    bus = await world.bus()
    heard: list[tuple[int, bytes]] = []
    done = asyncio.Event()

    def handler(n: int) -> Any:
        async def handle(message: Message) -> None:
            heard.append((n, message.body))
            if len(heard) == 100:
                done.set()

        return handle

    for n in range(2):
        await bus.subscribe(f"{world.prefix}.q", handler(n), queue="group")
    for n in range(100):
        bus.send(f"{world.prefix}.q", str(n).encode())
    await asyncio.wait_for(done.wait(), 10)
    assert sorted(int(body) for _, body in heard) == list(range(100))


async def test_a_handler_that_raises_or_is_cancelled_does_not_end_the_subscription(world: Any) -> None:
    bus = await world.bus()
    heard: asyncio.Queue[bytes] = asyncio.Queue()

    async def handle(message: Message) -> None:
        if message.body == b"raise":
            raise ValueError("a bad message")
        if message.body == b"cancel":
            gone = asyncio.get_running_loop().create_future()
            gone.cancel()
            await gone
        await heard.put(message.body)

    await bus.subscribe(f"{world.prefix}.h", handle)
    for body in (b"raise", b"cancel", b"fine"):
        bus.send(f"{world.prefix}.h", body)
    assert await asyncio.wait_for(heard.get(), 10) == b"fine"


async def test_a_closed_subscription_hears_nothing(world: Any) -> None:
    bus = await world.bus()
    heard: list[bytes] = []

    async def handle(message: Message) -> None:
        heard.append(message.body)

    subscription = await bus.subscribe(f"{world.prefix}.c", handle)
    await subscription.close()
    await subscription.close()
    bus.send(f"{world.prefix}.c", b"1")
    await bus.flush()
    await asyncio.sleep(0)
    assert heard == []


async def test_request_and_reply(world: Any) -> None:
    one, two = await world.bus("one"), await world.bus("two")

    async def handle(message: Message) -> None:
        one.send(message.reply, message.body.upper(), headers={"Seen": message.headers["Ask"]})

    await one.subscribe(f"{world.prefix}.ask", handle)
    answers = await asyncio.gather(*(two.request(f"{world.prefix}.ask", f"q{n}".encode(), headers={"Ask": str(n)}) for n in range(100)))
    assert [answer.body for answer in answers] == [f"Q{n}".encode() for n in range(100)]
    assert [answer.headers["Seen"] for answer in answers] == [str(n) for n in range(100)]


async def test_nobody_listens(world: Any) -> None:
    bus = await world.bus()
    with pytest.raises(Unreachable, match="nobody listens"):
        await bus.request(f"{world.prefix}.void", b"", timeout_seconds=30)


async def test_nobody_answers_in_time(world: Any) -> None:
    bus = await world.bus()

    async def ignore(message: Message) -> None:
        del message

    await bus.subscribe(f"{world.prefix}.mute", ignore)
    with pytest.raises(Unreachable, match=r"within 0\.2 s"):
        await bus.request(f"{world.prefix}.mute", b"", timeout_seconds=0.2)


async def test_an_inbox_is_unique(world: Any) -> None:
    bus, other = await world.bus(), await world.bus("other")
    assert len({bus.new_inbox() for _ in range(100)} | {other.new_inbox() for _ in range(100)}) == 200


async def test_a_bus_is_used_inside_its_context(world: Any) -> None:
    bus = world.make("never opened")
    assert not bus.connected
    with pytest.raises(ContractError):
        bus.send("a", b"")
    async with bus:
        assert bus.connected
    assert not bus.connected
