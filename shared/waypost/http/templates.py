"""Texts with `{argument}` in them: parsed once at the definition, filled in for each call. Pure.

`{name}` and `{name.field}` stand for arguments, `{ctx.idempotency_key}` and the like for the call. `{{` and `}}` are braces.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from waypost.http.errors import RequestInvalid
from waypost.tool_context import ToolContext
from waypost_proto.errors import BadInput

CONTEXT_FIELDS = ("idempotency_key", "run_id", "call_id", "agent", "tool", "attempt", "tenant", "correlation_id")
_PIECE = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_REFERENCE = re.compile(r"[A-Za-z_][\w-]*(\.[\w-]+)*\Z")


class _Missing:
    """The type of `MISSING`."""


MISSING: Final = _Missing()
"""The value of a reference to what the call does not have."""


class Template:
    """A text, or one single reference (`whole`), whose value then keeps its type. Raises `BadInput` for braces that do not match."""

    def __init__(self, what: str, text: str) -> None:
        self.what = what
        self.text = text
        self.pieces: list[tuple[bool, str]] = []
        at = 0
        for match in _PIECE.finditer(text):
            if match.start() > at:
                self.pieces.append((False, text[at : match.start()]))
            at = match.end()
            if match.group() in ("{{", "}}"):
                self.pieces.append((False, match.group()[0]))
            elif match.group(1) is None or not _REFERENCE.match(match.group(1)):
                raise BadInput(f"{what}: {text!r} has {match.group()!r} at {match.start()}: write {{argument}}, or {{{{ for a brace")
            else:
                self.pieces.append((True, match.group(1)))
        if at < len(text):
            self.pieces.append((False, text[at:]))

    @property
    def whole(self) -> bool:
        return len(self.pieces) == 1 and self.pieces[0][0]

    @property
    def references(self) -> list[str]:
        return [piece for is_reference, piece in self.pieces if is_reference]

    @property
    def arguments(self) -> set[str]:
        """The names of the arguments that it uses, whole or in part."""
        return {name.split(".")[0] for name in self.references if not name.startswith("ctx.")}

    def check(self, known: Sequence[str] | None) -> None:
        """Raises `BadInput` for a reference to what no call has. `known`: the arguments, None if any may come."""
        for name in self.references:
            head, _, rest = name.partition(".")
            if head == "ctx":
                if rest not in CONTEXT_FIELDS:
                    raise BadInput(f"{self.what}: {{{name}}} is nothing of the call; there is {', '.join(CONTEXT_FIELDS)}")
            elif known is not None and head not in known:
                raise BadInput(f"{self.what}: {{{name}}} is no argument; there is {', '.join(known) or 'none'}")

    def value(self, ctx: ToolContext, arguments: Mapping[str, Any]) -> Any:
        """Of a `whole` template: the value with its type, `MISSING` if there is none."""
        return _look_up(self.pieces[0][1], ctx, arguments)

    def fill(self, ctx: ToolContext, arguments: Mapping[str, Any], write: Callable[[str, Any], str]) -> str:
        """The text with each reference written by `write(name, value)`. Raises `RequestInvalid` for what the call does not have."""
        parts = []
        for is_reference, piece in self.pieces:
            if not is_reference:
                parts.append(piece)
                continue
            value = _look_up(piece, ctx, arguments)
            if value is MISSING or value is None:
                raise RequestInvalid(f"{self.what} needs {piece!r}, which the call does not have; nothing was sent")
            parts.append(write(piece, value))
        return "".join(parts)


def plain(what: str, name: str, value: Any) -> str:
    """A single value as text. Raises `RequestInvalid` for a list or an object."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    raise RequestInvalid(f"{what}: {name!r} is a {type(value).__name__}, a text, a number or a boolean can stand there; nothing was sent")


def _look_up(name: str, ctx: ToolContext, arguments: Mapping[str, Any]) -> Any:
    head, *rest = name.split(".")
    if head == "ctx":
        return getattr(ctx, rest[0], MISSING)
    found: Any = arguments.get(head, MISSING)
    for key in rest:
        found = found.get(key, MISSING) if isinstance(found, Mapping) else MISSING
    return found
