"""Pieces of an answer on their way to whoever watches: collected, bounded, and never waited for."""

from __future__ import annotations

import asyncio

from msgspec import UNSET, Raw

from tests.unit.waypost.models.world import RUN
from tests.waiting import wait_until
from waypost_proto.codec import decode_union
from waypost_proto.errors import TooLarge
from waypost_proto.ids import CallId
from waypost_proto.limits import HEADER_ALLOWANCE_BYTES, MAX_GRAPH_PART_BYTES, MAX_MESSAGE_BYTES
from waypost_proto.streams import (
    AnyStreamed,
    GraphEnded,
    GraphPart,
    GraphParts,
    GraphStarted,
    StreamEnded,
    StreamPieces,
    StreamStarted,
    TextPiece,
    ToolPiece,
)
from waypost_proto.subjects import Subjects
from waypost_proto.values import Failure, Token
from waypost_worker.graph_stream import GraphStream
from waypost_worker.token_stream import CallStream, TokenStreams


class Wire:
    """The bus as a list."""

    def __init__(self) -> None:
        self.connected = True
        self.sent: list[AnyStreamed] = []
        self.sizes: list[int] = []

    def send(self, subject: str, body: bytes) -> None:
        assert subject == f"t.stream.{RUN}"
        if len(body) > MAX_MESSAGE_BYTES - HEADER_ALLOWANCE_BYTES:
            raise TooLarge("too large")
        self.sizes.append(len(body))
        self.sent.append(decode_union(AnyStreamed, body))

    @property
    def text(self) -> str:
        return "".join(p.text for m in self.sent if isinstance(m, StreamPieces) for p in m.pieces if isinstance(p, TextPiece))


def opened(wire: Wire, flush_seconds: float = 0.001) -> CallStream:
    streams = TokenStreams(wire, Subjects("t"), "worker-1", flush_seconds=flush_seconds)
    return streams.opener(RUN, CallId("0:1"), "desk", lambda: Token(epoch=2, counter=7))()


async def test_pieces_of_a_moment_travel_together() -> None:
    wire = Wire()
    stream = opened(wire)
    stream.begin("m", "p")
    for number in range(50):
        stream.piece(TextPiece(text=f"{number} "))
    await wait_until(lambda: len(wire.sent) == 2)
    stream.piece(TextPiece(text="end"))
    stream.end()
    stream.end()
    first, one, two, last = wire.sent
    assert isinstance(first, StreamStarted)
    assert (first.model, first.agent, first.worker, first.number, first.token) == ("m", "desk", "worker-1", 1, Token(epoch=2, counter=7))
    assert isinstance(one, StreamPieces)
    assert len(one.pieces) == 1
    assert isinstance(two, StreamPieces)
    assert isinstance(last, StreamEnded)
    assert [one.seq, two.seq, last.seq] == [1, 2, 3]
    assert {one.attempt, two.attempt, last.attempt} == {first.attempt}
    assert wire.text == "".join(f"{number} " for number in range(50)) + "end"


async def test_another_request_is_another_attempt() -> None:
    wire = Wire()
    stream = opened(wire)
    stream.begin("m", "p")
    stream.piece(TextPiece(text="lost"))
    stream.end(Failure(type="ModelCut", message="x" * 9_000))
    stream.begin("m", "p")
    stream.end()
    starts = [m for m in wire.sent if isinstance(m, StreamStarted)]
    assert [m.number for m in starts] == [1, 2]
    assert starts[0].attempt != starts[1].attempt
    broken = next(m for m in wire.sent if isinstance(m, StreamEnded))
    assert broken.error is not None
    assert len(broken.error.message) == 500


async def test_a_large_piece_is_split_and_nothing_is_lost() -> None:
    wire = Wire()
    stream = opened(wire)
    stream.begin("m", "p")
    text = "".join(chr(0x1F600 + i % 50) for i in range(300_000)) + '"\n' * 50_000
    stream.piece(TextPiece(text=text))
    stream.piece(ToolPiece(index=0, name="look-up", arguments="\x01" * 100_000))
    stream.end()
    assert wire.text == text
    tools = [p for m in wire.sent if isinstance(m, StreamPieces) for p in m.pieces if isinstance(p, ToolPiece)]
    assert [p.name for p in tools][:2] == ["look-up", ""]
    assert sum(len(p.arguments) for p in tools) == 100_000


async def test_without_a_connection_or_readers_nothing_waits_and_nothing_is_kept() -> None:
    wire = Wire()
    wire.connected = False
    stream = opened(wire)
    stream.begin("m", "p")
    for _ in range(1_000):
        stream.piece(TextPiece(text="x"))
    await asyncio.sleep(0)
    stream.end()
    assert wire.sent == []


async def test_what_cannot_be_written_as_json_is_left_out() -> None:
    wire = Wire()
    stream = opened(wire)
    stream.begin("m", "p")
    stream.piece(TextPiece(text="\ud83d"))
    stream.end()
    assert [type(m) for m in wire.sent] == [StreamStarted, StreamEnded]


def shown(wire: Wire) -> GraphStream:
    streams = TokenStreams(wire, Subjects("t"), "worker-1", flush_seconds=0.001)
    return GraphStream(streams, RUN, "desk", lambda: Token(epoch=2, counter=7))


async def test_what_a_graph_shows_travels_together() -> None:
    wire = Wire()
    stream = shown(wire)
    stream.part(GraphPart(mode="custom"))  # before it was begun
    stream.begin({"": "c1"})
    for number in range(3):
        stream.part(GraphPart(mode="custom", checkpoint="c1", data=Raw(b"%d" % number)))
    await wait_until(lambda: len(wire.sent) == 2)
    stream.part(GraphPart(mode="updates", namespace=["inner:1"], omitted="why"))
    stream.end(Failure(type="ValueError", message="x" * 9_000))
    stream.end()
    began, one, two, last = wire.sent
    assert isinstance(began, GraphStarted)
    assert (began.checkpoints, began.worker, began.token) == ({"": "c1"}, "worker-1", Token(epoch=2, counter=7))
    assert isinstance(one, GraphParts)
    assert [bytes(part.data) for part in one.parts if part.data is not UNSET] == [b"0", b"1", b"2"]
    assert isinstance(two, GraphParts)
    assert two.parts == [GraphPart(mode="updates", namespace=["inner:1"], omitted="why")]
    assert isinstance(last, GraphEnded)
    assert last.error is not None
    assert len(last.error.message) == 500
    assert [one.seq, two.seq, last.seq] == [1, 2, 3]


async def test_many_large_parts_fit_into_messages_and_a_new_attempt_drops_what_waits() -> None:
    wire = Wire()
    stream = shown(wire)
    stream.begin({})
    for _ in range(20):
        stream.part(GraphPart(mode="values", data=Raw(b'"' + b"x" * (MAX_GRAPH_PART_BYTES - 2) + b'"')))
    stream.end()
    assert sum(len(message.parts) for message in wire.sent if isinstance(message, GraphParts)) == 20
    stream.begin({})
    stream.part(GraphPart(mode="custom", data=Raw(b"1")))
    stream.begin({"": "c1"})
    stream.end()
    assert [type(message) for message in wire.sent[-3:]] == [GraphStarted, GraphStarted, GraphEnded]
