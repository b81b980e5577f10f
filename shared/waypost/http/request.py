"""A request that is ready to be sent, and the checks that every one passes however it was made. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import quote

from waypost.http.errors import RequestInvalid
from waypost.http.hosts import Target
from waypost.tool_context import ToolContext

MASK = "***"
HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+\Z")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*\Z")
RESERVED_HEADERS = frozenset({"host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "trailer", "accept-encoding"})
"""Set by the transport alone: another value would make two readers see two requests."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """One request. `secrets` are bare values that must be masked in whatever is said of it."""

    method: str
    target: Target
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None
    secrets: tuple[str, ...] = field(default=(), repr=False)

    @property
    def shown(self) -> str:
        """Method and host, for messages: a path or a query may hold what must not be shown."""
        return f"{self.method} {self.target.base}"

    def mask(self, text: str) -> str:
        """`text` without this request's secrets."""
        for secret in self.secrets:
            if secret:
                text = text.replace(secret, MASK)
        return text


class Plan(Protocol):
    """How the arguments of a call become a request."""

    def build(self, ctx: ToolContext, arguments: Mapping[str, Any]) -> Outgoing:
        """Raises `RequestInvalid` or `EgressRefused` for arguments that make no request, `NotExecuted` for a secret that is not there."""
        ...


def header(name: str, value: str) -> tuple[str, str]:
    """A header as it may be sent. Raises `RequestInvalid` for a value that would break out of its line."""
    if not _HEADER_VALUE.match(value):
        raise RequestInvalid(f"the value of header {name!r} has a line break, a control character or one past Latin-1; nothing was sent")
    return name, value.strip(" \t")


def path_segment(name: str, text: str) -> str:
    """A value as one segment of a path. Raises `RequestInvalid` for an empty one and for '.' and '..', which servers take for a place."""
    if text in ("", ".", ".."):
        raise RequestInvalid(f"argument {name!r} is {text!r}, which would change the path that is called; nothing was sent")
    return quote(text, safe="")
