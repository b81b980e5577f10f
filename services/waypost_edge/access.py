"""Who may read by HTTP, and of which tenant.

With identities (`WAYPOST_API_TOKENS_FILE`) a request carries a token, as `Authorization: Bearer SU…` or as the password of Basic
authentication, which is what Grafana's data sources can send. The token's public half is looked up; nothing secret is kept here. Whoever
has an identity may read what is of its tenant. Without identities everybody may read, and then the edge listens on this machine alone.
"""

from __future__ import annotations

import base64
import binascii
import ipaddress
from collections.abc import Callable
from typing import Literal

from starlette.requests import Request

from waypost_io.identities import Identities
from waypost_io.identity import Signer
from waypost_io.settings import parse_address
from waypost_proto.errors import Misconfigured, NotAuthenticated

Mode = Literal["auto", "required", "off"]
MAX_KEPT = 1_000
"""Tokens whose public half is remembered: to derive it takes some tens of microseconds."""


class Access:
    """Tells readers apart. `clock` gives Unix seconds."""

    def __init__(self, identities: Identities, mode: Mode, address: str, clock: Callable[[], float]) -> None:
        """Raises `Misconfigured` where anybody could read from another machine, and nobody has said that they may."""
        self._identities = identities
        self._clock = clock
        self.required = mode == "required" or (mode == "auto" and len(identities) > 0)
        self._keys: dict[str, str] = {}
        if mode == "required" and not len(identities):
            raise Misconfigured("WAYPOST_AUTH=required needs identities: set WAYPOST_API_TOKENS_FILE")
        if mode == "auto" and not self.required and not _is_loopback(address):
            raise Misconfigured(
                f"WAYPOST_HTTP_ADDR={address!r} is open to other machines, and without identities everybody could read every run: set "
                "WAYPOST_API_TOKENS_FILE, or WAYPOST_AUTH=off if something in front of the edge asks who it is"
            )

    def admit(self, request: Request) -> str | None:
        """The tenant whose runs the caller may see; None: all. Raises `NotAuthenticated`."""
        if not self.required:
            return None
        token = _token(request.headers.get("authorization", ""))
        identity = self._identities.find(self._key(token)) if token else None
        if identity is None or identity.expired(self._clock()):
            raise NotAuthenticated("send a token that is known and has not expired, as Authorization: Bearer or as a Basic password")
        return identity.tenant

    def _key(self, token: str) -> str:
        key = self._keys.get(token)
        if key is None:
            try:
                key = Signer(token).key
            except Misconfigured as error:
                raise NotAuthenticated("that is not a token: it begins with SU and has 58 characters") from error
            while len(self._keys) >= MAX_KEPT:
                del self._keys[next(iter(self._keys))]
            self._keys[token] = key
        return key


def _token(header: str) -> str:
    scheme, _, rest = header.strip().partition(" ")
    if scheme.lower() == "bearer":
        return rest.strip()
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(rest, validate=True).decode().partition(":")[2].strip()
        except (binascii.Error, ValueError):
            return ""
    return ""


def _is_loopback(address: str) -> bool:
    host, _ = parse_address(address)
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
