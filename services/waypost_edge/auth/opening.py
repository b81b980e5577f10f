"""Who may ask an edge, by its settings. Owns how the parts of `auth` are put together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from starlette.routing import BaseRoute

from waypost_edge.auth.authenticating import Authenticator, Limits
from waypost_edge.auth.rates import Buckets
from waypost_edge.auth.sessions import Sessions, session_secret
from waypost_edge.auth.signin import SignIn
from waypost_io.identities import Identities
from waypost_io.settings import EdgeSettings


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
    auth = Authenticator(
        Identities(settings.api_tokens_file),
        settings.auth,
        settings.http_addr,
        clock,
        sessions=sessions,
        limits=limits,
    )
    return Door(auth=auth, sessions=sessions, routes=SignIn(auth, sessions).routes())
