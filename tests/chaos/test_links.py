"""The wires of a storm: frames are cut and forged right, messages are repeated and swallowed, connections stall and are lost."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import nats
import pytest

from tests.chaos.storm.frames import Cutter, Frame, forged
from tests.chaos.storm.links import Link, Mischief
from tests.waiting import wait_until
from waypost_io.servers import EmbeddedNats

HEADERS = b"NATS/1.0\r\nNats-Msg-Id: 7\r\nce-type: x\r\n\r\n"
SENT = b"CONNECT {}\r\nPUB a.b 2\r\nhi\r\nPUB a.c _INBOX.1 0\r\n\r\nHPUB a.d _INBOX.2 %d %d\r\n%sbody\r\nPING\r\n" % (
    len(HEADERS),
    len(HEADERS) + 4,
    HEADERS,
)


def test_frames_are_cut_wherever_the_bytes_are_split() -> None:
    whole = list(Cutter().feed(SENT))
    assert [frame.subject for frame in whole] == [b"", b"a.b", b"a.c", b"a.d", b""]
    assert whole[3] == Frame(whole[3].data, b"a.d", b"_INBOX.2", HEADERS, b"body")
    assert b"".join(frame.data for frame in whole) == SENT
    for size in (1, 3, 17):
        cutter = Cutter()
        cut = [frame for start in range(0, len(SENT), size) for frame in cutter.feed(SENT[start : start + size])]
        assert cut == whole


def test_a_forged_frame_is_the_message_without_its_id() -> None:
    frame = list(Cutter().feed(SENT))[3]
    (copy,) = Cutter().feed(forged(frame, reply=True))
    assert (copy.subject, copy.reply, copy.body) == (b"a.d", b"_INBOX.2", b"body")
    assert copy.headers == b"NATS/1.0\r\nce-type: x\r\n\r\n"
    (plain,) = Cutter().feed(forged(Frame(b"", b"a.d", b"_INBOX.2", b"NATS/1.0\r\nnats-msg-id: 7\r\n\r\n", b"body"), reply=False))
    assert (plain.reply, plain.headers, plain.body) == (b"", b"", b"body")


def test_acks_are_swallowed_and_nothing_else() -> None:
    mischief = Mischief(b"w.", acks_lost=1, chance=random.Random(1))
    acks = [Frame(b"x", b"$JS.ACK.s.c.1", b"", b"", b"+ACK")] * 100
    passed = sum(mischief.apply(frame, lambda _seconds, _copy: None) == b"x" for frame in acks)
    assert passed + mischief.swallowed == 100
    assert 20 < mischief.swallowed < 80
    for frame in (Frame(b"x", b"$JS.ACK.s.c.1", b"", b"", b"+WPI"), Frame(b"x", b"w.tasks.a", b"", b"", b"")):
        assert mischief.apply(frame, lambda _seconds, _copy: None) == b"x"


async def test_messages_are_stored_twice_through_a_link(own_nats: EmbeddedNats) -> None:
    mischief = Mischief(b"w.", chance=random.Random(1))
    link = Link("127.0.0.1", own_nats.port, mischief)
    await link.open()
    connection = await nats.connect(f"nats://127.0.0.1:{link.port}")
    try:
        stream = connection.jetstream()
        await stream.add_stream(name="W", subjects=["w.>"])
        await stream.publish("w.one", b"1", headers={"Nats-Msg-Id": "a"})
        mischief.twice = 1
        for number in range(10):
            await stream.publish("w.two", b"2", headers={"Nats-Msg-Id": f"b{number}"})

        async def stored() -> bool:
            return (await stream.stream_info("W")).state.messages == 1 + 2 * 10

        await wait_until(stored)
        assert mischief.repeated == 10
    finally:
        await connection.close()
        await link.close()


@asynccontextmanager
async def echo() -> AsyncIterator[Link]:
    """A link to a server that answers each line with itself."""
    ended = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while line := await reader.readline():
                writer.write(line)
        writer.close()
        ended.set()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    link = Link("127.0.0.1", server.sockets[0].getsockname()[1])
    await link.open()
    try:
        yield link
    finally:
        await link.close()
        server.close()
        await asyncio.wait_for(ended.wait(), 5)


async def test_what_is_stalled_arrives_afterwards() -> None:
    async with echo() as link:
        reader, writer = await asyncio.open_connection("127.0.0.1", link.port)
        writer.write(b"one\n")
        assert await reader.readline() == b"one\n"
        with link.stalled():
            writer.write(b"two\n")
            late, other = await asyncio.open_connection("127.0.0.1", link.port)
            other.write(b"three\n")
            done, waiting = await asyncio.wait([asyncio.ensure_future(r.readline()) for r in (reader, late)], timeout=0.2)
            assert not done
        assert [await line for line in waiting] in ([b"two\n", b"three\n"], [b"three\n", b"two\n"])
        other.close()
        writer.close()


async def test_a_half_open_connection_answers_never_again_and_new_ones_do() -> None:
    async with echo() as link:
        reader, writer = await asyncio.open_connection("127.0.0.1", link.port)
        writer.write(b"one\n")
        assert await reader.readline() == b"one\n"
        with link.half_open():
            writer.write(b"two\n")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(reader.readline(), 0.2)
            fresh, other = await asyncio.open_connection("127.0.0.1", link.port)
            other.write(b"three\n")
            assert await fresh.readline() == b"three\n"
        with suppress(ConnectionError):
            assert await reader.read() == b""
        other.close()
        writer.close()
