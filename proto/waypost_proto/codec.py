"""JSON encoding and decoding, in one place, with errors that name the value. Owns no message type.

Encoders and decoders are made once per type: that is what makes msgspec fast. Bytes that a peer sent are kept
as they are (`Raw`) wherever a digest is taken over them.
"""

from __future__ import annotations

import re
from functools import cache
from itertools import accumulate
from typing import Any, TypeVar

import msgspec
from msgspec import Raw

from waypost_proto.errors import BadMessage, TooLarge
from waypost_proto.limits import MAX_NESTING

T = TypeVar("T")

_NOT_BRACKETS = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\Z)|[^\[\]{}"]++', re.DOTALL)
"""Possessive: without it the engine keeps a way back for every character of a string (measured: 900 MiB for one of 8 MiB)."""
_STEP_OF_BRACKET = [{"[": 1, "{": 1, "]": -1, "}": -1}.get(chr(byte), 0) for byte in range(256)]

_ENCODER = msgspec.json.Encoder()
encode = _ENCODER.encode
"""Any message or value to its JSON bytes."""


@cache
def decoder(kind: Any, *, strict: bool = True) -> msgspec.json.Decoder[Any]:
    """The one decoder of a type (or union of types)."""
    return msgspec.json.Decoder(kind, strict=strict)


def decode(kind: type[T], body: bytes | Raw) -> T:
    """Decode `body` as `kind`. Raises `BadMessage` with the path and the beginning of the offending bytes."""
    try:
        return decoder(kind).decode(body)  # type: ignore[no-any-return, arg-type]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadMessage(f"not a valid {_name(kind)}: {error}; it begins {_excerpt(body)}") from error


def decode_union(kind: Any, body: bytes | Raw) -> Any:
    """Like `decode` for a tagged union, whose type a type checker cannot express as `type[T]`."""
    return decode(kind, body)


def check_text(body: bytes, *, limit: int) -> None:
    """Refuse what would poison a batch later: too many bytes, nesting past `MAX_NESTING`, or text that is not UTF-8.

    Raises `TooLarge` or `BadMessage`. Brackets inside strings are skipped.
    """
    if len(body) > limit:
        raise TooLarge(f"{len(body)} bytes, the limit is {limit}; send large input through the API")
    try:
        body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadMessage(f"not UTF-8: {error.reason} at byte {error.start}") from error
    depth = nesting_of(body)
    if depth > MAX_NESTING:
        raise BadMessage(f"JSON nested {depth} deep, the limit is {MAX_NESTING}")


def nesting_of(body: bytes) -> int:
    """The deepest nesting of arrays and objects in `body`, which may be malformed; strings and escapes are skipped.

    Linear, in C, and in memory proportional to the brackets: a worker, a gateway or a coordinator does this to 16 MiB at a time.
    """
    if body.count(b"[") + body.count(b"{") <= MAX_NESTING:
        return 0  # cannot be deeper than it has brackets: the common case needs no scan
    return max(accumulate(map(_STEP_OF_BRACKET.__getitem__, _NOT_BRACKETS.sub(b"", body))), default=0)


def _name(kind: Any) -> str:
    return getattr(kind, "__name__", None) or "message"


def _excerpt(body: bytes | Raw) -> str:
    text = bytes(body)[:80].decode("utf-8", "replace")
    return repr(text)
