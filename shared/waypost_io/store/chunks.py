"""How both adapters cut a blob into chunks and put it together again."""

from __future__ import annotations

from collections.abc import Sequence

from waypost_proto.errors import BadInput, NotFound, TooLarge
from waypost_proto.ids import digest_of
from waypost_proto.limits import BLOB_CHUNK_BYTES, MAX_PAYLOAD_BYTES

MAX_CHUNKS = -(-MAX_PAYLOAD_BYTES // BLOB_CHUNK_BYTES)


def chunks_of(data: bytes) -> list[bytes]:
    """The chunks of a whole value, at least one. Raises `TooLarge`."""
    if len(data) > MAX_PAYLOAD_BYTES:
        raise TooLarge(f"a payload of {len(data)} bytes; the limit is {MAX_PAYLOAD_BYTES}")
    return [data[start : start + BLOB_CHUNK_BYTES] for start in range(0, len(data), BLOB_CHUNK_BYTES)] or [b""]


def check_chunk(sha256: str, index: int, chunks: int, data: bytes) -> None:
    """Refuse what cannot be a chunk. Raises `BadInput`, `TooLarge`."""
    if not 1 <= chunks <= MAX_CHUNKS or not 0 <= index < chunks:
        raise BadInput(f"chunk {index} of {chunks}: a payload has 1 to {MAX_CHUNKS} chunks, counted from 0")
    if len(data) > BLOB_CHUNK_BYTES:
        raise TooLarge(f"a chunk of {len(data)} bytes; the limit is {BLOB_CHUNK_BYTES}")
    if len(data) < BLOB_CHUNK_BYTES and index < chunks - 1:
        raise BadInput(f"chunk {index} of {chunks} has {len(data)} bytes; only the last may be shorter than {BLOB_CHUNK_BYTES}")
    if chunks == 1 and digest_of(data) != sha256:
        raise BadInput(f"the bytes of payload {sha256} have the SHA-256 {digest_of(data)}; send it under that")


def joined(sha256: str, parts: Sequence[tuple[int, bytes]]) -> bytes:
    """The whole value of the (number of chunks, bytes) in order. Raises `NotFound` if one is missing or the digest differs."""
    if not parts:
        raise NotFound(f"no payload {sha256}")
    if any(count != len(parts) for count, _ in parts):
        raise NotFound(f"payload {sha256} is incomplete: {len(parts)} chunks of {parts[0][0]}; upload the rest")
    data = b"".join(chunk for _, chunk in parts)
    if digest_of(data) != sha256:
        raise NotFound(f"payload {sha256} is damaged: its bytes have the SHA-256 {digest_of(data)}; upload it again")
    return data
