"""What a user's function takes and returns, read once from its annotations. Owns no names and calls nothing."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from msgspec import UNSET

from waypost_proto.errors import BadInput

_NAMED = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


class Signature:
    """Parameters by name, their types and defaults, and the return type.

    `context` is the class whose instance may come first; `has_context` says whether it does. What has no annotation is
    `Any`. Raises `TypeError` for parameters that cannot be named in JSON (`*args`, `**kwargs`, positional-only) and
    for annotations that cannot be resolved.
    """

    def __init__(self, what: str, function: Callable[..., Any], context: type, local_names: Mapping[str, Any]) -> None:
        self.what = what
        hints = _hints(what, function, local_names)
        parameters = list(inspect.signature(function).parameters.values())
        self.has_context = bool(parameters) and hints.get(parameters[0].name) is context
        if self.has_context:
            parameters = parameters[1:]
        for parameter in parameters:
            if parameter.kind not in _NAMED:
                raise TypeError(f"{what}: parameter {parameter} has no name in JSON; use plain named parameters")
        self.names = tuple(p.name for p in parameters)
        self.positional = tuple(p.name for p in parameters if p.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD)
        self.types = {p.name: hints.get(p.name, Any) for p in parameters}
        self.defaults = {p.name: p.default for p in parameters if p.default is not inspect.Parameter.empty}
        self.returns: Any = hints.get("return", Any)
        self._known = frozenset(self.names)

    def bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Arguments by name, defaults filled in. Raises `TypeError` as a call would."""
        bound = dict(self.defaults)
        if args:
            if len(args) > len(self.positional):
                raise TypeError(f"{self.what} takes {len(self.positional)} positional arguments, {len(args)} were given")
            bound.update(zip(self.positional, args, strict=False))
        if kwargs:
            taken = set(self.positional[: len(args)])
            for name, value in kwargs.items():
                if name not in self._known or name in taken:
                    problem = "twice an argument" if name in taken else "no parameter"
                    raise TypeError(f"{self.what} got {problem} {name!r}; it takes ({', '.join(self.names)})")
                bound[name] = value
        if len(bound) != len(self.names):
            missing = [name for name in self.names if name not in bound]
            raise TypeError(f"{self.what} misses {', '.join(map(repr, missing))}; it takes ({', '.join(self.names)})")
        return bound

    def as_struct(self, name: str) -> type[msgspec.Struct]:
        """The parameters as a Struct, to decode and describe a JSON object of arguments."""
        fields: list[tuple[str, Any, Any]] = []
        for parameter in self.names:
            kind = self.types[parameter]
            default = self.defaults.get(parameter, UNSET)
            if default is UNSET:
                fields.append((parameter, kind, msgspec.NODEFAULT))
            elif isinstance(default, list | dict | set):
                fields.append((parameter, kind, msgspec.field(default_factory=default.copy)))
            else:
                fields.append((parameter, kind, default))
        try:
            return msgspec.defstruct(name, fields, kw_only=True, forbid_unknown_fields=True)
        except (TypeError, ValueError) as error:
            raise TypeError(f"{self.what} has a parameter that JSON cannot carry: {error}") from error


def _hints(what: str, function: Callable[..., Any], local_names: Mapping[str, Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function, localns=dict(local_names) or None, include_extras=True)
    except NameError as error:
        raise TypeError(
            f"{what}: the annotation {error.name!r} cannot be resolved; import it at run time (not under TYPE_CHECKING) "
            "and define it before the function"
        ) from error
    except (TypeError, SyntaxError) as error:
        raise BadInput(f"{what} has an annotation that is not a type: {error}") from error
