"""Security schemes of a document as secrets: which a request carries, and where."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from waypost.http.secrets import Secret
from waypost.openapi.document import BadDocument, Document, step
from waypost.openapi.operations import Operation
from waypost.tool_context import ToolContext


@dataclass(frozen=True, slots=True)
class Credential:
    """A secret and where it goes. `basic`: the secret is `user:password`, sent in Base64."""

    secret: Secret
    place: Literal["header", "query", "cookie"]
    name: str
    basic: bool = False

    def value(self, ctx: ToolContext) -> tuple[str, tuple[str, ...]]:
        """The text to send, and all that must be masked."""
        text, bare = self.secret.value(ctx)
        if not self.basic:
            return text, (text, bare)
        encoded = b64encode(text.encode()).decode()
        return f"Basic {encoded}", (text, bare, encoded)


def credentials_of(document: Document, operation: Operation, auth: Mapping[str, Secret]) -> tuple[Credential, ...]:
    """What the operation's first requirement that `auth` can meet asks for. Raises `BadDocument` if it can meet none."""
    wanted: Sequence[Mapping[str, Any]] = operation.security or ()
    for requirement in wanted:
        if all(name in auth for name in requirement):
            return tuple(_credential(document, name, auth[name]) for name in requirement)
    if not wanted:
        return ()
    ways = " or ".join(" and ".join(requirement) for requirement in wanted)
    raise BadDocument(operation.where, f"it needs {ways}: give auth={{{next(iter(wanted[0]), '')!r}: Secret('…')}}")


def _credential(document: Document, name: str, secret: Secret) -> Credential:
    where = step("#/components/securitySchemes", name)
    schemes = document.root.get("components", {}).get("securitySchemes", {})
    if name not in schemes:
        raise BadDocument(where, f"there is no security scheme {name!r}; there is {', '.join(schemes) or 'none'}")
    scheme, where = document.resolved(schemes[name], where)
    match scheme.get("type"):
        case "apiKey" if scheme.get("in") in ("header", "query", "cookie"):
            return Credential(secret, scheme["in"], str(scheme.get("name", "")))
        case "http" if str(scheme.get("scheme", "")).lower() == "basic":
            return Credential(secret, "header", "Authorization", basic=True)
        case "http" if str(scheme.get("scheme", "")).lower() == "bearer":
            return Credential(_bearer(secret), "header", "Authorization")
        case "oauth2" | "openIdConnect":
            return Credential(_bearer(secret), "header", "Authorization")
    raise BadDocument(where, f"a security scheme of type {scheme.get('type')!r} ({scheme.get('scheme', '')}) cannot be met with a secret")


def _bearer(secret: Secret) -> Secret:
    """The token as the scheme wants it, unless its author wrote a format of their own."""
    return Secret(secret.name, "Bearer {}") if secret.format == "{}" else secret
