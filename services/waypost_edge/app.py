"""The HTTP application: routes, errors as problem details (`problems`), and the numbers of requests."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from waypost_edge.auth.headers import SecurityHeaders
from waypost_edge.metrics import Metrics
from waypost_edge.problems import HANDLERS

_CORS: dict[str, Any] = {
    "allow_methods": ["GET", "POST"],
    "allow_headers": ["Authorization", "Content-Type", "Idempotency-Key", "Last-Event-ID", "traceparent"],
    "expose_headers": ["Link", "Location", "Retry-After"],
    "allow_credentials": False,
    "max_age": 600,
}
"""Without cookies: a page elsewhere sends a token, or is nobody."""


def application(routes: Sequence[BaseRoute], metrics: Metrics, *, origins: Sequence[str] = ()) -> Starlette:
    """The application of one edge; it opens and closes nothing. `origins`: pages elsewhere that may call the API, with a token."""
    foreign = [Middleware(CORSMiddleware, allow_origins=origins, **_CORS)] if origins else []
    return Starlette(
        routes=list(routes),
        middleware=[Middleware(_Counted, metrics=metrics), Middleware(SecurityHeaders), *foreign],
        exception_handlers=dict(HANDLERS),
    )


class _Counted:
    """Counts each request under its route's own path, so that ids in paths make no series."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.monotonic()
        status = 500

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, sending)
        finally:
            route = _route_of(scope)
            self._metrics.requests.labels(route, str(status)).inc()
            self._metrics.seconds.labels(route).observe(time.monotonic() - began)


def _route_of(scope: Scope) -> str:
    """The path as it is declared, with what stands for ids in braces; "other" for what no route takes."""
    path: str = scope["path"]
    params: dict[str, str] = scope.get("path_params", {})
    if not params:
        return path if "endpoint" in scope else "other"
    if "path" in params:
        return "other"
    for name, value in params.items():
        path = path.replace(str(value), f"{{{name}}}")
    return path
