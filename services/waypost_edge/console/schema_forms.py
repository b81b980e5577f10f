"""Forms made from JSON Schemas, and what comes back as JSON. What a form cannot say (unions, maps, lists of objects) is a JSON text.

Only shapes are read here. Whether a value fits is for whoever takes it, who says in words what does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec
from msgspec import Raw, Struct, UnsetType

from waypost_proto.errors import BadInput

MAX_DEPTH = 4
MAX_FIELDS = 100
ROOT = "value"
"""Name of the only field of an answer that is no object."""
Kind = Literal["text", "long", "integer", "number", "boolean", "choice", "lines", "json", "group"]
_NULL = {"type": "null"}


class Field(Struct, frozen=True):
    """One field of a form. `name` is its path, joined by dots. `value` is text as the form shows it, "true" for a ticked box."""

    name: str
    label: str
    kind: Kind
    value: str = ""
    required: bool = False
    optional: bool = False
    """May be null, or left out."""
    hint: str = ""
    choices: tuple[tuple[str, str], ...] = ()
    """JSON text and what people read."""
    low: str = ""
    high: str = ""
    longest: int | None = None
    fields: tuple[Field, ...] = ()


def fields_of(schema: Raw | UnsetType, value: Raw | UnsetType, label: str = "Answer") -> list[Field]:
    """The form of a schema, filled with `value` where there is one. A schema that cannot be read becomes one JSON text; `label` is that of
    a form that is one field."""
    root = _loaded(schema)
    given = _loaded(value)
    if not isinstance(root, dict):
        root = {}
    made = _field(_Source(root), root, ROOT, label, given, required=True)
    if made.kind == "group":
        return list(made.fields)
    return [made]


def read_form(schema: Raw | UnsetType, sent: Mapping[str, str], prefix: str = "f.") -> Raw:
    """What somebody filled in, as JSON. Raises `BadInput` that names the field."""
    root = _loaded(schema)
    if not isinstance(root, dict):
        root = {}
    made = _field(_Source(root), root, ROOT, "Answer", None, required=True)
    found = {name.removeprefix(prefix): text for name, text in sent.items() if name.startswith(prefix)}
    if made.kind == "group":
        value: Any = _group(made, found)
    else:
        value = _value(made, found)
    return Raw(msgspec.json.encode(value))


class _Source:
    """A schema's definitions, and how many fields were made."""

    def __init__(self, root: dict[str, Any]) -> None:
        self.root = root
        self.left = MAX_FIELDS

    def whole(self, schema: Any, depth: int = 0) -> dict[str, Any]:
        """The schema with a reference followed, which may only point into the same document."""
        if not isinstance(schema, dict):
            return {}
        reference = schema.get("$ref")
        if not isinstance(reference, str) or depth > MAX_DEPTH * 2:
            return schema
        place: Any = self.root
        for part in reference.removeprefix("#/").split("/"):
            place = place.get(part.replace("~1", "/").replace("~0", "~")) if isinstance(place, dict) else None
        return self.whole(place, depth + 1)


def _field(source: _Source, schema: Any, name: str, label: str, value: Any, *, required: bool) -> Field:
    source.left -= 1
    whole = source.whole(schema)
    whole, optional = _without_null(source, whole)
    hint = str(whole.get("description", ""))[:300]
    shared: dict[str, Any] = {
        "name": name,
        "label": label,
        "hint": hint,
        "required": required and not optional,
        "optional": optional or not required,
    }
    choices = _choices(whole)
    kind = whole.get("type")
    depth = name.count(".")
    if value is None and "default" in whole:
        value = whole["default"]
    if choices:
        return Field(kind="choice", value=_json(value) if value is not None else "", choices=choices, **shared)
    if kind == "object" and isinstance(whole.get("properties"), dict) and depth < MAX_DEPTH and source.left > 0:
        return Field(kind="group", fields=_inner(source, whole, "" if name == ROOT else f"{name}.", value), **shared)
    if kind == "boolean":
        return Field(kind="boolean", value="true" if value is True else "", **{**shared, "required": False})
    if kind in ("integer", "number"):
        return Field(
            kind=kind, value="" if value is None else _json(value), low=_bound(whole, "minimum"), high=_bound(whole, "maximum"), **shared
        )
    if kind == "string":
        longest = whole.get("maxLength") if isinstance(whole.get("maxLength"), int) else None
        text = value if isinstance(value, str) else ""
        return Field(kind="long" if len(text) > 80 or "\n" in text else "text", value=text, longest=longest, **shared)
    if kind == "array" and source.whole(whole.get("items", {})).get("type") == "string":
        return Field(kind="lines", value="\n".join(map(str, value)) if isinstance(value, list) else "", **shared)
    text = "" if value is None else msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
    return Field(kind="json", value=text, **shared)


