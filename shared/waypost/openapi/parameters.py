"""Parameters of operations as OpenAPI writes them: style and explode (OpenAPI 3.1, "Style Values"; RFC 6570). Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast
from urllib.parse import quote

import msgspec

from waypost.http.errors import RequestInvalid
from waypost.http.request import path_segment

Place = Literal["path", "query", "header", "cookie"]
PLACES: tuple[Place, ...] = ("path", "query", "header", "cookie")
STYLES: dict[Place, tuple[str, ...]] = {
    "path": ("simple", "label", "matrix"),
    "query": ("form", "spaceDelimited", "pipeDelimited", "deepObject"),
    "header": ("simple",),
    "cookie": ("form",),
}
_DELIMITERS = {"form": ",", "spaceDelimited": " ", "pipeDelimited": "|"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """One parameter. `argument` is its name among the tool's arguments, `as_json`: its value is sent as JSON text."""

    name: str
    argument: str
    place: Place
    style: str
    explode: bool
    required: bool
    as_json: bool = False


def in_path(parameter: Parameter, value: Any) -> str:
    """The text that stands for `{name}` in the path, percent-encoded."""
    name = parameter.argument
    if parameter.as_json:
        return path_segment(name, _json(value))
    lead, between = {"simple": ("", ","), "label": (".", "."), "matrix": (";", ";")}[parameter.style]
    if isinstance(value, Mapping):
        pairs = [(str(key), path_segment(name, _text(name, inner))) for key, inner in value.items()]
        if parameter.explode:
            return lead + between.join(f"{quote(key, safe='')}={inner}" for key, inner in pairs)
        flat = ",".join(f"{quote(key, safe='')},{inner}" for key, inner in pairs)
        return _matrix(parameter, flat) if parameter.style == "matrix" else lead + flat
    if isinstance(value, list):
        if not value:
            raise RequestInvalid(f"argument {name!r} is an empty list, which would change the path that is called; nothing was sent")
        items = [path_segment(name, _text(name, item)) for item in value]
        if parameter.style == "matrix":
            return (
                between.join(["", *(f"{quote(parameter.name, safe='')}={item}" for item in items)])
                if parameter.explode
                else _matrix(parameter, ",".join(items))
            )
        return lead + (between if parameter.explode else ",").join(items)
    text = path_segment(name, _text(name, value))
    return _matrix(parameter, text) if parameter.style == "matrix" else lead + text


def _matrix(parameter: Parameter, text: str) -> str:
    return f";{quote(parameter.name, safe='')}={text}"


def in_query(parameter: Parameter, value: Any) -> Iterator[tuple[str, str]]:
    """Names and values for the query (or a cookie), both percent-encoded."""
    name = quote(parameter.name, safe="[]")
    what = parameter.argument
    if parameter.as_json:
        yield name, quote(_json(value), safe="")
    elif isinstance(value, Mapping):
        yield from _object_in_query(parameter, name, value)
    elif isinstance(value, list):
        items = [quote(_text(what, item), safe="") for item in value]
        if parameter.explode and parameter.style == "form":
            for item in items:
                yield name, item
        elif items:
            yield name, quote(_DELIMITERS.get(parameter.style, ","), safe=",").join(items)
    else:
        yield name, quote(_text(what, value), safe="")


def _object_in_query(parameter: Parameter, name: str, value: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    what = parameter.argument
    pairs = [(quote(str(key), safe=""), quote(_text(what, inner), safe="")) for key, inner in value.items()]
    if parameter.style == "deepObject":
        for key, inner in pairs:
            yield f"{name}[{key}]", inner
    elif parameter.explode:
        yield from pairs
    elif pairs:
        between = quote(_DELIMITERS.get(parameter.style, ","), safe=",")
        yield name, between.join(part for pair in pairs for part in pair)


def in_header(parameter: Parameter, value: Any) -> str:
    """The value of a header, as it is."""
    what = parameter.argument
    if parameter.as_json:
        return _json(value)
    if isinstance(value, Mapping):
        mark = "=" if parameter.explode else ","
        return ",".join(f"{key}{mark}{_text(what, inner)}" for key, inner in value.items())
    if isinstance(value, list):
        return ",".join(_text(what, item) for item in value)
    return _text(what, value)


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _text(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "null"
    if isinstance(value, str | int | float):
        return str(value)
    kind = type(cast("object", value)).__name__
    raise RequestInvalid(f"argument {name!r} has a {kind} inside, which its place in the request cannot carry; nothing was sent")
