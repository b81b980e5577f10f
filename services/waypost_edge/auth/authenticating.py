"""A request → who asks. In this order: `Authorization`, the session of a browser, nobody where nobody is authenticated.

With identities (`WAYPOST_API_TOKENS_FILE`) or issuers (`WAYPOST_OIDC_FILE`) a request carries a token as `Authorization: Bearer`: an API
token (`SU…`), whose public half is looked up, or a JWT of an issuer. As the password of Basic authentication a token is what Grafana's
data sources can send. Without either everybody may do everything, and then the edge listens on this machine alone.
"""

from __future__ import annotations

import base64
import binascii
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from starlette.requests import Request

from waypost_edge.auth.caller import NOBODY, Caller
from waypost_edge.auth.origins import address_of, check_same_origin, foreign_page, host_of, is_loopback
from waypost_edge.auth.rates import Buckets
from waypost_edge.auth.sessions import Sessions
from waypost_io.identities import Identities, Identity
from waypost_io.identity import Signer
from waypost_io.permissions import DELEGATE
from waypost_io.settings import parse_address
from waypost_proto.errors import Denied, Misconfigured, NotAuthenticated, TooManyRequests
from waypost_proto.signing import Behalf

Mode = Literal["auto", "required", "off"]
MAX_KEPT = 1_000
"""Tokens whose keys are kept ready: to derive them takes some tens of microseconds."""
ASK_AGAIN_SECONDS = 300.0
"""How long an answer that goes on (live events) may go on before its caller has to say anew who they are: a token may be revoked."""
_SCOPE_KEY = "waypost.caller"


class Verifier(Protocol):
    """Reads JWTs (`oidc.Issuers`)."""

    async def verify(self, token: str) -> tuple[Behalf, float]:
        """Whose it is and until when it is good, Unix seconds. Raises `NotAuthenticated`, or `Unreachable` without the issuer's keys."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Requests per caller, and failed authentications per address. `proxies`: addresses whose `X-Forwarded-For` is believed."""

    callers: Buckets
    failures: Buckets
    proxies: Sequence[str] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """Issuers whose word is taken, and the edge's `own` key, which signs for the people whom they know."""

    issuers: Verifier
    own: Signer | None


