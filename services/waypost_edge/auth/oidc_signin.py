"""Sign-in of browsers with an issuer: authorization code with PKCE (RFC 7636), `state` and `nonce`.

GET /signin/issuer/{number}     to the issuer; what has to come back is in a sealed cookie for ten minutes
GET /signin/callback            its answer: the code becomes an id token, and that a session
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import html
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import msgspec
import structlog
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from waypost_edge.auth.authenticating import Authenticator
from waypost_edge.auth.issuers import Issuer
from waypost_edge.auth.pages import ONWARD_PAGE
from waypost_edge.auth.sessions import Sessions
from waypost_edge.auth.signin import SIGNIN, local_path
from waypost_io.webhooks import request as ask
from waypost_proto.errors import Misconfigured, NotAuthenticated, NotFound, Unreachable

if TYPE_CHECKING:
    from waypost_edge.auth.oidc import Issuers

CALLBACK = f"{SIGNIN}/callback"
COOKIE = "waypost_signin"
SECONDS = 600.0
_PURPOSE = b"signin"
_log = structlog.get_logger(__name__)


class _Begun(msgspec.Struct, frozen=True, kw_only=True):
    """A sign-in under way, in the browser's cookie."""

    issuer: str
    state: str
    nonce: str
    verifier: str
    to: str
    expires_at: float


class _Tokens(msgspec.Struct, frozen=True):
    id_token: str = ""


