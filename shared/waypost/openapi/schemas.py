"""Schemas of an OpenAPI document as JSON Schemas that stand on their own: references gathered into `$defs`, 3.0's own words translated.

What a request must not send (`readOnly`) or an answer does not have (`writeOnly`) is no longer required in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from waypost.openapi.document import BadDocument, Document, pointer_tokens, step

Side = Literal["request", "response"]

_DROPPED = frozenset({"discriminator", "xml", "externalDocs", "example", "examples", "readOnly", "writeOnly", "nullable", "$schema"})
_LISTS = frozenset({"allOf", "anyOf", "oneOf", "prefixItems"})
_MAPS = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas"})
_SINGLE = frozenset(
    {
        "items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames", "unevaluatedItems",
        "unevaluatedProperties", "contentSchema",
    }
)  # fmt: skip


class Gatherer:
    """Collects into `definitions` what the schemas that it translated refer to."""

    def __init__(self, document: Document, side: Side) -> None:
        self._document = document
        self._hidden = "readOnly" if side == "request" else "writeOnly"
        self._names: dict[str, str] = {}
        self.definitions: dict[str, Any] = {}

    def schema(self, value: Any, where: str) -> Any:
        """The schema at `where`, translated. Raises `BadDocument`."""
        if isinstance(value, bool):
            return value
        if not isinstance(value, Mapping):
            raise BadDocument(where, f"a schema is an object, not {value!r}")
        if "$ref" in value:
            return self._reference(value, where)
        found = {key: self._word(key, inner, step(where, key)) for key, inner in value.items() if key not in _DROPPED}
        self._hide(value, found, where)
        if self._document.minor == 0:
            _exclusive(found)
            if value.get("nullable") is True:
                return _nullable(found)
        return found

    def with_definitions(self, schema: dict[str, Any]) -> dict[str, Any]:
        """`schema` and all that it refers to."""
        return {**schema, "$defs": self.definitions} if self.definitions else schema

    def _word(self, key: str, value: Any, where: str) -> Any:
        if key in _LISTS and isinstance(value, list):
            return [self.schema(inner, step(where, at)) for at, inner in enumerate(value)]
        if key in _MAPS and isinstance(value, Mapping):
            return {name: self.schema(inner, step(where, name)) for name, inner in value.items()}
        if key in _SINGLE and isinstance(value, Mapping | bool):
            return self.schema(value, where)
        return value

    def _reference(self, value: Mapping[str, Any], where: str) -> Any:
        pointer = value["$ref"]
        if not isinstance(pointer, str):
            raise BadDocument(where, f"$ref is {pointer!r}, not a text")
        target = self._document.at(pointer, where)
        name = self._names.get(pointer)
        if name is None:
            name = self._names[pointer] = self._name(pointer)
            self.definitions[name] = True  # known before its own references are followed: schemas may be recursive
            self.definitions[name] = self.schema(target, pointer)
        rest = {key: inner for key, inner in value.items() if key != "$ref"}
        if self._document.minor == 0 or not rest:
            return {"$ref": f"#/$defs/{name}"}  # 3.0 knows no words beside a reference
        beside = self.schema(rest, where)
        return {**beside, "$ref": f"#/$defs/{name}"}

    def _name(self, pointer: str) -> str:
        last = (pointer_tokens(pointer) or ["root"])[-1]
        name = "".join(char if char.isalnum() or char in "._-" else "_" for char in last) or "schema"
        taken = set(self._names.values())
        return name if name not in taken else f"{name}_{len(taken)}"

    def _hide(self, value: Mapping[str, Any], found: dict[str, Any], where: str) -> None:
        properties, required = value.get("properties"), value.get("required")
        if not isinstance(properties, Mapping) or not isinstance(required, list):
            return
        hidden = set()
        for name, inner in properties.items():
            schema = self._document.resolved(inner, step(where, "properties", name))[0] if isinstance(inner, Mapping) else {}
            if schema.get(self._hidden) is True:
                hidden.add(name)
        found["required"] = [name for name in required if name not in hidden]


def _exclusive(schema: dict[str, Any]) -> None:
    """3.0 has `exclusiveMinimum: true` beside `minimum`."""
    for bound, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        flag = schema.get(exclusive)
        if isinstance(flag, bool):
            del schema[exclusive]
            if flag and bound in schema:
                schema[exclusive] = schema.pop(bound)


def _nullable(schema: dict[str, Any]) -> dict[str, Any]:
    kind = schema.get("type")
    if isinstance(kind, str) and not (_LISTS & set(schema)):
        schema["type"] = [kind, "null"]
        if isinstance(schema.get("enum"), list) and None not in schema["enum"]:
            schema["enum"] = [*schema["enum"], None]
        return schema
    return {"anyOf": [schema, {"type": "null"}]}
