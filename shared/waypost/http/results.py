"""From an answer to a tool's result, or to the error that it amounts to. Pure."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from waypost.conversion import decode_value
from waypost.http.errors import ResultUnusable
from waypost.http.meaning import Says, error_of, retry_after_of, says
from waypost.http.sending import Answer
from waypost.schemas import Schema
from waypost_proto.codec import nesting_of
from waypost_proto.errors import BadInput
from waypost_proto.limits import MAX_NESTING

EXCERPT_CHARS = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How answers of one tool are read. `schema`: the result must fit it; else it must be a `returns`."""

    returns: Any = Any
    schema: Schema | None = None
    statuses: Mapping[int, Says] = field(default_factory=dict)


def result_of(answer: Answer, reading: Reading) -> Any:
    """The result as values that JSON can carry.

    Raises what the status amounts to (see `meaning`), or `ResultUnusable` when the body is not what was declared.
    """
    word = says(answer.status, reading.statuses)
    if word == "none":
        return None
    headers = answer.headers
    retry_after = retry_after_of(headers.get("retry-after"), headers.get("date"))
    error = error_of(word, _told(answer), retry_after)
    if error is not None:
        raise error
    if not answer.body and reading.returns is Any and reading.schema is None:
        return None
    what = f"the answer of {answer.request.shown}"
    kind, charset = _content_type(headers.get("content-type", ""))
    if reading.returns is bytes:
        return base64.b64encode(answer.body).decode()
    if kind == "application/json" or kind.endswith("+json"):
        return _from_json(answer, what, reading)
    if kind.startswith("text/") or kind in ("application/xml", "application/yaml") or kind.endswith("+xml"):
        return _fitting(what, _text(what, answer.body, charset), reading)
    shown = kind or "no content type"
    raise ResultUnusable(f"{what} is {shown}: JSON and text are read; for anything else declare result=bytes (it arrives as Base64)")


def _from_json(answer: Answer, what: str, reading: Reading) -> Any:
    body = answer.body
    if nesting_of(body) > MAX_NESTING:
        raise ResultUnusable(f"{what} is nested deeper than {MAX_NESTING} levels")
    if reading.schema is None and reading.returns is not Any:
        try:
            return decode_value(what, reading.returns, body)
        except BadInput as error:
            raise ResultUnusable(_shortened(answer.request.mask(str(error)))) from error
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ResultUnusable(f"{what} says that it is JSON, and is not: {error}") from error
    return _fitting(what, value, reading)


def _fitting(what: str, value: Any, reading: Reading) -> Any:
    if reading.schema is not None:
        problems = reading.schema.problems(value)
        if problems:
            raise ResultUnusable(f"{what} does not fit the declared result: {'; '.join(problems)}")
        return value
    if reading.returns is Any:
        return value
    try:
        return msgspec.convert(value, reading.returns)
    except msgspec.ValidationError as error:
        raise ResultUnusable(f"{what} does not fit the declared result: {error}") from error


def _shortened(text: str) -> str:
    return text if len(text) <= 2 * EXCERPT_CHARS else f"{text[: 2 * EXCERPT_CHARS]}…"


def _text(what: str, body: bytes, charset: str) -> str:
    try:
        return body.decode(charset)
    except (LookupError, UnicodeDecodeError) as error:
        raise ResultUnusable(f"{what} is not text in {charset!r}: {error}") from error


def _content_type(value: str) -> tuple[str, str]:
    kind, _, parameters = value.partition(";")
    charset = "utf-8"
    for parameter in parameters.split(";"):
        name, _, given = parameter.partition("=")
        if name.strip().lower() == "charset":
            charset = given.strip().strip('"') or "utf-8"
    return kind.strip().lower(), charset


def _told(answer: Answer) -> str:
    """What an error answer says: method, host, status, and the beginning of its body without control characters and secrets."""
    excerpt = answer.body[: 4 * EXCERPT_CHARS].decode("utf-8", "replace")
    excerpt = " ".join("".join(char if char.isprintable() else " " for char in excerpt).split())
    excerpt = answer.request.mask(excerpt)
    if len(excerpt) > EXCERPT_CHARS:
        excerpt = f"{excerpt[:EXCERPT_CHARS]}…"
    return f"{answer.request.shown} answered {answer.status}" + (f": {excerpt}" if excerpt else "")
