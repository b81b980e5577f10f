"""What is published in one turn is confirmed together; each publish keeps its own outcome."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from typing import Any

import pytest

from waypost_io.bus.company import Company
from waypost_io.bus.ports import Outbound, PubAck
from waypost_proto.errors import NotFound, TransientError


class Counting:
    """A bus whose groups are counted, and fail once told to."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self.groups: list[int] = []
        self.singles: list[str] = []
        self.failing = False

    def publish(self, subject: str, body: bytes, *, msg_id: str) -> Awaitable[PubAck]:
        self.singles.append(msg_id)
        confirmation: Awaitable[PubAck] = self._inner.publish(subject, body, msg_id=msg_id)
        return confirmation

    async def publish_group(self, messages: Sequence[Outbound]) -> PubAck:
        self.groups.append(len(messages))
        ack: PubAck = await self._inner.publish_group(messages)
        if self.failing:
            raise TransientError("stored, and the answer was lost (a test said so)")
        return ack


async def test_one_turn_is_one_group_in_order(world: Any) -> None:
    bus = await world.bus()
    stream = world.stream(allow_groups=True)
    await bus.ensure_stream(stream)
    counting = Counting(bus)
    company = Company(counting)  # type: ignore[arg-type]
    acks = await asyncio.gather(*(company.publish(world.subject("a"), b"%d" % n, msg_id=f"m{n}") for n in range(300)))
    assert counting.groups == [250, 50]
    assert {ack.stream for ack in acks} == {stream.name}
    assert await world.count(stream) == 300
    assert (await company.publish(world.subject("a"), b"x", msg_id="alone")).seq == 301
    assert counting.singles == ["alone"]


async def test_a_group_that_fails_is_repeated_one_by_one_under_the_same_ids(world: Any) -> None:
    bus = await world.bus()
    stream = world.stream(allow_groups=True)
    await bus.ensure_stream(stream)
    counting = Counting(bus)
    counting.failing = True
    company = Company(counting)  # type: ignore[arg-type]
    await asyncio.gather(*(company.publish(world.subject("a"), b"%d" % n, msg_id=f"m{n}") for n in range(5)))
    assert counting.singles == [f"m{n}" for n in range(5)]
    assert await world.count(stream) == 5


async def test_one_that_no_stream_takes_fails_alone(world: Any) -> None:
    bus = await world.bus()
    await bus.ensure_stream(world.stream(allow_groups=True))
    company = Company(bus)
    good, bad = company.publish(world.subject("a"), b"1", msg_id="m1"), company.publish("nowhere.at.all", b"2", msg_id="m2")
    assert (await good).stream
    with pytest.raises(NotFound):
        await bad


async def test_who_no_longer_waits_holds_up_nobody(world: Any) -> None:
    bus = await world.bus()
    stream = world.stream(allow_groups=True)
    await bus.ensure_stream(stream)
    company = Company(bus)
    first, second = (asyncio.ensure_future(company.publish(world.subject("a"), b"%d" % n, msg_id=f"m{n}")) for n in range(2))
    first.cancel()
    assert (await second).stream == stream.name


async def test_what_may_share_a_message_is_joined_and_parted_again_when_it_fails(world: Any) -> None:
    bus = await world.bus()
    stream = world.stream(allow_groups=True)
    await bus.ensure_stream(stream)
    counting = Counting(bus)

    def join(messages: Sequence[tuple[Outbound, str]]) -> list[Outbound]:
        return [Outbound(world.subject("a"), b"+".join(m.body for m, shares in messages if shares == "s"), f"joined{len(counting.groups)}")]

    company = Company(counting, join)  # type: ignore[arg-type]
    acks = await asyncio.gather(*(company.publish(world.subject("a"), b"%d" % n, msg_id=f"m{n}", shares="s") for n in range(3)))
    assert (counting.groups, counting.singles) == ([1], [])
    assert {ack.seq for ack in acks} == {1}
    counting.failing = True
    await asyncio.gather(*(company.publish(world.subject("a"), b"%d" % n, msg_id=f"m{n}", shares="s") for n in range(3)))
    assert counting.singles == ["m0", "m1", "m2"]
    assert await world.count(stream) == 5, "two joined, three alone: the second time its answer was lost"
