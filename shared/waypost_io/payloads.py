"""Claim check over NATS: large values up to and down from the coordinator, in chunks. For workers and clients.

Owns the chunking, the digest check and a small cache. A gateway, which has the database, uses `store.blobs` instead.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Coroutine, Iterable, Mapping
from copy import copy
from typing import TypeVar

from waypost_io.bus.ports import Bus, Message
from waypost_io.identity import Signs
from waypost_proto.api import ApiError, PayloadGet
from waypost_proto.codec import decode, encode
from waypost_proto.errors import (
    BadInput,
    BadMessage,
    Conflict,
    ContractError,
    Denied,
    NotAuthenticated,
    NotConfirmed,
    NotFound,
    TooLarge,
    TransientError,
    Unreachable,
    WaypostError,
)
from waypost_proto.ids import digest_of
from waypost_proto.limits import BLOB_CHUNK_BYTES, MAX_PAYLOAD_BYTES
from waypost_proto.subjects import Subjects
from waypost_proto.values import BlobRef

SHA256_HEADER = "Waypost-Sha256"
INDEX_HEADER = "Waypost-Index"
CHUNKS_HEADER = "Waypost-Chunks"
_ERROR_CODE_HEADER = "Nats-Service-Error-Code"
_ERROR_HEADER = "Nats-Service-Error"

_CACHE_BYTES = 4 * 1024 * 1024
"""What the cache of downloaded values may take: a few large values, in an otherwise small process."""
_IN_FLIGHT = 4
"""Chunks asked for at the same time: 1 MiB under way, which the server's pending buffer takes with ease."""
_ATTEMPTS = 6
"""Tries of one chunk before `Unreachable`: with the delays between them, about six seconds and the requests' own time limits."""
_FIRST_DELAY_SECONDS = 0.2

T = TypeVar("T")

_BY_CODE: Mapping[str, type[WaypostError]] = {
    "400": BadInput,
    "401": NotAuthenticated,
    "403": Denied,
    "404": NotFound,
    "409": Conflict,
    "413": TooLarge,
    "503": TransientError,
    "504": NotConfirmed,
}


def answer_of(message: Message) -> Message:
    """The answer itself, or the error it carries, raised as the class that its code stands for.

    Codes without a class of their own raise `WaypostError`.
    """
    code = message.headers.get(_ERROR_CODE_HEADER)
    if code is None:
        return message
    text = message.headers.get(_ERROR_HEADER, "")
    try:
        text = decode(ApiError, message.body).detail or text
    except BadMessage:
        text = text or "no reason given"
    error = _BY_CODE.get(code, WaypostError)(text)
    error.code = code
    raise error


