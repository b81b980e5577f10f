"""The bus in memory on a clock of the test's own: nothing happens by itself, and everything happens the same way twice."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable

import pytest

from waypost_io.bus._memory_store import matches, overlap, transformed
from waypost_io.bus.memory import MemoryBroker, MemoryBus
from waypost_io.bus.ports import ConsumerSpec, StreamSpec
from waypost_proto.errors import NotFound, Unreachable

STREAM = StreamSpec(name="S", subjects=("s.>",), retention="work_queue", duplicate_window_seconds=100.0)
CONSUMER = ConsumerSpec(stream="S", name="c", filter_subject="s.>", ack_wait_seconds=30.0, inactive_seconds=500.0)


class Timer:
    def __init__(self) -> None:
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Clock:
    """Virtual time: `pass_seconds` runs what falls due, in order."""

    def __init__(self) -> None:
        self.now = 1_700_000_000.0
        self._due: list[tuple[float, int, Timer, Callable[[], None]]] = []

    def __call__(self) -> float:
        return self.now

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        timer = Timer()
        heapq.heappush(self._due, (self.now + seconds, len(self._due), timer, callback))
        return timer

    def pass_seconds(self, seconds: float) -> None:
        end = self.now + seconds
        while self._due and self._due[0][0] <= end:
            self.now, _, timer, callback = heapq.heappop(self._due)
            if not timer.cancelled:
                callback()
        self.now = end


async def setup(clock: Clock) -> tuple[MemoryBroker, MemoryBus]:
    broker = MemoryBroker(clock=clock, call_later=clock.call_later)
    bus = await MemoryBus(broker).__aenter__()
    await bus.ensure_stream(STREAM)
    await bus.ensure_consumer(CONSUMER)
    return broker, bus


async def test_the_ack_wait_runs_on_the_given_clock() -> None:
    clock = Clock()
    _, bus = await setup(clock)
    await bus.publish("s.a", b"1")
    puller = bus.pull("S", "c")
    (first,) = await puller.next_batch(1)
    assert (first.timestamp, first.delivered) == (1_700_000_000.0, 1)
    clock.pass_seconds(29)
    first.in_progress()
    waiting = asyncio.ensure_future(puller.next_batch(1))
    clock.pass_seconds(29)
    await asyncio.sleep(0)
    assert not waiting.done()
    clock.pass_seconds(2)
    (second,) = await waiting
    assert (second.timestamp, second.delivered) == (1_700_000_000.0, 2)


async def test_the_duplicate_window_runs_on_the_given_clock() -> None:
    clock = Clock()
    _, bus = await setup(clock)
    assert not (await bus.publish("s.a", b"1", msg_id="x")).duplicate
    clock.pass_seconds(99)
    assert (await bus.publish("s.a", b"1", msg_id="x")).duplicate
    clock.pass_seconds(2)
    assert not (await bus.publish("s.a", b"1", msg_id="x")).duplicate


async def test_an_idle_consumer_goes_on_the_given_clock() -> None:
    clock = Clock()
    _, bus = await setup(clock)
    puller = bus.pull("S", "c")
    waiting = asyncio.ensure_future(puller.next_batch(1))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    clock.pass_seconds(10_000)
    assert not waiting.done()
    waiting.cancel()
    await puller.close()
    clock.pass_seconds(499)
    await bus.ensure_consumer(CONSUMER)
    clock.pass_seconds(2)
    with pytest.raises(NotFound):
        await bus.pull("S", "c").next_batch(1)


async def test_a_request_times_out_on_the_given_clock() -> None:
    clock = Clock()
    _, bus = await setup(clock)

    async def ignore(message: object) -> None:
        del message

    await bus.subscribe("mute", ignore)
    asked = asyncio.ensure_future(bus.request("mute", b"", timeout_seconds=5))
    await asyncio.sleep(0)
    clock.pass_seconds(4.9)
    await asyncio.sleep(0)
    assert not asked.done()
    clock.pass_seconds(0.2)
    with pytest.raises(Unreachable):
        await asked


async def test_a_wipe_ends_what_waits_and_calls_back() -> None:
    broker, bus = await setup(Clock())
    called: list[int] = []
    bus.on_reconnect(lambda: called.append(1))
    waiting = asyncio.ensure_future(bus.pull("S", "c").next_batch(1))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    broker.wipe()
    with pytest.raises(NotFound):
        await waiting
    assert called == [1]
    assert await bus.stream_mark("S") is None


async def test_redeliveries_come_first_and_in_order() -> None:
    clock = Clock()
    _, bus = await setup(clock)
    for n in range(6):
        await bus.publish("s.a", str(n).encode())
    puller = bus.pull("S", "c")
    await puller.next_batch(4)
    clock.pass_seconds(31)
    assert [(delivery.body, delivery.delivered) for delivery in await puller.next_batch(6)] == [
        (b"0", 2),
        (b"1", 2),
        (b"2", 2),
        (b"3", 2),
        (b"4", 1),
        (b"5", 1),
    ]


@pytest.mark.parametrize(
    ("pattern", "subject", "expected"),
    [
        ("a.b", "a.b", True),
        ("a.*", "a.b", True),
        ("a.*", "a.b.c", False),
        ("a.>", "a.b.c", True),
        ("a.>", "a", False),
        ("*.b.*", "a.b.c", True),
        ("*.b.*", "a.x.c", False),
        (">", "a", True),
    ],
)
def test_matching(pattern: str, subject: str, expected: bool) -> None:
    assert matches(pattern, subject) is expected


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("w.*.*.w1", "w.a.b.any", False),
        ("w.*.*.w1", "w.*.*.w2", False),
        ("w.*.*.w1", "w.a.*.*", True),
        ("a.>", "a.b.c", True),
        ("a.>", "b.>", False),
        ("a.b", "a.b.c", False),
    ],
)
def test_overlap(one: str, other: str, expected: bool) -> None:
    assert overlap(one, other) is overlap(other, one) is expected


def test_transform() -> None:
    assert transformed("m.k.n.r", "m.*.*.*", "m.{{wildcard(2)}}.{{wildcard(1)}}.x") == "m.n.k.x"
