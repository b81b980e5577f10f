"""Who may ask an edge, by its settings. Owns how the parts of `auth` are put together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.routing import BaseRoute

from waypost_edge.auth.authenticating import Authenticator, Limits, Trust
from waypost_edge.auth.issuers import read_issuers
from waypost_edge.auth.oidc_signin import IssuerSignIn
from waypost_edge.auth.rates import Buckets
from waypost_edge.auth.sessions import Sessions, session_secret
from waypost_edge.auth.signin import SignIn
from waypost_io.identities import Identities
from waypost_io.identity import Signer, token_from
from waypost_io.settings import EdgeSettings
from waypost_proto.errors import Misconfigured

if TYPE_CHECKING:
    from waypost_edge.auth.oidc import Issuers


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """What the application needs: who asks, and the routes of signing in."""

    auth: Authenticator
    sessions: Sessions
    routes: Sequence[BaseRoute]


def open_auth(settings: EdgeSettings, clock: Callable[[], float]) -> Door:
    """Raises `Misconfigured`."""
    sessions = Sessions(
        session_secret(settings.session_key_file),
        seconds=settings.session_seconds,
        secure=settings.public_url.startswith("https:"),
        clock=clock,
    )
    limits = Limits(
        callers=Buckets(settings.rate, settings.burst),
        failures=Buckets(settings.failures / 60, max(1.0, settings.failures)),
        proxies=[address.strip() for address in settings.proxies.split(",") if address.strip()],
    )
    token = token_from(settings.api_token, settings.api_token_file)
    issuers = None if settings.oidc_file is None else _issuers(settings.oidc_file, clock)
    auth = Authenticator(
        Identities(settings.api_tokens_file),
        settings.auth,
        settings.http_addr,
        clock,
        sessions=sessions,
        limits=limits,
        trust=None if issuers is None else Trust(issuers=issuers, own=Signer(token) if token else None),
    )
    routes, ways = [], []
    if issuers is not None and any(issuer.client_id for issuer in issuers.known.values()):
        entrance = IssuerSignIn(auth, sessions, issuers, settings.public_url, clock)
        routes, ways = entrance.routes(), entrance.ways()
    return Door(auth=auth, sessions=sessions, routes=[*SignIn(auth, sessions, ways).routes(), *routes])


def _issuers(path: Path, clock: Callable[[], float]) -> Issuers:
    """Late, because only who has issuers needs PyJWT."""
    try:
        from waypost_edge.auth.oidc import Issuers
    except ImportError as error:
        raise Misconfigured("WAYPOST_OIDC_FILE needs PyJWT: pip install 'waypost[edge]'") from error
    return Issuers(read_issuers(path), clock)
