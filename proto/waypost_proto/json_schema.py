"""JSON Schema of the wire's types, from msgspec's own inspection of them. Pure.

Ours and not `msgspec.json.schema_components`, because that cannot express a default that is raw JSON, knows nothing of what a
`Raw` field really holds, and writes OpenAPI discriminators that AsyncAPI refuses.
"""

from __future__ import annotations

import inspect as python
import json
from typing import Any

from msgspec import NODEFAULT, UNSET, inspect

from waypost_proto import codec
from waypost_proto.catalogue import RAW_UNIONS, Kind

Schema = dict[str, Any]


def definitions(kinds: tuple[Kind, ...], prefix: str) -> dict[str, Schema]:
    """Schemas by class name of these types and of all they refer to; references begin with `prefix` (`#/$defs/`)."""
    found: dict[str, Schema] = {}
    waiting = list(kinds)
    while waiting:
        kind = waiting.pop(0)
        if kind.__name__ in found:
            continue
        writer = _Writer(prefix)
        found[kind.__name__] = writer.struct(kind)
        waiting += writer.mentioned
    return found


class _Writer:
    """Writes one struct's schema and remembers which others it mentions."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self.mentioned: list[Kind] = []

    def struct(self, kind: Kind) -> Schema:
        info = inspect.type_info(kind)
        if not isinstance(info, inspect.StructType):
            raise TypeError(f"{kind!r} is not a msgspec Struct: only those travel")
        schema: Schema = {"title": kind.__name__}
        if kind.__doc__:
            schema["description"] = python.cleandoc(kind.__doc__)
        fields = {field.encode_name: self._field(kind, field) for field in info.fields}
        required = [field.encode_name for field in info.fields if field.required]
        if info.array_like:
            return schema | {"type": "array", "prefixItems": list(fields.values()), "minItems": len(required)}
        if info.tag_field is not None:
            fields = {info.tag_field: {"const": info.tag}, **fields}
            required = [info.tag_field, *required]
        schema |= {"type": "object", "properties": fields, "required": required}
        if info.forbid_unknown_fields:
            schema["additionalProperties"] = False
        return schema

    def _field(self, kind: Kind, field: inspect.Field) -> Schema:
        if union := RAW_UNIONS.get((kind.__name__, field.name)):
            one_of = {"oneOf": [self._reference(member) for member in union]}
            return {"type": "array", "items": one_of} if field.name == "items" else one_of
        schema = self._type(field.type)
        default = field.default_factory() if callable(field.default_factory) else field.default
        if default is not NODEFAULT and default is not UNSET:
            schema["default"] = json.loads(codec.encode(default))
        return schema

    def _reference(self, kind: Kind) -> Schema:
        self.mentioned.append(kind)
        return {"$ref": f"{self._prefix}{kind.__name__}"}

    def _type(self, info: inspect.Type) -> Schema:
        match info:
            case inspect.Metadata():
                return self._type(info.type) | (info.extra_json_schema or {})
            case inspect.StructType():
                return self._reference(info.cls)
            case inspect.UnionType():
                return {"anyOf": [self._type(member) for member in info.types]}
            case inspect.ListType() | inspect.VarTupleType():
                return {"type": "array", "items": self._type(info.item_type)}
            case inspect.DictType():
                sizes = {"minProperties": info.min_length, "maxProperties": info.max_length}
                keys = {"propertyNames": self._type(info.key_type), "additionalProperties": self._type(info.value_type)}
                return {"type": "object", **keys, **_present(sizes)}
            case _:
                return _scalar(info)


def _scalar(info: inspect.Type) -> Schema:
    match info:
        case inspect.RawType() | inspect.AnyType():
            return {}
        case inspect.NoneType():
            return {"type": "null"}
        case inspect.BoolType():
            return {"type": "boolean"}
        case inspect.IntType() | inspect.FloatType():
            kind = "integer" if isinstance(info, inspect.IntType) else "number"
            return {"type": kind, **_present({"minimum": info.ge, "exclusiveMinimum": info.gt, "maximum": info.le})}
        case inspect.StrType():
            limits = {"minLength": info.min_length, "maxLength": info.max_length, "pattern": info.pattern}
            return {"type": "string", **_present(limits)}
        case inspect.BytesType():
            return {"type": "string", "contentEncoding": "base64"}
        case inspect.LiteralType():
            return {"enum": list(info.values)}
        case inspect.EnumType():
            return {"enum": [member.value for member in info.cls]}
        case _:
            raise TypeError(f"no schema for {info!r}: teach waypost_proto.json_schema about it")


def _present(limits: Schema) -> Schema:
    return {key: value for key, value in limits.items() if value is not None}
