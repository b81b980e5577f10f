"""The quick parser beside nats-py's own: whatever comes, in whatever pieces, both tell the client the same."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from nats.errors import ProtocolError
from nats.protocol.parser import Parser

from waypost_io.bus._parser import QuickParser

SINK = 7
"""The subscription that has a sink."""


class Client:
    """Notes what a parser tells it, in order."""

    def __init__(self, *, resets: bool = False) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.parser: Parser | None = None
        self._resets = resets

    def deliver(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes | None) -> bool:
        if sid == SINK:
            self._message(sid, subject, reply, data, headers)
        return sid == SINK

    async def _process_msg(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes | None) -> None:
        self._message(sid, subject, reply, data, headers)

    def _message(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes | None) -> None:
        self.told.append(("message", sid, bytes(subject), bytes(reply), data, headers))

    async def _process_err(self, error: str) -> None:
        self.told.append(("error", error))
        if self._resets:
            assert self.parser is not None
            self.parser.reset()

    async def _process_ping(self) -> None:
        self.told.append(("ping",))

    async def _process_pong(self) -> None:
        self.told.append(("pong",))

    async def _process_info(self, info: dict[str, Any]) -> None:
        self.told.append(("info", info))


async def heard(chunks: list[bytes], *, quick: bool) -> list[tuple[Any, ...]]:
    client = Client()
    parser = QuickParser(client, client.deliver) if quick else Parser(client)
    for chunk in chunks:
        try:
            await parser.parse(chunk)
        except ProtocolError as error:
            client.told.append(("malformed", str(error)))
            break
    return client.told


words = st.text("abcde.*>_-", min_size=1, max_size=12).map(str.encode)
bodies = st.one_of(st.binary(max_size=40), st.sampled_from([b"\r\n", b"MSG a 1 1\r\nx\r\n", b"PING\r\n", b"", b"x" * 5_000]))
sids = st.sampled_from([1, SINK, 12])


@st.composite
def frames(draw: st.DrawFn) -> bytes:
    """One thing as a server writes it."""
    kind = draw(st.sampled_from(["msg", "msg", "hmsg", "hmsg", "ok", "ping", "pong", "err", "info"]))
    if kind == "msg":
        body, reply = draw(bodies), draw(st.one_of(st.just(b""), words))
        return (
            b" ".join(part for part in (b"MSG", draw(words), b"%d" % draw(sids), reply, b"%d" % len(body)) if part)
            + b"\r\n"
            + body
            + b"\r\n"
        )
    if kind == "hmsg":
        body, reply = draw(bodies), draw(st.one_of(st.just(b""), words))
        headers = b"NATS/1.0\r\nNats-Msg-Id: " + draw(words) + b"\r\n\r\n"
        sizes = b"%d %d" % (len(headers), len(headers) + len(body))
        return (
            b" ".join(part for part in (b"HMSG", draw(words), b"%d" % draw(sids), reply, sizes) if part)
            + b"\r\n"
            + headers
            + body
            + b"\r\n"
        )
    plain = {"ok": b"+OK\r\n", "ping": b"PING\r\n", "pong": b"PONG\r\n", "err": b"-ERR 'Slow Consumer'\r\n", "info": b'INFO {"a":1}\r\n'}
    return plain[kind]


def cut(data: bytes, places: list[int]) -> list[bytes]:
    marks = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    return [data[start:stop] for start, stop in pairwise(marks)]


@given(st.lists(frames(), max_size=12), st.lists(st.integers(0, 100_000), max_size=8))
@example([b"MSG a 7 2\r\nxy\r\n", b"PING\r\n"], [14, 16, 17])
async def test_both_parsers_tell_the_same_in_the_same_order(stream: list[bytes], places: list[int]) -> None:
    chunks = cut(b"".join(stream), places)

    assert await heard(chunks, quick=True) == await heard(chunks, quick=False)


@pytest.mark.parametrize(
    "data",
    [
        b"NONSENSE\r\n",
        b"MSG a b c d e\r\n",
        b"MSG a x 1\r\nx\r\n",
        b"\r\n",
        b"MSG  7 1\r\nx\r\n",
        b"HMSG a 7 5\r\nabcde\r\n",
        b"MSG a 7 -1\r\n\r\n",
    ],
)
async def test_what_is_malformed_is_judged_as_before(data: bytes) -> None:
    good = b"MSG a 7 2\r\nxy\r\n"

    assert await heard([good, good + data + good], quick=True) == await heard([good, good + data + good], quick=False)


@given(st.binary(max_size=60), st.lists(st.integers(0, 60), max_size=3))
async def test_noise_is_judged_as_before(noise: bytes, places: list[int]) -> None:
    chunks = cut(b"MSG a 7 2\r\nxy\r\n" + noise, places)

    assert await heard(chunks, quick=True) == await heard(chunks, quick=False)


async def test_nothing_of_a_broken_connection_is_left_for_the_next_one() -> None:
    client = Client(resets=True)
    parser = client.parser = QuickParser(client, client.deliver)

    await parser.parse(b"-ERR 'Authentication Timeout'\r\nMSG a 7 50\r\ncut sh")
    await parser.parse(b"MSG b 7 2\r\nxy\r\n")

    assert client.told == [("error", "'authentication timeout'"), ("message", SINK, b"b", b"", b"xy", None)]
