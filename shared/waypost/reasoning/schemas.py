"""JSON Schemas as model providers want them: an object at the top, no reference in its place."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw

from waypost.models.output import output_of


def inlined(schema: Raw) -> Raw:
    """The same schema with what a `$ref` at its top refers to in its place."""
    document: dict[str, Any] = msgspec.json.decode(schema)
    reference = document.get("$ref")
    definitions: dict[str, Any] = document.get("$defs", {})
    if isinstance(reference, str) and reference.startswith("#/$defs/"):
        name = reference.removeprefix("#/$defs/")
        body = dict(definitions.get(name, {}))
        used = b'"#/$defs/' + name.encode() + b'"' in msgspec.json.encode([body, {k: v for k, v in definitions.items() if k != name}])
        others = definitions if used else {key: value for key, value in definitions.items() if key != name}
        document = body | ({"$defs": others} if others else {})
    return Raw(msgspec.json.encode(document))


def is_object(schema: Raw) -> bool:
    """Whether only JSON objects fit it."""
    document = msgspec.json.decode(schema)
    return isinstance(document, dict) and document.get("type") == "object"


def wrapped(schema: Raw, name: str) -> Raw:
    """An object whose one property is what `schema` describes."""
    document: dict[str, Any] = msgspec.json.decode(schema)
    definitions = document.pop("$defs", None)
    whole: dict[str, Any] = {"type": "object", "properties": {name: document}, "required": [name], "additionalProperties": False}
    if definitions:
        whole["$defs"] = definitions
    return Raw(msgspec.json.encode(whole))


def output_schema(kind: Any) -> Raw | None:
    """The schema that an answer of type `kind` must fit; None for plain text. What is no object is the one property of one."""
    return None if kind is Any else output_of(kind).schema


__all__ = ["inlined", "is_object", "output_schema", "wrapped"]