class Authenticator:
    """Tells callers apart for one edge. `clock` is Unix seconds."""

    def __init__(
        self,
        identities: Identities,
        mode: Mode,
        address: str,
        clock: Callable[[], float],
        *,
        sessions: Sessions | None = None,
        limits: Limits | None = None,
        trust: Trust | None = None,
    ) -> None:
        """Raises `Misconfigured` where anybody could read from another machine and nobody has said that they may, and where people of
        an issuer could do nothing.
        """
        self._identities = identities
        self._clock = clock
        self._limits = limits
        self._trust = trust
        self._signers: OrderedDict[str, Signer] = OrderedDict()
        self.sessions = sessions
        known = len(identities) > 0 or trust is not None
        self.required = mode == "required" or (mode == "auto" and known)
        self._here_only = mode == "auto" and not self.required
        if mode == "required" and not known:
            raise Misconfigured("WAYPOST_AUTH=required needs identities: set WAYPOST_API_TOKENS_FILE")
        if self._here_only and not is_loopback(parse_address(address)[0]):
            raise Misconfigured(
                f"WAYPOST_HTTP_ADDR={address!r} is open to other machines, and without identities everybody could read every run: set "
                "WAYPOST_API_TOKENS_FILE, or WAYPOST_AUTH=off if something in front of the edge asks who it is"
            )
        if trust is not None:
            self._delegate()

    async def authenticate(self, request: Request) -> Caller:
        """Who asks; the same answer for the same request. A route calls this before anything else.

        Raises `NotAuthenticated` (401), `Denied` (403: a page of another site), `TooManyRequests` (429), `Unreachable` (503: the issuer's
        keys are not to be had).
        """
        known: Caller | None = request.scope.get(_SCOPE_KEY)
        if known is None:
            known = request.scope[_SCOPE_KEY] = await self._authenticate(request)
        return known

    async def _authenticate(self, request: Request) -> Caller:
        if not self.required:
            return self._nobody(request)
        address = address_of(request, () if self._limits is None else self._limits.proxies)
        self.check_failures(address)
        try:
            caller = await self._caller(request)
        except NotAuthenticated:
            if "authorization" in request.headers:
                self.failed(address)
            raise
        if self._limits is not None:
            wait = self._limits.callers.take(caller.subject)
            if wait:
                raise TooManyRequests(
                    f"{caller.subject} asks too often: the next request is taken in {wait:.0f} s", retry_after_seconds=wait
                )
        return caller

    def check_failures(self, address: str) -> None:
        """Raises `TooManyRequests` for an address from which too many have failed to say who they are."""
        wait = 0.0 if self._limits is None else self._limits.failures.wait(address)
        if wait:
            raise TooManyRequests("too many tokens from your address were not good: wait", retry_after_seconds=wait)

    def failed(self, address: str) -> None:
        """A token from this address was not good."""
        if self._limits is not None:
            self._limits.failures.take(address)

    def address(self, request: Request) -> str:
        """The address that asks."""
        return address_of(request, () if self._limits is None else self._limits.proxies)

    def by_token(self, token: str) -> Caller:
        """Who has this API token. Raises `NotAuthenticated`; never shows it."""
        signer = self._signer(token)
        identity = self._identities.find(signer.key)
        if identity is None or identity.expired(self._clock()):
            raise NotAuthenticated("this token is not known, or it has expired: ask for a new one (`waypost tokens create`)")
        return Caller(identity=identity, signer=signer, how="token", expires_at=self._until(identity.expires))

    def by_behalf(self, behalf: Behalf, expires_at: float) -> Caller:
        """Somebody whom an issuer knows. Raises `Denied` for whom the edge may not act for."""
        own, identity = self._delegate()
        return Caller(
            identity=identity.acting_for(behalf),
            signer=own.on_behalf(behalf),
            how="oidc",
            expires_at=min(expires_at, self._clock() + ASK_AGAIN_SECONDS),
        )

    def _nobody(self, request: Request) -> Caller:
        if self._here_only and not is_loopback(host_of(request)):
            raise Denied(
                f"the host {host_of(request)!r} is not this machine's own name, and nobody is authenticated here: use localhost, or set "
                "WAYPOST_API_TOKENS_FILE"
            )
        if request.method not in ("GET", "HEAD", "OPTIONS") and foreign_page(request):
            raise Denied("a page of another site sent this, and nobody is authenticated here")
        return NOBODY

    async def _caller(self, request: Request) -> Caller:
        header = request.headers.get("authorization")
        if header is not None:
            return await self.by_credential(_credential(header))
        session = self.sessions.read(request) if self.sessions is not None else None
        if session is None:
            raise NotAuthenticated("send a token that is known and has not expired, as Authorization: Bearer or as a Basic password")
        check_same_origin(request)
        found = self.by_behalf(session.behalf, session.expires_at) if session.behalf is not None else self.by_token(session.token)
        until = session.expires_at if found.expires_at is None else min(found.expires_at, session.expires_at)
        return Caller(identity=found.identity, signer=found.signer, how=found.how, session=True, expires_at=until)

    async def by_credential(self, credential: str) -> Caller:
        """Who has this API token or JWT. Raises as `authenticate`."""
        if self._trust is not None and credential.count(".") == 2:
            behalf, expires_at = await self._trust.issuers.verify(credential)
            return self.by_behalf(behalf, expires_at)
        if not credential:
            raise NotAuthenticated("Authorization is neither Bearer with a token nor Basic with one as its password")
        return self.by_token(credential)

    def _until(self, expires: datetime | None) -> float:
        again = self._clock() + ASK_AGAIN_SECONDS
        return again if expires is None else min(again, expires.timestamp())

    def _signer(self, token: str) -> Signer:
        signer = self._signers.get(token)
        if signer is not None:
            self._signers.move_to_end(token)
            return signer
        try:
            signer = Signer(token)
        except Misconfigured as error:
            raise NotAuthenticated("that is not a token: it begins with SU and has 58 characters") from error
        self._signers[token] = signer
        while len(self._signers) > MAX_KEPT:
            self._signers.popitem(last=False)
        return signer

    def _delegate(self) -> tuple[Signer, Identity]:
        """The edge's own key and identity. Raises `Misconfigured` when it may not act for anybody."""
        own = None if self._trust is None else self._trust.own
        if own is None:
            raise Misconfigured(
                "WAYPOST_OIDC_FILE needs a token of the edge's own in WAYPOST_API_TOKEN_FILE, with the role `delegate`: it signs for "
                "people whom an issuer knows; see docs/authentication.md"
            )
        identity = self._identities.find(own.key)
        if identity is None or DELEGATE not in identity.roles or identity.expired(self._clock()):
            raise Misconfigured(
                "the edge's own token (WAYPOST_API_TOKEN_FILE) belongs to no identity with the role `delegate` in WAYPOST_API_TOKENS_FILE: "
                "`waypost tokens create edge --role delegate`"
            )
        return own, identity


def _credential(header: str) -> str:
    scheme, _, rest = header.strip().partition(" ")
    if scheme.lower() == "bearer":
        return rest.strip()
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(rest, validate=True).decode().partition(":")[2].strip()
        except (binascii.Error, ValueError):
            return ""
    return ""
