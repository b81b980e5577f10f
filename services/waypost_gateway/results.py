"""What a tool returned, made fit to travel: checked against the limits, and claim-checked into the database when it is large."""

from __future__ import annotations

import re

from waypost_io.store.ports import Blobs
from waypost_proto.limits import CLAIM_CHECK_BYTES, MAX_NESTING, MAX_PAYLOAD_BYTES
from waypost_proto.values import BlobRef, Failure

_NOT_BRACKETS = re.compile(rb'"(?:[^"\\]|\\.)*"|[^\[\]{}"]+', re.DOTALL)
_ONE_KIND = bytes.maketrans(b"{}", b"[]")


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
    """Whether valid JSON nests arrays and objects past `MAX_NESTING`: each pass takes away the innermost level, in C."""
    if body.count(b"[") + body.count(b"{") <= MAX_NESTING:
        return False
    brackets = _NOT_BRACKETS.sub(b"", body).translate(_ONE_KIND)
    for _ in range(MAX_NESTING):
        brackets = brackets.replace(b"[]", b"")
        if not brackets:
            return False
    return True


async def carried(result: bytes, blobs: Blobs) -> bytes | BlobRef:
    """The result itself, or a reference to where it now is. Idempotent: the digest names the blob. Raises `TransientError`."""
    if len(result) <= CLAIM_CHECK_BYTES:
        return result
    return BlobRef(sha256=await blobs.put(result), size=len(result))
