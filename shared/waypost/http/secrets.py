"""Secrets by name: what a tool's definition says, and where the value comes from. The value is read when a request is made, never before.

Owns no value: the gateway holds secrets (`ToolContext.secrets`); else `WAYPOST_SECRET_<NAME>` is read, in upper case with '_'.
"""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass

from waypost.errors import NotExecuted
from waypost.tool_context import SecretMissing, ToolContext
from waypost_proto.errors import BadInput

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}\Z")


@dataclass(frozen=True, slots=True)
class Secret:
    """A secret by name, as (part of) a header or a query value: `Secret("bank-token", "Bearer {}")`."""

    name: str
    format: str = "{}"

    def __post_init__(self) -> None:
        if not _NAME.match(self.name):
            raise BadInput(f"Secret({self.name!r}): this must be a secret's name (letters, digits, '-', '_', '.'), never its value")
        if self.format.count("{}") != 1:
            raise BadInput(f"Secret({self.name!r}, {self.format!r}): the format has '{{}}' once, where the value stands")

    def value(self, ctx: ToolContext) -> tuple[str, str]:
        """The formatted text and the bare value, which must be masked wherever it might show. Raises `NotExecuted` if there is none."""
        bare = secret_of(ctx, self.name)
        return self.format.replace("{}", bare), bare


def variable_of(name: str) -> str:
    """The environment variable of a secret."""
    return f"WAYPOST_SECRET_{re.sub('[^A-Za-z0-9]', '_', name).upper()}"


def secret_of(ctx: ToolContext, name: str) -> str:
    """The value of a secret. Raises `NotExecuted` that says how to give it one."""
    with contextlib.suppress(SecretMissing):
        return ctx.secret(name)
    value = os.environ.get(variable_of(name), "").strip()
    if not value:
        raise NotExecuted(f"secret {name!r} is not set: give the gateway {variable_of(name)}")
    return value
