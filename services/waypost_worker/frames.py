"""From items to the frames of advances: encode once, check large values in, split what does not fit into one message.

Owns sizes only. What the items mean is decided by the execution, where they go by the outbox.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from msgspec import UNSET, Raw, structs

from waypost_proto.codec import encode
from waypost_proto.commands import AnyItem, CallTool, CompleteRun, FailRun, FinishStep, SaveCheckpoint, SaveWrites, StartChild
from waypost_proto.errors import TooLarge
from waypost_proto.limits import CLAIM_CHECK_BYTES, HEADER_ALLOWANCE_BYTES, MAX_ITEMS_PER_ADVANCE, MAX_MESSAGE_BYTES
from waypost_proto.values import BlobRef, Failure

EMPTY = b"[]"
_ENVELOPE_BYTES = 4 * 1024
"""What an advance takes besides its items: ids, names, digest."""
MAX_FRAME_BYTES = MAX_MESSAGE_BYTES - HEADER_ALLOWANCE_BYTES - _ENVELOPE_BYTES


class BlobStore(Protocol):
    """Where large values go (`waypost_io.payloads.Payloads`)."""

    async def store(self, data: bytes) -> BlobRef: ...


def parts_of(items: Sequence[AnyItem]) -> list[bytes]:
    """Each item as its JSON bytes."""
    return [encode(item) for item in items]


def has_large(parts: Sequence[bytes]) -> bool:
    """Whether any item must be checked in before it can be sent."""
    return any(len(part) > CLAIM_CHECK_BYTES for part in parts)


def frames_of(parts: Sequence[bytes]) -> Iterator[bytes]:
    """JSON arrays of the items in order, each within the limits of one advance. At least one."""
    if len(parts) <= MAX_ITEMS_PER_ADVANCE:
        frame = b"[" + b",".join(parts) + b"]"
        if len(frame) <= MAX_FRAME_BYTES:
            yield frame
            return
    pending: list[bytes] = []
    size = 2
    for part in parts:
        if pending and (size + len(part) + 1 > MAX_FRAME_BYTES or len(pending) == MAX_ITEMS_PER_ADVANCE):
            yield b"[" + b",".join(pending) + b"]"
            pending, size = [], 2
        pending.append(part)
        size += len(part) + 1
    yield b"[" + b",".join(pending) + b"]"


async def check_in(items: Sequence[AnyItem], store: BlobStore) -> list[bytes]:
    """The items' bytes with every large value replaced by a reference to where it was stored.

    What cannot be carried even so (a value past `MAX_PAYLOAD_BYTES`, a large `set_state`) ends the run with a readable failure: the
    items before it stay. Raises `TransientError` when the store does not answer.
    """
    parts: list[bytes] = []
    for item in items:
        part = encode(item)
        if len(part) > CLAIM_CHECK_BYTES:
            try:
                part = encode(await _by_reference(item, store))
            except TooLarge as error:
                return [*parts, _too_large(item, str(error))]
            if len(part) > CLAIM_CHECK_BYTES:
                return [*parts, _too_large(item, f"{len(part)} bytes, the limit is {CLAIM_CHECK_BYTES}")]
        parts.append(part)
    return parts


async def _by_reference(item: AnyItem, store: BlobStore) -> AnyItem:
    match item:
        case CallTool(args=Raw() as value):
            return structs.replace(item, args=UNSET, args_ref=await store.store(bytes(value)))
        case StartChild(input=Raw() as value):
            return structs.replace(item, input=UNSET, input_ref=await store.store(bytes(value)))
        case FinishStep(result=Raw() as value) | CompleteRun(result=Raw() as value):
            return structs.replace(item, result=UNSET, result_ref=await store.store(bytes(value)))
        case SaveCheckpoint(state=Raw() as value):
            return structs.replace(item, state=UNSET, state_ref=await store.store(bytes(value)))
        case SaveWrites(writes=Raw() as value):
            return structs.replace(item, writes=UNSET, writes_ref=await store.store(bytes(value)))
        case _:
            return item


def _too_large(item: AnyItem, why: str) -> bytes:
    name = type(item).__name__
    return encode(FailRun(seen=item.seen, error=Failure(type="TooLarge", message=f"{name}: {why}; keep large data elsewhere")))
