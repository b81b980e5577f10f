"""Errors as problem details (RFC 9457), whoever raises them."""

from __future__ import annotations

import math
from http import HTTPStatus

import structlog
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from waypost_edge.auth.signin import to_signin
from waypost_io.redaction import redact
from waypost_proto.codec import encode
from waypost_proto.errors import (
    BadInput,
    BadMessage,
    ConcurrencyError,
    Conflict,
    Denied,
    NotAuthenticated,
    NotConfirmed,
    NotFound,
    TooLarge,
    TooManyRequests,
    TransientError,
    WaypostError,
)

PROBLEM = "application/problem+json"
RETRY_AFTER_SECONDS = 1
"""When whoever was told 503 may try again: a replica takes over within seconds, and requests wait for that already."""
_STATUS: tuple[tuple[type[WaypostError], int], ...] = (
    (NotAuthenticated, 401),
    (Denied, 403),
    (NotFound, 404),
    (Conflict, 409),
    (ConcurrencyError, 409),
    (TooLarge, 413),
    (TooManyRequests, 429),
    (BadMessage, 500),
    (BadInput, 400),
    (NotConfirmed, 504),
    (TransientError, 503),
)
_LONGEST_DETAIL = 2_000
_log = structlog.get_logger(__name__)


class NotAllowed(BadInput):
    """A method that a path does not take."""

    code = "405"

    def __init__(self, method: str, allow: str) -> None:
        super().__init__(f"{method[:20]} is not possible here: {allow}")
        self.allow = allow


class NotAcceptable(BadInput):
    """No answer of a kind that the caller takes."""

    code = "406"


def problem(status: int, detail: str, headers: dict[str, str] | None = None) -> Response:
    """An error as RFC 9457 has it."""
    more = dict(headers or {})
    if status == 401:
        more["WWW-Authenticate"] = 'Bearer realm="waypost", Basic realm="waypost"'
    if status in (429, 503):
        more.setdefault("Retry-After", str(RETRY_AFTER_SECONDS))
    if status in (408, 413):
        more["Connection"] = "close"  # what is left of the body is not read
    text = redact(detail)[:_LONGEST_DETAIL]
    body = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": text}
    return Response(encode(body), status, {"Cache-Control": "no-store", **more}, media_type=PROBLEM)


def problem_bytes(status: int, detail: str) -> bytes:
    """A whole HTTP/1.1 answer that ends its connection, for what never becomes a request."""
    made = problem(status, detail, {"Connection": "close"})
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}".encode(), *(b"%b: %b" % header for header in made.raw_headers), b"", b""]
    return b"\r\n".join(lines) + bytes(made.body)


def status_of(error: WaypostError) -> int:
    """The HTTP status of an error: what it says itself, or what its class means.

    What a caller sent is `BadInput`; a `BadMessage` is bytes of ours that cannot be read.
    """
    if not isinstance(error, BadMessage) and error.code.isdecimal() and 400 <= int(error.code) < 600 and error.code != "500":
        try:
            return int(HTTPStatus(int(error.code)))
        except ValueError:
            pass
    return next((status for kind, status in _STATUS if isinstance(error, kind)), 500)


async def on_error(request: Request, error: Exception) -> Response:
    """What Waypost raises on purpose."""
    assert isinstance(error, WaypostError)
    page = to_signin(request, error)
    if page is not None:
        return page
    status = status_of(error)
    if status >= 500:
        _log.warning("request failed", error=str(error))
    headers = {"Allow": error.allow} if isinstance(error, NotAllowed) else {}
    if isinstance(error, TooManyRequests):
        headers["Retry-After"] = str(math.ceil(error.retry_after_seconds))
    return problem(status, str(error), headers)


async def on_http(_request: Request, error: Exception) -> Response:
    """What Starlette raises: no such path, no such method."""
    assert isinstance(error, HTTPException)
    return problem(error.status_code, error.detail, dict(error.headers or {}))


async def on_gone(_request: Request, _error: Exception) -> Response:
    """The caller left while it sent its body: nobody reads this."""
    return problem(400, "the body ended too early")


async def on_bug(request: Request, error: Exception) -> Response:
    """Everything else is a fault of the edge."""
    _log.error("request failed", path=request.url.path, exc_info=error)
    return problem(500, "something is wrong with the edge itself; its log says more")


HANDLERS = {WaypostError: on_error, HTTPException: on_http, ClientDisconnect: on_gone, Exception: on_bug}
