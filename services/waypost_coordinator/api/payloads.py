"""`payloads.put` and `payloads.get`: large values, one chunk per request (claim check)."""

from __future__ import annotations

import re
from collections.abc import Mapping

from waypost_coordinator.api.exchange import read
from waypost_coordinator.api.ports import Api
from waypost_io.bus.ports import Message
from waypost_proto.api import CHUNKS_HEADER, INDEX_HEADER, SHA256_HEADER, PayloadGet
from waypost_proto.errors import BadInput, TooLarge
from waypost_proto.limits import BLOB_CHUNK_BYTES, MAX_PAYLOAD_BYTES

MAX_CHUNKS = -(-MAX_PAYLOAD_BYTES // BLOB_CHUNK_BYTES)
_SHA256 = re.compile(r"[0-9a-f]{64}")


async def put(api: Api, message: Message) -> tuple[bytes, Mapping[str, str]]:
    """Store the body as chunk `Waypost-Index` of `Waypost-Chunks` of the payload `Waypost-Sha256`. Idempotent.

    Chunks are `BLOB_CHUNK_BYTES` long, the last one shorter; the digest of the whole is checked when it is read.
    """
    sha256 = _sha256(message.headers.get(SHA256_HEADER, ""))
    chunks = _number(message.headers, CHUNKS_HEADER)
    index = _number(message.headers, INDEX_HEADER)
    if not 1 <= chunks <= MAX_CHUNKS:
        raise TooLarge(f"{chunks} chunks, the limit is {MAX_CHUNKS} of {BLOB_CHUNK_BYTES} bytes ({MAX_PAYLOAD_BYTES} in all)")
    if not 0 <= index < chunks:
        raise BadInput(f"{INDEX_HEADER} {index} is out of range: there are {chunks} chunks, the first is 0")
    expected = BLOB_CHUNK_BYTES if index < chunks - 1 else None
    size = len(message.body)
    if size > BLOB_CHUNK_BYTES or size == 0 or (expected is not None and size != expected):
        raise BadInput(f"chunk {index} of {chunks} has {size} bytes: all but the last have exactly {BLOB_CHUNK_BYTES}")
    await api.store.blobs.put_chunk(sha256, index, chunks, message.body)
    return b"{}", {}


async def get(api: Api, message: Message) -> tuple[bytes, Mapping[str, str]]:
    """One chunk of a payload as the body; the header `Waypost-Chunks` says how many there are. Raises `NotFound`."""
    request = read(PayloadGet, message.body)
    data, chunks = await api.store.blobs.get_chunk(_sha256(request.sha256), request.index)
    return data, {CHUNKS_HEADER: str(chunks)}


def _sha256(text: str) -> str:
    if _SHA256.fullmatch(text) is None:
        raise BadInput(f"{text!r} is not a SHA-256 in 64 lower-case hex digits")
    return text


def _number(headers: Mapping[str, str], name: str) -> int:
    text = headers.get(name, "")
    if not text.isascii() or not text.isdigit():
        raise BadInput(f"header {name} is {text!r}: a whole number is needed")
    return int(text)
