"""What a tool returned, made fit to travel: within the limits, without secrets, and claim-checked into the database when it is large."""

from __future__ import annotations

import msgspec

from waypost_io.known_secrets import KNOWN
from waypost_io.store.ports import Blobs
from waypost_proto.codec import nesting_of
from waypost_proto.limits import CLAIM_CHECK_BYTES, MAX_NESTING, MAX_PAYLOAD_BYTES
from waypost_proto.values import BlobRef, Failure

HELD_BACK = b'"*** (the result held a secret of the gateway)"'
"""Stands for a result that is no JSON any more once its secret is hidden: a number, say."""


def unfit(result: bytes, max_bytes: int = MAX_PAYLOAD_BYTES) -> Failure | None:
    """Why this result cannot be carried, or None."""
    if len(result) > max_bytes:
        return Failure(
            type="ResultTooLarge",
            message=f"the result has {len(result)} bytes, the limit is {max_bytes}; keep it elsewhere and return a reference to it",
        )
    if nested_too_deep(result):
        return Failure(type="ResultTooDeep", message=f"the result is nested deeper than {MAX_NESTING} levels; flatten it")
    return None


def nested_too_deep(body: bytes) -> bool:
    """Whether JSON nests arrays and objects past `MAX_NESTING`."""
    return nesting_of(body) > MAX_NESTING


def without_secrets(body: bytes) -> bytes:
    """JSON with every known secret hidden; `body` itself when there is none. Still JSON: where hiding breaks it, all of it is held back."""
    hidden = KNOWN.hide_bytes(body)
    if hidden is body or hidden == body:
        return body
    try:
        msgspec.json.decode(hidden)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return HELD_BACK
    return hidden


async def carried(result: bytes, blobs: Blobs) -> bytes | BlobRef:
    """The result itself, or a reference to where it now is. Idempotent: the digest names the blob. Raises `TransientError`."""
    if len(result) <= CLAIM_CHECK_BYTES:
        return result
    return BlobRef(sha256=await blobs.put(result), size=len(result))
