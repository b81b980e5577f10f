"""The claim check over NATS, opposite a scripted blob service."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from waypost_io.bus.memory import MemoryBroker, MemoryBus
from waypost_io.bus.ports import Endpoint, Headers, Message
from waypost_io.payloads import CHUNKS_HEADER, INDEX_HEADER, SHA256_HEADER, Payloads, answer_of
from waypost_proto.api import PayloadGet
from waypost_proto.codec import decode
from waypost_proto.errors import Conflict, ContractError, NotFound, TooLarge, TransientError, Unreachable, WaypostError
from waypost_proto.ids import digest_of
from waypost_proto.limits import BLOB_CHUNK_BYTES, MAX_PAYLOAD_BYTES
from waypost_proto.subjects import Subjects
from waypost_proto.values import BlobRef

SUBJECTS = Subjects()


class Blobs:
    """Chunks by digest; may be unwilling for a while."""

    def __init__(self) -> None:
        self.chunks: dict[str, dict[int, bytes]] = {}
        self.counts: dict[str, int] = {}
        self.requests = 0
        self.busy = 0

    def endpoints(self) -> list[Endpoint]:
        return [
            Endpoint("payloads-get", SUBJECTS.api("payloads", "get"), self.get),
            Endpoint("payloads-put", SUBJECTS.api("payloads", "put"), self.put),
        ]

    def _turn(self) -> None:
        self.requests += 1
        if self.busy:
            self.busy -= 1
            raise TransientError("not now")

    async def put(self, message: Message) -> bytes:
        self._turn()
        assert len(message.body) <= BLOB_CHUNK_BYTES
        sha256 = message.headers[SHA256_HEADER]
        self.chunks.setdefault(sha256, {})[int(message.headers[INDEX_HEADER])] = message.body
        self.counts[sha256] = int(message.headers[CHUNKS_HEADER])
        return b"{}"

    async def get(self, message: Message) -> tuple[bytes, Headers]:
        self._turn()
        request = decode(PayloadGet, message.body)
        if request.sha256 not in self.chunks:
            raise NotFound(f"no payload {request.sha256}")
        return self.chunks[request.sha256][request.index], {CHUNKS_HEADER: str(self.counts[request.sha256])}

    def whole(self, sha256: str) -> bytes:
        return b"".join(self.chunks[sha256][index] for index in range(self.counts[sha256]))


@pytest.fixture
async def bus() -> AsyncIterator[MemoryBus]:
    async with MemoryBus(MemoryBroker()) as bus:
        yield bus


@pytest.fixture
async def blobs(bus: MemoryBus) -> Blobs:
    blobs = Blobs()
    await bus.serve("waypost", "1.0.0", "blobs", blobs.endpoints())
    return blobs


SIZES = [0, 1, BLOB_CHUNK_BYTES, BLOB_CHUNK_BYTES + 1, BLOB_CHUNK_BYTES * 7 - 3]


@pytest.mark.parametrize("size", SIZES)
async def test_there_and_back(bus: MemoryBus, blobs: Blobs, size: int) -> None:
    data = bytes(index % 251 for index in range(size))
    ref = await Payloads(bus, SUBJECTS).store(data)
    assert ref == BlobRef(sha256=digest_of(data), size=size)
    assert blobs.whole(ref.sha256) == data
    assert await Payloads(bus, SUBJECTS).fetch(ref) == data


async def test_what_was_stored_or_fetched_is_not_asked_for_again(bus: MemoryBus, blobs: Blobs) -> None:
    payloads = Payloads(bus, SUBJECTS, cache_bytes=10)
    ref = await payloads.store(b"12345")
    assert await payloads.fetch(ref) == b"12345"
    assert blobs.requests == 1
    await payloads.store(b"67890-")  # the cache holds one of them
    assert await payloads.fetch(ref) == b"12345"
    assert blobs.requests == 3


async def test_a_busy_coordinator_is_asked_again(bus: MemoryBus, blobs: Blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("waypost_io.payloads._FIRST_DELAY_SECONDS", 0.001)
    blobs.busy = 3
    payloads = Payloads(bus, SUBJECTS)
    ref = await payloads.store(b"data")
    assert blobs.whole(ref.sha256) == b"data"
    blobs.busy = 1_000
    with pytest.raises(Unreachable, match=r"6 attempts.*is a coordinator running"):
        await payloads.store(b"other")


async def test_nobody_there(bus: MemoryBus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("waypost_io.payloads._FIRST_DELAY_SECONDS", 0.001)
    with pytest.raises(Unreachable, match="is a coordinator running"):
        await Payloads(bus, SUBJECTS).fetch(BlobRef(sha256="a" * 64, size=1))


async def test_past_the_limit_nothing_is_sent(bus: MemoryBus, blobs: Blobs) -> None:
    with pytest.raises(TooLarge, match=str(MAX_PAYLOAD_BYTES)):
        await Payloads(bus, SUBJECTS).store(b"x" * (MAX_PAYLOAD_BYTES + 1))
    with pytest.raises(TooLarge, match=str(MAX_PAYLOAD_BYTES)):
        await Payloads(bus, SUBJECTS).fetch(BlobRef(sha256="a" * 64, size=MAX_PAYLOAD_BYTES + 1))
    assert blobs.requests == 0


async def test_what_nobody_stored(bus: MemoryBus, blobs: Blobs) -> None:
    with pytest.raises(NotFound, match="no payload aaaa"):
        await Payloads(bus, SUBJECTS).fetch(BlobRef(sha256="a" * 64, size=1))
    assert blobs.requests == 1


async def test_other_bytes_than_the_digest_says(bus: MemoryBus, blobs: Blobs) -> None:
    ref = await Payloads(bus, SUBJECTS).store(b"right")
    blobs.chunks[ref.sha256][0] = b"wrong"
    with pytest.raises(ContractError, match="another digest"):
        await Payloads(bus, SUBJECTS).fetch(ref)


@pytest.mark.parametrize("chunks", ["many", "0", "100000"])
async def test_impossible_numbers_of_chunks(bus: MemoryBus, blobs: Blobs, chunks: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ref = await Payloads(bus, SUBJECTS).store(b"data")

    async def get(message: Message) -> Message:
        return Message("", b"data", {CHUNKS_HEADER: chunks})

    payloads = Payloads(bus, SUBJECTS)
    monkeypatch.setattr(payloads, "_chunk", lambda *_: get(Message("", b"")))
    with pytest.raises(ContractError, match=chunks):
        await payloads.fetch(ref)


@pytest.mark.parametrize(("code", "kind"), [("404", NotFound), ("409", Conflict), ("503", TransientError), ("500", WaypostError)])
def test_an_error_answer_is_raised_as_its_class(code: str, kind: type[WaypostError]) -> None:
    answer = Message("", b"", {"Nats-Service-Error-Code": code, "Nats-Service-Error": "because"})
    with pytest.raises(kind, match=r"^because$") as caught:
        answer_of(answer)
    assert (type(caught.value), caught.value.code) == (kind, code)
