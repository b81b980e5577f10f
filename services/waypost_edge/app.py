"""The HTTP application: routes, errors as problem details (RFC 9457), and the numbers of requests."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from http import HTTPStatus

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from waypost_edge.auth.headers import SecurityHeaders
from waypost_edge.auth.signin import to_signin
from waypost_edge.metrics import Metrics
from waypost_io.redaction import redact
from waypost_proto.errors import BadInput, Denied, NotAuthenticated, NotFound, TooLarge, TooManyRequests, TransientError, WaypostError

PROBLEM = "application/problem+json"
_STATUS: tuple[tuple[type[WaypostError], int], ...] = (
    (NotAuthenticated, 401),
    (Denied, 403),
    (NotFound, 404),
    (TooLarge, 413),
    (TooManyRequests, 429),
    (BadInput, 400),
    (TransientError, 503),
)
_log = structlog.get_logger(__name__)


def application(routes: Sequence[BaseRoute], metrics: Metrics) -> Starlette:
    """The application of one edge; it opens and closes nothing."""
    return Starlette(
        routes=list(routes),
        middleware=[Middleware(_Counted, metrics=metrics), Middleware(SecurityHeaders)],
        exception_handlers={WaypostError: _on_error, HTTPException: _on_http, Exception: _on_bug},
    )


def problem(status: int, detail: str, *, retry_after_seconds: float | None = None) -> Response:
    """An error as RFC 9457 has it."""
    headers = {"WWW-Authenticate": 'Bearer realm="waypost", Basic realm="waypost"'} if status == 401 else {}
    if retry_after_seconds is not None:
        headers["Retry-After"] = str(math.ceil(retry_after_seconds))
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": redact(detail)}
    return JSONResponse(body, status, headers, media_type=PROBLEM)


async def _on_error(request: Request, error: Exception) -> Response:
    page = to_signin(request, error)
    if page is not None:
        return page
    status = next((status for kind, status in _STATUS if isinstance(error, kind)), 500)
    if status >= 500:
        _log.warning("request failed", error=str(error))
    retry = error.retry_after_seconds if isinstance(error, TooManyRequests) else None
    return problem(status, str(error), retry_after_seconds=retry)


async def _on_http(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return problem(error.status_code, error.detail)


async def _on_bug(request: Request, error: Exception) -> Response:
    _log.error("request failed", path=request.url.path, exc_info=error)
    return problem(500, "something is wrong with the edge itself; its log says more")


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