class IssuerSignIn:
    """The handlers of one edge. `public_url` is where the issuer sends browsers back to."""

    def __init__(self, auth: Authenticator, sessions: Sessions, issuers: Issuers, public_url: str, clock: Callable[[], float]) -> None:
        """Raises `Misconfigured` without an address, or for a secret that cannot be read."""
        if not public_url:
            raise Misconfigured("sign-in with an issuer (client_id in WAYPOST_OIDC_FILE) needs WAYPOST_EDGE_URL, the address people use")
        self._auth = auth
        self._sessions = sessions
        self._issuers = issuers
        self._back = public_url.rstrip("/") + CALLBACK
        self._secure = public_url.startswith("https:")
        self._clock = clock
        self._clients = [issuer for issuer in issuers.known.values() if issuer.client_id]
        self._secrets = {issuer.issuer: _secret(issuer) for issuer in self._clients}

    def routes(self) -> list[BaseRoute]:
        """At the top of the application."""
        return [
            Route(f"{SIGNIN}/issuer/{{number:int}}", self.begin, methods=["GET"]),
            Route(CALLBACK, self.finish, methods=["GET"]),
        ]

    def ways(self) -> list[tuple[str, str]]:
        """(address, name) for the form."""
        return [(f"{SIGNIN}/issuer/{number}", issuer.name or issuer.issuer) for number, issuer in enumerate(self._clients)]

    async def begin(self, request: Request) -> Response:
        """On to the issuer."""
        number = request.path_params["number"]
        if number >= len(self._clients):
            raise NotFound(f"there is no issuer {number}")
        issuer = self._clients[number]
        metadata = await self._issuers.keys[issuer.issuer].metadata()
        begun = _Begun(
            issuer=issuer.issuer,
            state=secrets.token_urlsafe(24),
            nonce=secrets.token_urlsafe(24),
            verifier=secrets.token_urlsafe(48),
            to=local_path(request.query_params.get("next", "")),
            expires_at=self._clock() + SECONDS,
        )
        challenge = base64.urlsafe_b64encode(hashlib.sha256(begun.verifier.encode()).digest()).rstrip(b"=").decode()
        query = urlencode(
            {
                "response_type": "code",
                "client_id": issuer.client_id,
                "redirect_uri": self._back,
                "scope": issuer.scopes,
                "state": begun.state,
                "nonce": begun.nonce,
                "code_challenge": challenge,
                "code_challenge_method": "S256",
            }
        )
        joint = "&" if "?" in metadata.authorization_endpoint else "?"
        response = RedirectResponse(f"{metadata.authorization_endpoint}{joint}{query}", 303)
        sealed = self._sessions.seal(_PURPOSE, msgspec.json.encode(begun))
        response.set_cookie(  # Lax, because the answer comes from the issuer's page
            COOKIE, sealed, max_age=int(SECONDS), path=SIGNIN, secure=self._secure, httponly=True, samesite="lax"
        )
        return response

    async def finish(self, request: Request) -> Response:
        """The issuer's answer. Raises `NotAuthenticated` for one that this browser did not ask for, or that is not good."""
        address = self._auth.address(request)
        self._auth.check_failures(address)
        try:
            begun = self._begun(request)
            issuer = self._issuers.known[begun.issuer]
            token = await self._exchange(issuer, request.query_params.get("code", ""), begun.verifier)
            claims = await self._claims(issuer, token, begun.nonce)
        except NotAuthenticated:
            self._auth.failed(address)
            raise
        behalf = issuer.behalf(claims)
        self._auth.by_behalf(behalf, float("inf"))  # raises for whom the edge may not act for
        response = HTMLResponse(ONWARD_PAGE.replace("{next}", html.escape(begun.to)))
        self._sessions.begin(response, behalf=behalf)
        response.delete_cookie(COOKIE, path=SIGNIN)
        _log.info("signed_in_by_issuer", issuer=issuer.issuer, subject=behalf.subject, tenant=behalf.tenant)
        return response

    async def _claims(self, issuer: Issuer, token: str, nonce: str) -> dict[str, Any]:
        found, claims = await self._issuers.claims(token)
        answers = hmac.compare_digest(str(claims.get("nonce", "")).encode(), nonce.encode())
        if found.issuer != issuer.issuer or not answers or issuer.client_id not in _all(claims.get("aud")):
            raise NotAuthenticated("the issuer's answer is not to this sign-in: try again")
        return claims

    def _begun(self, request: Request) -> _Begun:
        data = self._sessions.open(_PURPOSE, request.cookies.get(COOKIE, ""))
        begun = None if data is None else msgspec.json.decode(data, type=_Begun)
        if begun is None or begun.expires_at <= self._clock() or begun.issuer not in self._issuers.known:
            raise NotAuthenticated("no sign-in is under way in this browser, or it took too long: try again")
        if not hmac.compare_digest(request.query_params.get("state", "").encode(), begun.state.encode()):
            raise NotAuthenticated("the answer belongs to another sign-in: try again")
        if "error" in request.query_params or not request.query_params.get("code"):
            raise NotAuthenticated(f"the issuer did not sign you in: {request.query_params.get('error', 'no code')[:100]}")
        return begun

    async def _exchange(self, issuer: Issuer, code: str, verifier: str) -> str:
        metadata = await self._issuers.keys[issuer.issuer].metadata()
        fields = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._back,
            "client_id": issuer.client_id,
            "code_verifier": verifier,
        }
        secret = self._secrets[issuer.issuer]
        if secret:
            fields["client_secret"] = secret
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json", "User-Agent": "waypost"}
        try:
            status, body = await asyncio.to_thread(ask, "POST", metadata.token_endpoint, urlencode(fields).encode(), headers)
        except OSError as error:
            raise Unreachable(f"{issuer.issuer} does not answer: {error}") from error
        if status >= 500:
            raise Unreachable(f"{issuer.issuer} answered {status}")
        try:
            token = msgspec.json.decode(body, type=_Tokens).id_token if status == 200 else ""
        except msgspec.MsgspecError as error:
            raise Unreachable(f"{issuer.issuer} answered what is no token") from error
        if not token:
            raise NotAuthenticated("the issuer does not take the code: try again")
        return token


def _all(audience: object) -> list[object]:
    return audience if isinstance(audience, list) else [audience]


def _secret(issuer: Issuer) -> str:
    if not issuer.client_secret_file:
        return ""
    try:
        return Path(issuer.client_secret_file).expanduser().read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise Misconfigured(f"client_secret_file={issuer.client_secret_file!r} cannot be read: {error}") from error
