"""Values to JSON and back, for users' types, with errors that name the path and the offending value. Pure.

Arguments are encoded with sorted keys and sorted sets, so that the same values give the same digest in every
process (CORRECTNESS.md row 18): approvals and replay compare digests.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec
from msgspec import Raw

from waypost_proto.codec import decoder, encode, nesting_of
from waypost_proto.errors import BadInput
from waypost_proto.limits import MAX_NESTING, MAX_PAYLOAD_BYTES

_ENCODER = msgspec.json.Encoder(order="deterministic")
_PATH = re.compile(r" - at `(\$[^`]*)`$")
_TOKEN = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]")
_EXCERPT_CHARS = 120


def encode_value(what: str, value: object) -> bytes:
    """`value` as canonical JSON. Raises `BadInput` that says what `what` is and which part cannot be encoded or carried."""
    try:
        body = _ENCODER.encode(value)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise _not_json(what, value, error) from error
    return fit(what, body)


def encode_result(what: str, value: object) -> bytes:
    """Like `encode_value` with dicts in their own order (results are recorded once and never compared), and without `fit`."""
    try:
        return encode(value)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise _not_json(what, value, error) from error


def fit(what: str, body: bytes) -> bytes:
    """`body` itself. Raises `BadInput` when it is larger, or nested deeper, than Waypost carries."""
    if len(body) > MAX_PAYLOAD_BYTES:
        raise BadInput(f"{what}: {len(body)} bytes of JSON, the limit is {MAX_PAYLOAD_BYTES}; keep it elsewhere and pass a reference to it")
    if nesting_of(body) > MAX_NESTING:
        raise BadInput(f"{what}: nested deeper than {MAX_NESTING} levels; flatten it")
    return body


def _not_json(what: str, value: object, error: Exception) -> BadInput:
    return BadInput(
        f"{what} cannot be written as JSON: {error}; it is {_excerpt(shown(value))}. "
        "Use msgspec Structs, dataclasses, dicts, lists, strings, numbers, booleans, datetimes or None"
    )


def decode_value(what: str, kind: Any, body: bytes | Raw) -> Any:
    """`body` as `kind`. Raises `BadInput` with the JSON path and the value found there."""
    try:
        return decoder(kind).decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadInput(f"{what} does not fit: {explain(error, bytes(body))}") from error


def schema_of(what: str, kind: Any) -> Raw:
    """The JSON Schema of a type. Raises `TypeError` that names `what` for a type that msgspec cannot describe."""
    try:
        return Raw(_ENCODER.encode(msgspec.json.schema(kind)))
    except (TypeError, NotImplementedError, RuntimeError) as error:
        raise TypeError(f"{what} has a type that cannot be described as JSON: {error}") from error


def explain(error: Exception, body: bytes) -> str:
    """A decoding error with the value at its path: ``Expected `int`, got `str` at $.amount: 'ten'``."""
    text = str(error)
    match = _PATH.search(text)
    if not isinstance(error, msgspec.ValidationError):
        return f"{text}; it begins {_excerpt(body[:_EXCERPT_CHARS].decode('utf-8', 'replace'))!r}"
    path = match.group(1) if match is not None else "$"
    reason = text[: match.start()] if match is not None else text
    try:
        found: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, RecursionError):  # the type was wrong at once, the rest is nested without end
        return text
    for key, index in _TOKEN.findall(path):
        if key and isinstance(found, dict) and key in found:
            found = found[key]
        elif index and isinstance(found, list) and int(index) < len(found):
            found = found[int(index)]
        else:
            break
    return f"{reason} at {path}: {_excerpt(repr(found))}"


def shown(value: object) -> str:
    """`repr` of a user's object, which may fail in any way, or a line that says so."""
    try:
        return repr(value)
    except Exception as broken:  # noqa: BLE001 - a user's own __repr__
        return f"({type(value).__name__}, which cannot be shown: {type(broken).__name__})"


def _excerpt(text: str) -> str:
    return text if len(text) <= _EXCERPT_CHARS else f"{text[:_EXCERPT_CHARS]}…"
