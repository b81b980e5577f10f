"""The exact bytes a tool is called with: fetched where they were too large to travel, and held against the digest that was agreed on."""

from __future__ import annotations

from msgspec import UNSET

from waypost_io.store.ports import Blobs
from waypost_proto.errors import NotFound
from waypost_proto.ids import digest_of
from waypost_proto.tools import ToolCall
from waypost_proto.values import Failure

NO_ARGUMENTS = b"{}"


def inline_arguments(call: ToolCall) -> bytes | Failure:
    """The JSON bytes of arguments that came with the call, or why they cannot be trusted."""
    return _held(call, NO_ARGUMENTS if call.args is UNSET else bytes(call.args))


async def exact_arguments(call: ToolCall, blobs: Blobs) -> bytes | Failure:
    """The JSON bytes of the call's arguments, or why they cannot be trusted.

    The digest is taken over the bytes as they came, so that policy, approval and execution speak of the same arguments whatever a JSON
    library makes of them. Raises `TransientError` when the database does not answer.
    """
    if call.args_ref is UNSET:
        return inline_arguments(call)
    try:
        return _held(call, await blobs.get(call.args_ref.sha256))
    except NotFound:
        return Failure(type="ArgumentsMissing", message=f"the arguments (blob {call.args_ref.sha256}) are not in the database")


def _held(call: ToolCall, data: bytes) -> bytes | Failure:
    digest = digest_of(data)
    if digest != call.args_digest:
        return Failure(
            type="ArgumentsAltered",
            message=f"the arguments have digest {digest[:16]}…, the call was requested with {call.args_digest[:16]}…; it was not started",
        )
    return data