class Payloads:
    """Stores and fetches large values through `waypost.api.payloads.*`. Safe to use from many tasks at once."""

    def __init__(self, bus: Bus, subjects: Subjects, *, cache_bytes: int = _CACHE_BYTES, signer: Signs | None = None) -> None:
        """`signer`: whose requests these are; None: nobody's."""
        self._bus = bus
        self._signer = signer
        self._put = subjects.api("payloads", "put")
        self._get = subjects.api("payloads", "get")
        self._cache: OrderedDict[str, bytes] = OrderedDict()
        self._cache_bytes = cache_bytes
        self._cached = 0

    def signed_by(self, signer: Signs | None) -> Payloads:
        """The same, with requests that somebody else signs, or nobody. It shares the cache."""
        other = copy(self)
        other._signer = signer
        return other

    async def store(self, data: bytes) -> BlobRef:
        """Upload `data` (JSON bytes); it is committed when this returns. Idempotent: the digest names it.

        Raises `TooLarge` past `MAX_PAYLOAD_BYTES`, `TransientError` when the coordinator does not answer in time.
        """
        if len(data) > MAX_PAYLOAD_BYTES:
            raise TooLarge(f"a value of {len(data)} bytes: the limit is {MAX_PAYLOAD_BYTES}; keep it elsewhere and pass a reference to it")
        ref = BlobRef(sha256=digest_of(data), size=len(data))
        chunks = max(1, -(-len(data) // BLOB_CHUNK_BYTES))
        gate = asyncio.Semaphore(_IN_FLIGHT)

        async def put(index: int) -> None:
            headers = {SHA256_HEADER: ref.sha256, INDEX_HEADER: str(index), CHUNKS_HEADER: str(chunks)}
            start = index * BLOB_CHUNK_BYTES
            async with gate:
                await self._ask(self._put, data[start : start + BLOB_CHUNK_BYTES], headers)

        await _all(put(index) for index in range(chunks))
        self._remember(ref.sha256, data)
        return ref

    async def fetch(self, ref: BlobRef) -> bytes:
        """The value behind `ref`, its digest checked.

        Raises `NotFound` (nobody stored it), `TooLarge`, `ContractError` (the bytes are not those of the digest), `TransientError`.
        """
        cached = self._cache.get(ref.sha256)
        if cached is not None:
            self._cache.move_to_end(ref.sha256)
            return cached
        if ref.size > MAX_PAYLOAD_BYTES:
            raise TooLarge(f"payload {ref.sha256} has {ref.size} bytes, the limit is {MAX_PAYLOAD_BYTES}")
        first = await self._chunk(ref.sha256, 0)
        parts = [first.body]
        chunks = self._chunks_of(ref.sha256, first)
        if chunks > 1:
            gate = asyncio.Semaphore(_IN_FLIGHT)

            async def get(index: int) -> bytes:
                async with gate:
                    return (await self._chunk(ref.sha256, index)).body

            parts += await _all(get(index) for index in range(1, chunks))
        data = b"".join(parts)
        if digest_of(data) != ref.sha256:
            raise ContractError(f"payload {ref.sha256}: the {len(data)} bytes received have another digest; fetch it again")
        self._remember(ref.sha256, data)
        return data

    async def chunk(self, sha256: str, index: int) -> tuple[bytes, int]:
        """One chunk of a value, unchecked, and how many there are: for whoever passes it on piece by piece. Raises as `fetch` does."""
        found = await self._chunk(sha256, index)
        return found.body, self._chunks_of(sha256, found)

    def _chunks_of(self, sha256: str, first: Message) -> int:
        try:
            chunks = int(first.headers.get(CHUNKS_HEADER, "1"))
        except ValueError as error:
            raise ContractError(f"payload {sha256}: {CHUNKS_HEADER} is {first.headers[CHUNKS_HEADER]!r}") from error
        if not 1 <= chunks <= MAX_PAYLOAD_BYTES // BLOB_CHUNK_BYTES + 1:
            raise ContractError(f"payload {sha256}: {chunks} chunks are not possible")
        return chunks

    async def _chunk(self, sha256: str, index: int) -> Message:
        return await self._ask(self._get, encode(PayloadGet(sha256=sha256, index=index)), None)

    async def _ask(self, subject: str, body: bytes, headers: Mapping[str, str] | None) -> Message:
        """One request, tried again a few times: every one of ours is idempotent."""
        delay = _FIRST_DELAY_SECONDS
        for attempt in range(1, _ATTEMPTS + 1):
            signed = {} if self._signer is None else self._signer.headers(subject, body)
            try:
                return answer_of(await self._bus.request(subject, body, headers={**(headers or {}), **signed}))
            except TransientError as error:
                if attempt == _ATTEMPTS:
                    raise Unreachable(f"{subject} did not answer in {_ATTEMPTS} attempts: {error}; is a coordinator running?") from error
            await asyncio.sleep(delay)
            delay *= 2
        raise AssertionError("unreachable")

    def _remember(self, sha256: str, data: bytes) -> None:
        if len(data) > self._cache_bytes or sha256 in self._cache:
            return
        self._cache[sha256] = data
        self._cached += len(data)
        while self._cached > self._cache_bytes:
            _, dropped = self._cache.popitem(last=False)
            self._cached -= len(dropped)


async def _all(calls: Iterable[Coroutine[object, object, T]]) -> list[T]:
    """Run them together; the first failure cancels the rest and is raised as it is."""
    tasks = [asyncio.ensure_future(call) for call in calls]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
