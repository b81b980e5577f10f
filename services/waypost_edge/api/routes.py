"""The routes of the API, made from the table of operations: who asks, what for, the answer.

Each path is one route, so that a method that it does not take is answered with those it does.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from waypost_edge.api import auditing, openapi
from waypost_edge.api.asking import Asking
from waypost_edge.api.binding import bind
from waypost_edge.api.live import Live
from waypost_edge.api.operations import OPERATIONS, Operation
from waypost_edge.api.payloads import pieces_of
from waypost_edge.api.sse import EVENT_STREAM
from waypost_edge.auth import Authenticator, Caller
from waypost_edge.problems import NotAcceptable, NotAllowed
from waypost_io.store.ports import Store
from waypost_proto.codec import encode

JSON = "application/json"
_LOCAL: Mapping[str, Callable[[Store, Any, Caller], Awaitable[Any]]] = {
    "audit.status": auditing.status,
    "audit.heads": auditing.heads,
    "audit.keys": auditing.keys,
    "audit.inclusion": auditing.inclusion,
    "audit.consistency": auditing.consistency,
}


@dataclass(frozen=True, kw_only=True)
class Api:
    """The handlers of one edge."""

    auth: Authenticator
    asking: Asking
    live: Live
    store: Store
    version: str
    _document: list[bytes] = field(default_factory=list)

    def routes(self) -> list[BaseRoute]:
        """`/v1/…` and `/openapi.json`."""
        by_path: dict[str, dict[str, Operation]] = {}
        for operation in OPERATIONS:
            by_path.setdefault(operation.path, {})[operation.method] = operation
        made: list[BaseRoute] = [Route(path, _Endpoint(self, methods)) for path, methods in by_path.items()]
        return [Route("/openapi.json", _Document(self)), *made]

    async def answer(self, request: Request, operation: Operation) -> ASGIApp:
        """One request. Raises what `problems` makes answers of."""
        caller = await self.auth.authenticate(request)
        if operation.permission:
            caller.check(operation.permission)
        if operation.name == "payloads.get":
            asked = await bind(request, operation)
            return await _payload(await pieces_of(self.asking.payloads.signed_by(caller.signer), asked.sha256))
        if operation.stream is not None and (operation.answer is None or _wants(request, EVENT_STREAM)):
            _check_accept(request, EVENT_STREAM)
            return await self._stream(request, operation, caller)
        _check_accept(request, JSON)
        asked = await bind(request, operation)
        if operation.local:
            found = await _LOCAL[operation.name](self.store, asked, caller)
        else:
            found = await self.asking.ask(operation, asked, caller)
        return _answer(request, operation, found)

    async def _stream(self, request: Request, operation: Operation, caller: Caller) -> ASGIApp:
        asked = await bind(request, operation)
        if operation.name == "runs.events":
            made = await self.live.events(request, asked, caller)
        else:
            made = self.live.changes(asked, caller)
        return Response(media_type=EVENT_STREAM) if request.method == "HEAD" else made

    def document(self) -> bytes:
        """The OpenAPI document, made once."""
        if not self._document:
            self._document.append(encode(openapi.document(self.version)))
        return self._document[0]


class _Endpoint:
    """One path. Not a function, so that Starlette leaves the methods to it."""

    def __init__(self, api: Api, methods: Mapping[str, Operation]) -> None:
        self._api = api
        self._methods = methods
        heads = ["HEAD"] if "GET" in methods else []
        self._allow = ", ".join(sorted([*methods, *heads, "OPTIONS"]))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        response = await self._respond(request)
        await response(scope, receive, send)

    async def _respond(self, request: Request) -> ASGIApp:
        if request.method == "OPTIONS":
            return Response(status_code=204, headers={"Allow": self._allow})
        operation = self._methods.get("GET" if request.method == "HEAD" else request.method)
        if operation is None:
            raise NotAllowed(request.method, self._allow)
        return await self._api.answer(request, operation)


class _Document:
    def __init__(self, api: Api) -> None:
        self._api = api

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive, send)
        if request.method not in ("GET", "HEAD"):
            raise NotAllowed(request.method, "GET, HEAD")
        await Response(self._api.document(), media_type=JSON, headers={"Cache-Control": "no-cache"})(scope, receive, send)


def _answer(request: Request, operation: Operation, found: Any) -> Response:
    headers = {"Cache-Control": "no-store"}
    status = 200
    if operation.cursor is not None:
        there, parameter = operation.cursor
        at = getattr(found, there)
        if at is not None:
            kept = [(name, value) for name, value in request.query_params.multi_items() if name != parameter]
            query = urlencode([*kept, (parameter, str(at))])
            headers["Link"] = f'<{quote(request.url.path)}?{query}>; rel="next"'
    if operation.created and not found.duplicate:
        status = 201
        headers["Location"] = f"{request.url.path}/{found.run_id}"
    return Response(encode(found), status, headers, media_type=JSON)


async def _payload(pieces: AsyncIterator[bytes]) -> Response:
    return StreamingResponse(pieces, headers={"Cache-Control": "private, max-age=31536000, immutable"}, media_type=JSON)


def _wants(request: Request, kind: str) -> bool:
    """Whether the caller names this kind; any kind is not this one."""
    return kind in request.headers.get("accept", "").lower()


def _check_accept(request: Request, kind: str) -> None:
    """Raise `NotAcceptable` when the caller takes no answer of this kind."""
    accept = request.headers.get("accept", "")
    if not accept.strip():
        return
    family = f"{kind.partition('/')[0]}/*"
    for part in accept.split(","):
        name, _, rest = part.strip().lower().partition(";")
        if name.strip() in (kind, family, "*/*") and rest.replace(" ", "") not in ("q=0", "q=0.0"):
            return
    raise NotAcceptable(f"Accept is {accept[:80]!r}: this is answered as {kind}")
