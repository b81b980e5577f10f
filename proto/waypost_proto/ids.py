"""Identifiers: how they look, how they are made, how they are derived. Owns no state and reads no clock.

A run id is a UUIDv7 (RFC 9562 section 5.7) in canonical lower-case form; its 32 hex digits are the trace id.
Ids that must come out the same when a message is delivered again are *derived* from what does not change
between deliveries (CORRECTNESS.md row 8).
"""

from __future__ import annotations

import hashlib
import re
from typing import NewType

from waypost_proto.errors import BadInput

RunId = NewType("RunId", str)
"""Canonical lower-case UUIDv7."""
CallId = NewType("CallId", str)
"""A command's id within its run: the issuing task's path, a colon, a counter within that task (`0.2:1`)."""
WorkerId = NewType("WorkerId", str)
"""One worker process: `[a-z0-9-]{1,63}`, unique per process start."""

NAME_PATTERN = re.compile(r"[a-z0-9-]{1,63}")
"""What an agent, tool, worker or build token may look like; it is used as a NATS subject token as it is."""
_UUID7 = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_FNV_OFFSET = 2166136261
_FNV_PRIME = 16777619


def check_name(kind: str, name: str) -> str:
    """Return `name` if it may stand in a subject; raise `BadInput` that names `kind` otherwise."""
    if NAME_PATTERN.fullmatch(name) is None:
        raise BadInput(f"{kind} name {name!r} is not allowed: use 1 to 63 of the characters a-z, 0-9 and '-'")
    return name


def parse_run_id(text: str) -> RunId:
    """Check that `text` is a canonical UUIDv7 (upper case is folded). Raises `BadInput`."""
    folded = text.lower()
    if _UUID7.fullmatch(folded) is None:
        raise BadInput(f"run id {text!r} is not a UUIDv7 (like 0192f0c1-7a3e-7c21-8f00-3b1d6a9c4e55)")
    return RunId(folded)


def uuid7(unix_ms: int, random_bytes: bytes) -> RunId:
    """Build a UUIDv7 from a time in milliseconds since 1970 and at least 10 bytes of randomness or digest."""
    value = (unix_ms & 0xFFFF_FFFF_FFFF) << 80 | int.from_bytes(random_bytes[:10], "big")
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    text = f"{value:032x}"
    return RunId(f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}")


def derive_run_id(unix_ms: int, *parts: str) -> RunId:
    """The run id that follows from `parts`, the same on every delivery; `unix_ms` orders it in time."""
    return uuid7(unix_ms, hashlib.sha256("\x1f".join(parts).encode()).digest())


def unix_ms_of(run_id: RunId) -> int:
    """The time in milliseconds that a run id carries."""
    return int(run_id[:8] + run_id[9:13], 16)


def child_run_id(parent: RunId, call_id: CallId) -> RunId:
    """A child's id follows from its parent and the command that asked for it, so a repeated start is the same child."""
    return derive_run_id(unix_ms_of(parent), "child", parent, call_id)


def idempotency_key(run_id: RunId, call_id: CallId) -> str:
    """The key under which a tool call's effect happens at most once, the same for every attempt of the call."""
    return f"{run_id}/{call_id}"


def partition_of(run_id: RunId, partitions: int) -> int:
    """The partition of a run: FNV-1a over the id, as nats-server's `partition(n, token)` subject transform computes it."""
    value = _FNV_OFFSET
    for byte in run_id.encode():
        value = (value ^ byte) * _FNV_PRIME & 0xFFFF_FFFF
    return value % partitions


def span_id(run_id: RunId, seq: int, part: int | str = 0) -> bytes:
    """The 8 bytes of a span's id: derived from its run, the event that it begins with, and what of it the span is.

    `part` 0 is the event itself; a number from 1 is an attempt of the call that the event requested; a word tells other spans apart.
    """
    return hashlib.sha256((f"{run_id}/{seq}/{part}" if part else f"{run_id}/{seq}").encode()).digest()[:8]


def traceparent(run_id: RunId, seq: int, part: int | str = 0) -> str:
    """W3C trace context of a span (see `span_id`); the run id's digits are the trace id."""
    span = f"{run_id}/{seq}/{part}" if part else f"{run_id}/{seq}"  # as in `span_id`: there are six of it in a step
    return f"00-{run_id.replace('-', '')}-{hashlib.sha256(span.encode()).hexdigest()[:16]}-01"


def digest_of(*chunks: bytes) -> str:
    """SHA-256 of the concatenated chunks as 64 hex digits (argument digests, blobs)."""
    hasher = hashlib.sha256()
    for chunk in chunks:
        hasher.update(chunk)
    return hasher.hexdigest()


def chain_digest(base: str, items: bytes) -> str:
    """The journal digest after an advance: the first 32 hex digits of SHA-256 over the digest before it and its items.

    `base` is "" for a run that has no advance yet. The item bytes are hashed exactly as they were sent, so
    that a worker in any language can compute the digest without agreeing on a canonical form.
    """
    return hashlib.sha256(base.encode() + items).hexdigest()[:32]
