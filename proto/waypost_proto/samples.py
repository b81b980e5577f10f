"""Sample values of every message type, made from its annotations: what the golden bytes hold. Pure and deterministic."""

from __future__ import annotations

import re
from typing import Any

import msgspec
from msgspec import inspect

_RUN_ID = "0192f0c1-7a3e-7c21-8f00-3b1d6a9c4e55"
_CHILD_ID = "0192f0c1-7a3e-7c21-8f00-3b1d6a9c4e56"
_TIME = "2026-12-01T17:00:00.000000Z"

_BY_FIELD: tuple[tuple[str, Any], ...] = (
    (r"run_id", _RUN_ID),
    (r"child(_run_id)?|parent|before|next_before", _CHILD_ID),
    (r"call_id|id|target", "0:1"),
    (r"(next_)?(base|digest)", "9f86d081884c7d659a2feaa0c55ad015"),
    (r"sha256|(args|input)_digest", "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"),
    (r"deadline", "PT30M"),
    (r"recorded_at|requested_at|expires_at|decided_at|created_at|updated_at|next_attempt_at|at", _TIME),
    (r"agent|child_agent", "compliance"),
    (r"tool", "file-report"),
    (r"worker", "worker-1"),
    (r"gateway", "gateway-1"),
    (r"build", "b1"),
    (r"type", "run_started"),
)
_UNIX_SECONDS = 1796144400.5


def sample(kind: Any, *, full: bool = True) -> Any:
    """An instance of a message type: every field set, or (`full=False`) only those without a default."""
    return _build(inspect.type_info(kind), "", full=full)


def _build(info: inspect.Type, name: str, *, full: bool) -> Any:  # noqa: PLR0911  # one case a type
    match info:
        case inspect.StructType():
            fields = (f for f in info.fields if full or f.required)
            return info.cls(**{f.name: _other_than(f.default, _build(f.type, f.name, full=full), f.type) for f in fields})
        case inspect.UnionType():
            return _build(next(t for t in info.types if not isinstance(t, inspect.NoneType)), name, full=full)
        case inspect.ListType():
            return [_build(info.item_type, name, full=full)]
        case inspect.VarTupleType():
            return (_build(info.item_type, name, full=full),)
        case inspect.DictType():
            return {"key": _build(info.value_type, name, full=full)}
        case inspect.RawType():
            return msgspec.Raw(b"[]" if name == "items" else b'{"a":1}')
        case inspect.LiteralType():
            return info.values[-1]
        case inspect.EnumType():
            return next(iter(info.cls))
        case _:
            return _scalar(info, name)


def _other_than(default: Any, value: Any, info: inspect.Type) -> Any:
    """A field that equals its default is left out on the wire; a full sample must show it."""
    if value != default:
        return value
    match info:
        case inspect.BoolType():
            return not value
        case inspect.LiteralType():
            return next(other for other in info.values if other != default)
        case inspect.FloatType():
            return value / 2
        case _:
            raise TypeError(f"no sample for {info!r} other than its default {default!r}: teach waypost_proto.samples about it")


def _scalar(info: inspect.Type, name: str) -> Any:
    match info:
        case inspect.BoolType():
            return True
        case inspect.IntType():
            return 7
        case inspect.FloatType():
            top = info.le
            if top is not None:
                return float(top) / 2
            return _UNIX_SECONDS if name.endswith("_at") or name == "at" else 2.5
        case inspect.BytesType():
            return b"some bytes"
        case inspect.StrType():
            return next((value for pattern, value in _BY_FIELD if re.fullmatch(pattern, name)), f"some {name}")
        case _:
            raise TypeError(f"no sample for a field {name!r} of type {info!r}: teach waypost_proto.samples about it")
