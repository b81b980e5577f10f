"""Requests of operations: arguments to path, query, headers, cookies and body."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from waypost.http.errors import RequestInvalid
from waypost.http.hosts import Target, read_url
from waypost.http.plan import encoded_body
from waypost.http.request import Outgoing, header
from waypost.http.secrets import Secret
from waypost.openapi.operations import Operation
from waypost.openapi.parameters import in_header, in_path, in_query
from waypost.openapi.security import Credential
from waypost.tool_context import ToolContext


@dataclass(slots=True, kw_only=True)
class OperationPlan:
    """A `Plan` (see `waypost.http.request`). `server` is the URL that paths are appended to."""

    operation: Operation
    server: str
    credentials: tuple[Credential, ...] = ()
    headers: Mapping[str, str | Secret] = field(default_factory=dict)
    idempotency_header: str | None = None

    @property
    def target(self) -> Target:
        """The server's own URL."""
        return read_url(self.server)

    def build(self, ctx: ToolContext, arguments: Mapping[str, Any]) -> Outgoing:
        """See `Plan.build`."""
        path, query, headers, cookies = self.operation.path, [], list[tuple[str, str]](), []
        secrets: list[str] = []
        for parameter in self.operation.parameters:
            if parameter.argument not in arguments:
                continue
            value = arguments[parameter.argument]
            match parameter.place:
                case "path":
                    path = path.replace(f"{{{parameter.name}}}", in_path(parameter, value))
                case "query":
                    query += list(in_query(parameter, value))
                case "header":
                    headers.append(header(parameter.name, in_header(parameter, value)))
                case "cookie":
                    cookies += list(in_query(parameter, value))
        self._sign(ctx, (query, headers, cookies), secrets)
        if cookies:
            headers.append(header("Cookie", "; ".join(f"{name}={value}" for name, value in cookies)))
        body = None
        if self.operation.body_type is not None and "body" in arguments:
            body = encoded_body(f"operation {self.operation.id!r}", arguments["body"], self.operation.body_type)
            headers.append(("Content-Type", self.operation.body_type))
        if self.idempotency_header is not None:
            headers.append(header(self.idempotency_header, ctx.idempotency_key))
        if "{" in path:
            raise RequestInvalid(f"operation {self.operation.id!r}: the path {path!r} is not filled; nothing was sent")
        url = self.server.rstrip("/") + path
        if query:
            url += "?" + "&".join(f"{name}={value}" for name, value in query)
        return Outgoing(self.operation.method, read_url(url), tuple(headers), body, tuple(secrets))

    def _sign(
        self, ctx: ToolContext, places: tuple[list[tuple[str, str]], list[tuple[str, str]], list[tuple[str, str]]], secrets: list[str]
    ) -> None:
        query, headers, cookies = places
        for credential in self.credentials:
            text, hidden = credential.value(ctx)
            secrets += hidden
            match credential.place:
                case "header":
                    headers.append(header(credential.name, text))
                case "query":
                    query.append((quote(credential.name, safe=""), quote(text, safe="")))
                    secrets.append(quote(text, safe=""))
                case "cookie":
                    cookies.append((credential.name, text))
        for name, value in self.headers.items():
            if isinstance(value, Secret):
                text, bare = value.value(ctx)
                secrets += [text, bare]
            else:
                text = value
            headers.append(header(name, text))
