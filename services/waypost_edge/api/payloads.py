"""A large value on its way to a caller: chunk by chunk, never whole in memory."""

from __future__ import annotations

import hashlib
import re
from collections.abc import AsyncIterator

from waypost_io.payloads import Payloads
from waypost_proto.errors import BadInput, ContractError

_SHA256 = re.compile(r"[0-9a-f]{64}")


async def pieces_of(payloads: Payloads, sha256: str) -> AsyncIterator[bytes]:
    """The chunks of a value, the first one read already. Raises `BadInput`, `NotFound`; while they come, `ContractError` for other bytes
    than those of the digest, so that the answer ends too early and nobody takes it for whole."""
    if _SHA256.fullmatch(sha256) is None:
        raise BadInput(f"{sha256[:80]!r} is not a SHA-256 in 64 lower-case hex digits")
    first, chunks = await payloads.chunk(sha256, 0)
    return _rest(payloads, sha256, first, chunks)


async def _rest(payloads: Payloads, sha256: str, first: bytes, chunks: int) -> AsyncIterator[bytes]:
    seen = hashlib.sha256(first)
    piece = first
    for index in range(1, chunks):
        yield piece
        piece, _ = await payloads.chunk(sha256, index)
        seen.update(piece)
    if seen.hexdigest() != sha256:
        raise ContractError(f"payload {sha256}: its bytes have another digest")
    yield piece
