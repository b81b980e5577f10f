"""Whether a JSON value fits a JSON Schema, and if not, where and why, in words for the person who gave it. Pure.

For answers of people and for arguments that people edit. It knows what `msgspec.json.schema` writes for Python types (draft 2020-12
without remote references); a keyword it does not know is not checked. What passes is still decoded into the type by whoever asked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import date, datetime, time
from typing import Any
from uuid import UUID

_MAX_DEPTH = 64
_EXCERPT_CHARS = 60
_TYPES: Mapping[str, Callable[[Any], bool]] = {
    "null": lambda value: value is None,
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: (isinstance(value, int) and not isinstance(value, bool)) or (isinstance(value, float) and value.is_integer()),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "string": lambda value: isinstance(value, str),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
}
_WORDS = {
    "null": "nothing (null)",
    "boolean": "true or false",
    "integer": "a whole number",
    "number": "a number",
    "string": "a text",
    "array": "a list",
    "object": "an object",
}
_FORMATS: Mapping[str, Callable[[str], object]] = {
    "date-time": datetime.fromisoformat,
    "date": date.fromisoformat,
    "time": time.fromisoformat,
    "uuid": UUID,
}


def problem_of(schema: Any, value: Any) -> str:
    """ "" when `value` fits, else one sentence: `amount: 'ten' is not a whole number`."""
    return _check(schema, value, "", schema, 0)


def _check(schema: Any, value: Any, path: str, root: Any, depth: int) -> str:
    if schema is True or not isinstance(schema, dict):
        return _say(path, value, "is not expected") if schema is False else ""
    if depth > _MAX_DEPTH:
        return _say(path, value, f"is nested deeper than {_MAX_DEPTH} levels")
    if "$ref" in schema:
        return _check(_resolve(str(schema["$ref"]), root), value, path, root, depth + 1)
    for check in (_kind, _choice, _number, _text):
        problem = check(schema, value, path)
        if problem:
            return problem
    for alternatives in (schema.get("anyOf"), schema.get("oneOf")):
        if alternatives:
            problem = _any_of(alternatives, value, path, root, depth)
            if problem:
                return problem
    if isinstance(value, list):
        return _items(schema, value, path, root, depth)
    if isinstance(value, dict):
        return _members(schema, value, path, root, depth)
    return ""


def _resolve(reference: str, root: Any) -> Any:
    """A reference within the document; one that leads nowhere checks nothing."""
    found = root
    for part in [part for part in reference.removeprefix("#").split("/") if part]:
        found = found.get(part.replace("~1", "/").replace("~0", "~"), {}) if isinstance(found, dict) else {}
    return found


def _kind(schema: Mapping[str, Any], value: Any, path: str) -> str:
    kinds = schema.get("type")
    if kinds is None:
        return ""
    names = [kinds] if isinstance(kinds, str) else list(kinds)
    if any(_TYPES.get(name, lambda _: True)(value) for name in names):
        return ""
    return _say(path, value, "is not " + " or ".join(_WORDS.get(name, name) for name in names))


def _choice(schema: Mapping[str, Any], value: Any, path: str) -> str:
    if "const" in schema and value != schema["const"]:
        return _say(path, value, f"must be {schema['const']!r}")
    choices = schema.get("enum")
    if choices is not None and value not in choices:
        return _say(path, value, "is none of " + ", ".join(repr(choice) for choice in choices))
    return ""


def _number(schema: Mapping[str, Any], value: Any, path: str) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return ""
    low, high = schema.get("minimum"), schema.get("maximum")
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    step = schema.get("multipleOf")
    if low is not None and value < low:
        return _say(path, value, f"is below {low}")
    if high is not None and value > high:
        return _say(path, value, f"is above {high}")
    if above is not None and value <= above:
        return _say(path, value, f"is not above {above}")
    if below is not None and value >= below:
        return _say(path, value, f"is not below {below}")
    return _say(path, value, f"is not a multiple of {step}") if step and value % step else ""


def _text(schema: Mapping[str, Any], value: Any, path: str) -> str:
    if not isinstance(value, str):
        return ""
    shortest, longest, pattern, form = (schema.get(key) for key in ("minLength", "maxLength", "pattern", "format"))
    if shortest is not None and len(value) < shortest:
        return _say(path, value, f"is shorter than {shortest} characters")
    if longest is not None and len(value) > longest:
        return _say(path, value, f"is longer than {longest} characters")
    if isinstance(pattern, str) and not _matches(pattern, value):
        return _say(path, value, f"does not match {pattern!r}")
    parse = _FORMATS.get(form) if isinstance(form, str) else None
    if parse is not None:
        try:
            parse(value)
        except ValueError:
            return _say(path, value, f"is no {form}")
    return ""


def _matches(pattern: str, value: str) -> bool:
    try:
        return re.search(pattern, value) is not None
    except re.error:  # another dialect: whoever asked decodes it all the same
        return True


def _any_of(alternatives: list[Any], value: Any, path: str, root: Any, depth: int) -> str:
    problems = [_check(each, value, path, root, depth + 1) for each in alternatives]
    if not all(problems):
        return ""
    # of the alternatives, the one that came furthest says most
    return max(problems, key=lambda problem: problem.split(":", 1)[0].count("."))


def _items(schema: Mapping[str, Any], value: list[Any], path: str, root: Any, depth: int) -> str:
    fewest, most = schema.get("minItems"), schema.get("maxItems")
    if fewest is not None and len(value) < fewest:
        return _say(path, value, f"has fewer than {fewest} items")
    if most is not None and len(value) > most:
        return _say(path, value, f"has more than {most} items")
    first = schema.get("prefixItems") or []
    for index, item in enumerate(value):
        each = first[index] if index < len(first) else schema.get("items", True)
        problem = _check(each, item, f"{path}[{index}]", root, depth + 1)
        if problem:
            return problem
    return ""


def _members(schema: Mapping[str, Any], value: dict[str, Any], path: str, root: Any, depth: int) -> str:
    known = schema.get("properties") or {}
    for name in schema.get("required") or []:
        if name not in value:
            return _say(f"{path}.{name}" if path else name, None, "is missing", shown=False)
    for name, member in value.items():
        inner = f"{path}.{name}" if path else name
        each = known[name] if name in known else schema.get("additionalProperties", True)
        problem = _check(each, member, inner, root, depth + 1)
        if problem:
            return problem
    return ""


def _say(path: str, value: Any, what: str, *, shown: bool = True) -> str:
    text = repr(value)
    excerpt = text if len(text) <= _EXCERPT_CHARS else f"{text[:_EXCERPT_CHARS]}…"
    place = f"{path}: " if path else ""
    return f"{place}{excerpt} {what}" if shown else f"{place}{what}"
