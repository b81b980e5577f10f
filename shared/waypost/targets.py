"""What `ctx.call` can be given: the generic root of tools and agents, and how their names are made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, ParamSpec, TypeVar

from waypost_proto.ids import check_name

P = ParamSpec("P")
R_co = TypeVar("R_co", covariant=True)


class Target(Generic[P, R_co]):
    """Something with a name that is called with `P` and gives an `R_co`. Subclasses: `Tool` and `Agent`."""

    name: str
    module: str
    """Name of the module that defines it; "" when its code lives elsewhere."""


def name_of(kind: str, function: Callable[..., Any], name: str | None) -> str:
    """The public name: `name`, or the function's with '-' for '_'. Raises `BadInput` for what cannot be a name."""
    if name is None:
        name = getattr(function, "__name__", type(function).__name__).strip("_").replace("_", "-").lower()
    return check_name(kind, name)


def description_of(function: Callable[..., Any]) -> str:
    """The first paragraph of the docstring on one line."""
    text = (function.__doc__ or "").strip().split("\n\n", 1)[0]
    return " ".join(text.split())