def _inner(source: _Source, schema: dict[str, Any], prefix: str, value: Any) -> tuple[Field, ...]:
    required = schema.get("required", [])
    given = value if isinstance(value, dict) else {}
    properties = list(schema["properties"].items())[: max(source.left, 0)]
    return tuple(
        _field(source, each, f"{prefix}{key}", key.replace("_", " ").capitalize(), given.get(key), required=key in required)
        for key, each in properties
        if isinstance(key, str)
    )


def _without_null(source: _Source, schema: dict[str, Any]) -> tuple[dict[str, Any], bool]:
    """The schema of a value that may be null without that, and whether it may."""
    union = schema.get("anyOf", schema.get("oneOf"))
    if isinstance(union, list) and _NULL in union:
        rest = [each for each in union if each != _NULL]
        if len(rest) == 1:
            outside = {key: each for key, each in schema.items() if key not in ("anyOf", "oneOf")}
            return {**source.whole(rest[0]), **outside}, True
    return schema, False


def _choices(schema: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    values = [schema["const"]] if "const" in schema else schema.get("enum")
    if not isinstance(values, list) or len(values) > 200:
        return ()
    return tuple((_json(each), each if isinstance(each, str) else _json(each)) for each in values)


def _bound(schema: dict[str, Any], name: str) -> str:
    bound = schema.get(name)
    if bound is None and schema.get("type") == "integer" and isinstance(edge := schema.get(f"exclusive{name.capitalize()}"), int):
        bound = edge + 1 if name == "minimum" else edge - 1
    return _json(bound) if isinstance(bound, int | float) and not isinstance(bound, bool) else ""


# -- back


def _group(field: Field, sent: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for each in field.fields:
        key = each.name.rpartition(".")[2]
        if each.kind == "group":
            found[key] = _group(each, sent)
        elif each.kind == "boolean":
            found[key] = each.name in sent
        elif sent.get(each.name, "").strip() or (each.kind == "text" and each.required):
            found[key] = _value(each, sent)
        elif each.kind == "lines" and each.required:
            found[key] = []
    return found


def _value(field: Field, sent: Mapping[str, str]) -> Any:
    text = sent.get(field.name, "")
    try:
        match field.kind:
            case "boolean":
                return field.name in sent
            case "text" | "long":
                return text.replace("\r\n", "\n")
            case "lines":
                return [line.strip() for line in text.splitlines() if line.strip()]
            case "integer":
                return int(text.strip())
            case "number":
                return msgspec.json.decode(text.strip())
            case _:
                return msgspec.json.decode(text)
    except (ValueError, msgspec.DecodeError) as error:
        what = {"integer": "a whole number", "number": "a number"}.get(field.kind, "JSON")
        raise BadInput(f"{field.label}: {text[:80]!r} is not {what}") from error


def _loaded(value: Raw | UnsetType) -> Any:
    if isinstance(value, UnsetType) or not bytes(value):
        return None
    try:
        return msgspec.json.decode(bytes(value))
    except msgspec.DecodeError:
        return None


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
