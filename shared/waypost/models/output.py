"""Typed answers: the JSON Schema that a model is given for a type, and its answer as a value of that type, or why it is none."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import msgspec
from msgspec import Raw
from msgspec.structs import replace

from waypost.conversion import decode_value, encode_value, schema_of
from waypost.models.messages import ModelRequest, ModelResponse
from waypost_proto.errors import BadInput, PermanentError

Why = Literal["invalid", "empty", "refusal", "length"]
_FENCED = re.compile(r"^\s*```(?:json)?\s*\n(.*?)\n?\s*```\s*$", re.DOTALL)
_EXCERPT_CHARS = 200


class AnswerUnusable(PermanentError):
    """A model has answered, and the answer is not what was asked for. It is recorded, and paid for.

    `why`: `invalid` (no JSON, or JSON that does not fit), `empty`, `refusal` (it declines), or `length` (cut off by its limit).
    """

    def __init__(self, message: str, why: Why, response: ModelResponse) -> None:
        super().__init__(message)
        self.why = why
        self.response = response


@dataclass(frozen=True, slots=True)
class Output:
    """How answers become values of `kind`. `wrapped`: it is no object, so the model is asked for `{"value": …}`."""

    kind: Any
    schema: Raw | None
    wrapped: bool = False

    def ask_for(self, request: ModelRequest) -> ModelRequest:
        """The request with the schema, unless it is for plain text."""
        return request if self.schema is None else replace(request, output_schema=self.schema)

    def value(self, response: ModelResponse) -> Any:
        """The answer as a value. Raises `AnswerUnusable` that says what is wrong with it, in words that can be told to the model."""
        text = response.message.text
        if response.finish == "refusal":
            raise AnswerUnusable(f"the model declines to answer{_says(text)}", "refusal", response)
        if response.finish == "length":
            raise AnswerUnusable(
                f"the answer was cut off after {response.usage.output_tokens} tokens{_says(text)}: raise max_output_tokens",
                "length",
                response,
            )
        if not text.strip():
            raise AnswerUnusable(f"the model answered nothing (it stopped with {response.finish!r})", "empty", response)
        if self.schema is None:
            return text
        fenced = _FENCED.match(text)
        body = (fenced[1] if fenced is not None else text).encode("utf-8", "replace")
        try:
            return decode_value("the model's answer", self.kind, _value_of(body) if self.wrapped else body)
        except BadInput as error:
            raise AnswerUnusable(str(error), "invalid", response) from error


def output_of(kind: Any) -> Output:
    """The output for a type: `str` is plain text, everything else JSON. Raises `TypeError` for a type without a JSON Schema."""
    try:
        return _output_of(kind)
    except TypeError:
        if _is_hashable(kind):
            raise
        return _made(kind)


@lru_cache(maxsize=1_024)
def _output_of(kind: Any) -> Output:
    return _made(kind)


def _made(kind: Any) -> Output:
    if kind is str:
        return Output(kind, None)
    document = msgspec.json.decode(schema_of("the answer", kind))
    document = _closed(document)
    defs = document.pop("$defs", None)
    root = document
    if "$ref" in document and defs is not None:
        root = dict(defs[document["$ref"].rsplit("/", 1)[-1]])
    wrapped = root.get("type") != "object"
    if wrapped:
        root = {"type": "object", "properties": {"value": document}, "required": ["value"], "additionalProperties": False}
    if defs is not None:
        root["$defs"] = defs
    return Output(kind, Raw(encode_value("the schema of the answer", root)), wrapped)


def _closed(node: Any) -> Any:
    """The schema with every object of named fields closed: providers that hold a model to a schema ask for it."""
    if isinstance(node, list):
        return [_closed(item) for item in node]
    if not isinstance(node, dict):
        return node
    closed = {key: _closed(value) for key, value in node.items()}
    if closed.get("type") == "object" and isinstance(closed.get("properties"), dict):
        closed.setdefault("additionalProperties", False)
    return closed


def _value_of(body: bytes) -> bytes | Raw:
    return decode_value("the model's answer", _Wrapped, body).value  # type: ignore[no-any-return]


class _Wrapped(msgspec.Struct):
    value: Raw


def _is_hashable(kind: Any) -> bool:
    try:
        hash(kind)
    except TypeError:
        return False
    return True


def _says(text: str) -> str:
    text = text.strip()
    if not text:
        return ""
    return f": {text if len(text) <= _EXCERPT_CHARS else text[:_EXCERPT_CHARS] + '…'}"


__all__ = ["AnswerUnusable", "Output", "output_of"]
