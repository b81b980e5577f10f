"""From bytes to a request, with an error a person can act on; from the coordinator's reply to an answer. The bus makes errors of both."""

from __future__ import annotations

import difflib
import re
import uuid
from typing import TypeVar

from msgspec import UNSET, Raw, UnsetType

from waypost_coordinator.callers import NOBODY, Caller
from waypost_io.identity import fingerprint
from waypost_io.store.ports import Store
from waypost_proto.api import Request, RunAnswer
from waypost_proto.codec import check_text, decode
from waypost_proto.errors import (
    BadInput,
    BadMessage,
    Conflict,
    Denied,
    NotConfirmed,
    NotFound,
    TooLarge,
    TransientError,
    WaypostError,
)
from waypost_proto.limits import CLAIM_CHECK_BYTES, HEADER_ALLOWANCE_BYTES, MAX_MESSAGE_BYTES, MAX_PAYLOAD_BYTES
from waypost_proto.mailbox import Reply
from waypost_proto.values import BlobRef

PAGE_BYTES = MAX_MESSAGE_BYTES - HEADER_ALLOWANCE_BYTES
"""What the items of a page may weigh together; a single item that is larger still travels, alone."""
_UNKNOWN_FIELD = re.compile(r"unknown field `(?P<field>[^`]*)`")
_BY_CODE: dict[str, type[WaypostError]] = {
    "400": BadInput,
    "403": Denied,
    "404": NotFound,
    "409": Conflict,
    "413": TooLarge,
    "503": TransientError,
    "504": NotConfirmed,
}

R = TypeVar("R", bound=Request)


def read(kind: type[R], body: bytes) -> R:
    """Decode a request; an empty body is an empty request. Raises `TooLarge`, `BadMessage`, or `BadInput` for an unknown field."""
    check_text(body, limit=MAX_MESSAGE_BYTES)
    try:
        return decode(kind, body or b"{}")
    except BadMessage as error:
        match = _UNKNOWN_FIELD.search(str(error))
        if match is None:
            raise
        raise BadInput(_unknown_field(kind, match["field"])) from error


def _unknown_field(kind: type[Request], field: str) -> str:
    known = kind.__struct_fields__
    near = difflib.get_close_matches(field, known, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"unknown field {field!r}: {hint}known fields here are {', '.join(known) or 'none'}"


def answered(reply: Reply) -> RunAnswer:
    """The coordinator's reply as an answer. Raises the error of its code when the command was refused."""
    if not reply.ok:
        kind = _BY_CODE.get(reply.code, WaypostError)
        error = kind(reply.message)
        error.code = reply.code
        raise error
    return RunAnswer(run_id=reply.run_id, status=str(reply.status or ""), duplicate=reply.duplicate)


def request_id_of(given: str, caller: Caller = NOBODY) -> str:
    """The caller's request id, or that of its signature (whoever repeats a signed request repeats the same one), or a fresh one."""
    if given:
        return given
    return uuid.uuid4().hex if caller.proof is None else fingerprint(caller.proof.signature)


def bounded(limit: int, most: int) -> int:
    """Check a page's `limit`. Raises `BadInput`."""
    if not 1 <= limit <= most:
        raise BadInput(f"limit {limit} is out of range: use 1 to {most}")
    return limit


async def claim(store: Store, what: str, value: Raw | UnsetType, ref: BlobRef | UnsetType) -> tuple[Raw | UnsetType, BlobRef | UnsetType]:
    """A value as it may travel: inline when small, a reference otherwise, however it was given: the same value twice is the same.

    Raises `BadInput` when both or what cannot be JSON is given, `NotFound` for a reference to what was not uploaded.
    """
    if value is not UNSET and ref is not UNSET:
        raise BadInput(f"both {what} and {what}_ref are given: send one of them")
    if isinstance(ref, BlobRef):
        data = await _blob(store, what, ref)
        return (Raw(data), UNSET) if len(data) <= CLAIM_CHECK_BYTES else (UNSET, ref)
    if isinstance(value, Raw) and len(bytes(value)) > CLAIM_CHECK_BYTES:
        data = bytes(value)
        return UNSET, BlobRef(sha256=await store.blobs.put(data), size=len(data))
    return value, UNSET


async def _blob(store: Store, what: str, ref: BlobRef) -> bytes:
    if ref.size > MAX_PAYLOAD_BYTES:
        raise TooLarge(f"{what}_ref is {ref.size} bytes, the limit is {MAX_PAYLOAD_BYTES}")
    try:
        data = await store.blobs.get(ref.sha256)
    except NotFound as error:
        raise NotFound(f"{what}_ref {ref.sha256} was not uploaded completely: send its chunks with payloads.put first") from error
    if len(data) != ref.size:
        raise BadInput(f"{what}_ref says {ref.size} bytes, the payload {ref.sha256} has {len(data)}")
    check_text(data, limit=MAX_PAYLOAD_BYTES)
    decode(Raw, data)
    return data
