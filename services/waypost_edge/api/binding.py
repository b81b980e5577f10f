"""From an HTTP request to the message that an operation takes: path, query, body and headers, with errors that name the place.

What is no JSON, or is sent where nothing is taken, is a 400; JSON that does not fit is a 422; a body past its limit a 413, and one that
does not say that it is JSON a 415. The limits of values are the coordinator's to check.
"""

from __future__ import annotations

import asyncio
import difflib
import re
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Raw
from starlette.requests import Request

from waypost_edge.api.operations import Operation
from waypost_proto.codec import check_text, encode
from waypost_proto.errors import BadInput, BadMessage, TooLarge
from waypost_proto.limits import MAX_KEY_CHARS

IDEMPOTENCY_KEY = "idempotency-key"
LABEL = "label"
_IN_THREAD_BYTES = 256 * 1024
"""Bodies past it are looked at in a thread: what is measured in megabytes takes longer than others want to wait."""
_JSON_TYPE = re.compile(r"application/(?:[\w.+-]+\+)?json\s*(?:;.*)?", re.IGNORECASE)
BODY_SECONDS = 30.0
"""How long a body may take: 16 MiB at 5 Mbit/s."""
_LONGEST_VALUE = 4_096
_FIELDS = msgspec.json.Decoder(dict[str, Raw])


class Unprocessable(BadInput):
    """JSON that is not what the operation takes."""

    code = "422"


class TooSlow(BadInput):
    """A body that does not come."""

    code = "408"


class WrongType(BadInput):
    """A body that is not said to be JSON."""

    code = "415"


async def bind(request: Request, operation: Operation) -> Any:
    """The message that `request` stands for. Raises `BadInput` (its code says which kind of error), `TooLarge`."""
    given = dict(request.path_params)
    if operation.method == "GET":
        given |= _query(request, operation)
        return _convert(operation, given)
    unexpected = next(iter(request.query_params), None)
    if unexpected is not None:
        raise BadInput(f"{operation.method} {operation.path} takes its fields in the body, not in the query: {unexpected!r} is there")
    body = await read_body(request, operation.body_bytes)
    if len(body) > _IN_THREAD_BYTES:
        return await asyncio.to_thread(_from_body, request, operation, given, body)
    return _from_body(request, operation, given, body)


async def read_body(request: Request, limit: int) -> bytes:
    """The body, never more of it than `limit` bytes and what came in one piece with them. Raises `TooLarge`."""
    length = request.headers.get("content-length", "0")
    if not (length.isascii() and length.isdigit()) or int(length[:20]) > limit:
        raise TooLarge(f"a body of {length[:20]} bytes: the limit is {limit} here")
    read = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for piece in request.stream():
                read += piece
                if len(read) > limit:
                    raise TooLarge(f"a body of more than {limit} bytes: that is the limit here")
    except TimeoutError as error:
        raise TooSlow(f"the body did not come within {BODY_SECONDS:g} s") from error
    return bytes(read)


def _from_body(request: Request, operation: Operation, given: dict[str, str], body: bytes) -> Any:
    fields = _fields(request, operation, body)
    for name in operation.without:
        if name in fields:
            raise Unprocessable(_unknown(name, operation.takes).replace("parameter", "field"))
    for name, text in given.items():
        if name in fields:
            raise Unprocessable(f"{name} is in the path: leave it out of the body")
        kind = operation.request.__annotations__.get(name, "str")
        fields[name] = Raw(text.encode()) if kind == "int" and text.isascii() and text.isdigit() else Raw(encode(text))
    key = request.headers.get(IDEMPOTENCY_KEY)
    if key is not None and operation.key:
        fields[operation.key] = _key(key, operation, fields)
    whole = encode(fields)
    try:
        return msgspec.json.decode(whole, type=operation.request)
    except msgspec.ValidationError as error:
        raise Unprocessable(_told(operation, error)) from error


def _fields(request: Request, operation: Operation, body: bytes) -> dict[str, Raw]:
    if not body.strip():
        return {}
    kind = request.headers.get("content-type", "")
    if _JSON_TYPE.fullmatch(kind.strip()) is None:
        raise WrongType(f"Content-Type is {kind[:80]!r}: send application/json")
    try:
        check_text(body, limit=operation.body_bytes)
        return _FIELDS.decode(body)
    except BadMessage as error:
        raise BadInput(f"the body: {error}") from error
    except msgspec.ValidationError as error:
        raise Unprocessable(f"the body must be a JSON object: {error}") from error
    except (msgspec.DecodeError, RecursionError) as error:
        raise BadInput(f"the body is no JSON: {error}") from error


def _key(key: str, operation: Operation, fields: dict[str, Raw]) -> Raw:
    """The header's key as the field's value."""
    text = key.strip()
    if text.startswith('"') and text.endswith('"') and len(text) > 1:  # a structured field, as the Internet draft has it
        text = text[1:-1]
    if not 1 <= len(text) <= MAX_KEY_CHARS or not text.isprintable():
        raise BadInput(f"Idempotency-Key {text[:40]!r} cannot be used: 1 to {MAX_KEY_CHARS} printable characters")
    value = encode(text)
    if operation.key in fields and bytes(fields[operation.key]) not in (value, b"null"):
        raise BadInput(f"{operation.key} in the body and Idempotency-Key differ: send one of them")
    return Raw(value)


def _query(request: Request, operation: Operation) -> dict[str, Any]:
    """The query as the request's fields: a list takes a parameter several times, labels are `label.k=v` or `label=k=v`."""
    takes = {field.name: field for field in msgspec.structs.fields(operation.request) if field.name in operation.takes}
    lists = {name for name, field in takes.items() if _is_list(field)}
    found: dict[str, Any] = {}
    for name, value in request.query_params.multi_items():
        if len(value) > _LONGEST_VALUE:
            raise BadInput(f"{name[:40]} has {len(value)} characters: at most {_LONGEST_VALUE} here")
        if "labels" in takes and (name == LABEL or name.startswith(f"{LABEL}.")):
            found.setdefault("labels", {}).update([_label(name, value)])
        elif name not in takes or name == "labels":
            raise BadInput(_unknown(name, [LABEL if taken == "labels" else taken for taken in takes]))
        elif name in lists:
            found.setdefault(name, []).extend(part for part in value.split(",") if part)
        elif name in operation.several:
            found[name] = f"{found[name]},{value}" if name in found else value
        elif name in found:
            raise BadInput(f"{name} is there twice: it takes one value")
        else:
            found[name] = value
    return found


def _is_list(field: msgspec.structs.FieldInfo) -> bool:
    return "list[" in str(field.type)


def _label(name: str, value: str) -> tuple[str, str]:
    if name != LABEL:
        return name[len(LABEL) + 1 :], value
    key, equals, rest = value.partition("=")
    if not equals or not key:
        raise BadInput(f"label={value[:80]!r}: write label.team=ops, or label=team=ops")
    return key, rest


def _unknown(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"unknown parameter {name[:80]!r}: {hint}parameters here are {', '.join(known) or 'none'}"


def _convert(operation: Operation, given: dict[str, Any]) -> Any:
    try:
        return msgspec.convert(given, operation.request, strict=False)
    except (msgspec.ValidationError, OverflowError) as error:
        raise BadInput(_told(operation, error)) from error


def _told(operation: Operation, error: Exception) -> str:
    """What msgspec says, with the fields there are where one is unknown."""
    text = str(error)
    match = re.search(r"unknown field `([^`]*)`$", text)
    if match is None:
        return text
    return _unknown(match[1], operation.takes).replace("parameter", "field")
