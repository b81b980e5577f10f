"""What a tool returned, made fit to travel: checked against the limits, and claim-checked into the database when it is large."""

from __future__ import annotations

from waypost_io.store.ports import Blobs
from waypost_proto.codec import nesting_of
from waypost_proto.limits import CLAIM_CHECK_BYTES, MAX_NESTING, MAX_PAYLOAD_BYTES
from waypost_proto.values import BlobRef, Failure


def unfit(result: bytes) -> Failure | None:
    """Why this result cannot be carried, or None."""
    if len(result) > MAX_PAYLOAD_BYTES:
        return Failure(
            type="ResultTooLarge",
            message=f"the result has {len(result)} bytes, the limit is {MAX_PAYLOAD_BYTES}; keep it elsewhere and return a reference to it",
        )
    if nested_too_deep(result):
        return Failure(type="ResultTooDeep", message=f"the result is nested deeper than {MAX_NESTING} levels; flatten it")
    return None


def nested_too_deep(body: bytes) -> bool:
    """Whether JSON nests arrays and objects past `MAX_NESTING`."""
    return nesting_of(body) > MAX_NESTING


async def carried(result: bytes, blobs: Blobs) -> bytes | BlobRef:
    """The result itself, or a reference to where it now is. Idempotent: the digest names the blob. Raises `TransientError`."""
    if len(result) <= CLAIM_CHECK_BYTES:
        return result
    return BlobRef(sha256=await blobs.put(result), size=len(result))
