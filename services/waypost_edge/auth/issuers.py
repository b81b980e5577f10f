"""OIDC issuers, by a file (`WAYPOST_OIDC_FILE`): whose word is taken, and what their claims mean here.

[[issuer]]
issuer = "https://login.example.com"
audience = ["waypost"]               # one of these must be in a token's `aud`
name = "Example"                     # on the sign-in page
subject = "email"                    # the claim that is recorded; `sub` without it
tenant = "bank"                      # of everybody of this issuer; "default" without it
tenant_claim = "org"                 # or by a claim, by way of [issuer.tenants]
roles_claim = "groups"
client_id = "waypost"                # these two: sign-in for browsers
client_secret_file = "/etc/waypost/oidc.secret"

[issuer.tenants]
"bank-gmbh" = "bank"

[issuer.roles]
"payments-officers" = ["officer"]
"platform" = ["operator", "auditor"]
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from waypost_edge.auth.origins import is_loopback
from waypost_io.permissions import DEFAULT_TENANT, DELEGATE, EVERY_TENANT, SERVICE
from waypost_proto.errors import Misconfigured, NotAuthenticated
from waypost_proto.signing import Behalf

ASYMMETRIC = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""What may be allowed at all: with `none` anybody signs, and with HS… whoever knows the public key does."""
MAX_ROLES = 64
_MAX_SUBJECT_CHARS = 256


class Issuer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One issuer. `leeway_seconds`: how far its clock may be from ours. `keys_seconds`: how long its keys are kept."""

    issuer: str
    audience: list[str] = []
    name: str = ""
    algorithms: tuple[str, ...] = ("RS256", "ES256")
    jwks_url: str = ""
    """"": found by discovery."""
    leeway_seconds: Annotated[float, Meta(ge=0, le=120)] = 30.0
    keys_seconds: Annotated[float, Meta(ge=10, le=86_400)] = 3_600.0
    subject: str = "sub"
    subject_prefix: str = ""
    tenant: str = DEFAULT_TENANT
    tenant_claim: str = ""
    tenants: dict[str, str] = {}
    roles_claim: str = "groups"
    roles: dict[str, list[str]] = {}
    client_id: str = ""
    client_secret_file: str = ""
    scopes: str = "openid email profile"

    @property
    def audiences(self) -> list[str]:
        """Those that are taken: an id token's is the client."""
        return [*self.audience, *([self.client_id] if self.client_id else [])]

    def behalf(self, claims: dict[str, object]) -> Behalf:
        """Who the claims say it is. Raises `NotAuthenticated` for one without subject, or whose tenant nobody has mapped."""
        subject = claims.get(self.subject)
        if not isinstance(subject, str) or not subject.strip() or not subject.isprintable() or len(subject) > _MAX_SUBJECT_CHARS:
            raise NotAuthenticated(f"the token has no usable claim {self.subject!r}")
        if self.subject == "email" and claims.get("email_verified") is False:
            raise NotAuthenticated("the issuer has not verified the address in the claim 'email'")
        return Behalf(subject=self.subject_prefix + subject, tenant=self._tenant(claims), roles=self._roles(claims), issuer=self.issuer)

    def _tenant(self, claims: dict[str, object]) -> str:
        if not self.tenant_claim:
            return self.tenant
        found = claims.get(self.tenant_claim)
        mapped = self.tenants.get(found) if isinstance(found, str) else None
        if mapped is None:
            raise NotAuthenticated(f"the claim {self.tenant_claim!r} of the token names no tenant that is known here")
        return mapped

    def _roles(self, claims: dict[str, object]) -> list[str]:
        found = claims.get(self.roles_claim)
        groups = [found] if isinstance(found, str) else found if isinstance(found, list) else []
        roles = {role for group in groups if isinstance(group, str) for role in self.roles.get(group, [])}
        return sorted(roles)[:MAX_ROLES]


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    issuer: list[Issuer] = []


def read_issuers(path: Path) -> list[Issuer]:
    """Raises `Misconfigured`, with the place and what to do."""
    try:
        found = msgspec.convert(tomllib.loads(path.read_text(encoding="utf-8")), _File).issuer
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise Misconfigured(f"WAYPOST_OIDC_FILE={str(path)!r}: {error}") from error
    if not found:
        raise Misconfigured(f"WAYPOST_OIDC_FILE={str(path)!r} names no [[issuer]]")
    for issuer in found:
        problem = _problem(issuer)
        if problem:
            raise Misconfigured(f"WAYPOST_OIDC_FILE={str(path)!r}: issuer {issuer.issuer!r}: {problem}")
    if len({issuer.issuer for issuer in found}) < len(found):
        raise Misconfigured(f"WAYPOST_OIDC_FILE={str(path)!r} names an issuer twice")
    return found


def _problem(issuer: Issuer) -> str:
    for url in (issuer.issuer, issuer.jwks_url):
        if url and not is_safe(url):
            return f"{url!r}: use https (http is for this machine alone)"
    if not issuer.audiences:
        return "give an audience: without one a token for anything else would be good here"
    wrong = [name for name in issuer.algorithms if name not in ASYMMETRIC]
    if wrong or not issuer.algorithms:
        return f"algorithms: {wrong or 'none'}: choose among {', '.join(ASYMMETRIC)}"
    granted = {role for roles in issuer.roles.values() for role in roles}
    if granted & {DELEGATE, SERVICE}:
        return f"nobody gets the roles {DELEGATE!r} and {SERVICE!r} by an issuer"
    if EVERY_TENANT in (issuer.tenant, *issuer.tenants.values()):
        return "nobody gets every tenant by an issuer: give them an API token"
    return ""


def is_safe(url: str) -> bool:
    """Whether what is read there cannot be changed on its way: https, or this machine."""
    parts = urlsplit(url)
    return bool(parts.hostname) and (parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or "")))
