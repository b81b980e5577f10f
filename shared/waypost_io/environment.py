"""Reads a frozen settings struct from environment variables, and reports every problem at once.

A settings class is a msgspec Struct whose fields are annotated with the variable they come from:

    class GatewaySettings(Settings, frozen=True, kw_only=True):
        concurrency: Annotated[int, Env("WAYPOST_GATEWAY_CONCURRENCY", "tool calls at once", low=1, high=10_000)] = 64

Owns the reading; which settings there are is in `settings`.
"""

from __future__ import annotations

import math
import os
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

from waypost_io.redaction import redact
from waypost_proto.errors import Misconfigured

S = TypeVar("S", bound=msgspec.Struct)

Check = Callable[[str], None]
"""Raises `ValueError` that says what to do."""


@dataclass(frozen=True, slots=True)
class Env:
    """Where a field comes from. `low` and `high` bound numbers, `check` looks at the text."""

    variable: str
    what: str
    low: float = -math.inf
    high: float = math.inf
    check: Check | None = None
    required: bool = False
    """True: a problem when the variable is unset or empty, whatever the default."""


def variables(kind: type[msgspec.Struct]) -> Iterator[tuple[str, Env, Any]]:
    """(field, its Env, its type) of each field that is read from the environment."""
    for field, hint in get_type_hints(kind, include_extras=True).items():
        if get_origin(hint) is Annotated:
            inner, *extras = get_args(hint)
            for extra in extras:
                if isinstance(extra, Env):
                    yield field, extra, inner


def read(kind: type[S], environment: Mapping[str, str] | None = None) -> S:
    """Build `kind` from the environment. An empty variable counts as unset.

    Raises `Misconfigured` with one line per problem: the variable, its value (redacted), what to do.
    """
    source = os.environ if environment is None else environment
    values: dict[str, Any] = {}
    problems: list[str] = []
    for field, env, inner in variables(kind):
        text = source.get(env.variable, "").strip()
        if not text:
            if env.required:
                problems.append(f"{env.variable} is not set: {env.what}")
            continue
        try:
            values[field] = _convert(text, env, inner)
        except ValueError as error:
            problems.append(f"{env.variable}={redact(text)!r}: {error}")
    if problems:
        raise Misconfigured("\n".join(problems))
    return kind(**values)


def _convert(text: str, env: Env, inner: Any) -> Any:
    if env.check is not None:
        env.check(text)
    if get_origin(inner) in (Union, types.UnionType):
        inner = next(member for member in get_args(inner) if member is not type(None))
    if get_origin(inner) is Literal:
        if text not in get_args(inner):
            raise ValueError(f"use one of {', '.join(get_args(inner))}")
        return text
    if inner is Path:
        return Path(text).expanduser()
    if inner in (int, float):
        return _number(text, env, inner)
    assert inner is str, f"no way to read a {inner} for {env.variable}"
    return text


def _number(text: str, env: Env, kind: type[int | float]) -> float:
    try:
        value = kind(text)
    except ValueError:
        raise ValueError(f"use a {'whole ' if kind is int else ''}number from {env.low:g} to {env.high:g}") from None
    if not env.low <= value <= env.high:
        raise ValueError(f"use a number from {env.low:g} to {env.high:g}")
    return value
