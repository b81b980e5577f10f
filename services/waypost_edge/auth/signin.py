"""Sign-in for browsers: a form that takes an API token and answers with a session's cookie; sign-out; who am I.

GET  /signin        the form; `next` is where to go then
POST /signin        token=SU…  →  303 to `next`
POST /signout       →  303 to the form
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import parse_qs, quote

from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from waypost_edge.auth.authenticating import Authenticator
from waypost_edge.auth.origins import check_same_origin
from waypost_edge.auth.pages import OR, PROBLEM, SIGNIN_PAGE, WAY
from waypost_edge.auth.sessions import Sessions
from waypost_proto.errors import BadInput, NotAuthenticated, TooLarge

SIGNIN, SIGNOUT = "/signin", "/signout"
MAX_FORM_BYTES = 16_384
_LOCAL_PATH = re.compile(r"/(?![/\\])[\x21-\x5b\x5d-\x7e]*")


@dataclass(frozen=True, slots=True)
class SignIn:
    """The handlers of one edge. `ways`: (address, name) of issuers to sign in with."""

    auth: Authenticator
    sessions: Sessions
    ways: Sequence[tuple[str, str]] = ()

    def routes(self) -> list[BaseRoute]:
        """At the top of the application."""
        return [
            Route(SIGNIN, self.form, methods=["GET"]),
            Route(SIGNIN, self.enter, methods=["POST"]),
            Route(SIGNOUT, self.leave, methods=["POST"]),
        ]

    async def form(self, request: Request) -> Response:
        """The form; whoever needs none is sent on."""
        if not self.auth.required:
            return RedirectResponse(local_path(request.query_params.get("next", "")), 303)
        return self._page(request.query_params.get("next", ""))

    async def enter(self, request: Request) -> Response:
        """Take the token, once; a page of another site cannot sign anybody in."""
        check_same_origin(request)
        address = self.auth.address(request)
        self.auth.check_failures(address)
        fields = await form_of(request)
        to = local_path(fields.get("next", ""))
        token = fields.get("token", "").strip()
        try:
            caller = self.auth.by_token(token)
        except NotAuthenticated as error:
            self.auth.failed(address)
            return self._page(to, str(error), status=401)
        response = RedirectResponse(to, 303)
        expires = None if caller.identity is None or caller.identity.expires is None else caller.identity.expires.timestamp()
        self.sessions.begin(response, token=token, until=expires)
        return response

    async def leave(self, request: Request) -> Response:
        """End the session. Without one nothing happens."""
        check_same_origin(request)
        response = RedirectResponse(SIGNIN, 303)
        self.sessions.end(request, response)
        return response

    def _page(self, to: str, problem: str = "", *, status: int = 200) -> Response:
        ways = [
            WAY.replace("{address}", f"{html.escape(address)}?next={quote(local_path(to))}").replace("{name}", html.escape(name))
            for address, name in self.ways
        ]
        shown = PROBLEM.replace("{text}", html.escape(problem)) if problem else ""
        page = SIGNIN_PAGE.replace("{problem}", shown).replace("{ways}", "".join([*ways, OR]) if ways else "")
        page = page.replace("{next}", html.escape(local_path(to)))
        return HTMLResponse(page, status)


def local_path(text: str) -> str:
    """A path of this site and no other: what is none becomes `/`."""
    return text if len(text) <= 2_048 and _LOCAL_PATH.fullmatch(text) and not text.startswith(SIGNIN) else "/"


async def form_of(request: Request) -> dict[str, str]:
    """The fields of a small form, the first of each name. Raises `BadInput`, `TooLarge`."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/x-www-form-urlencoded":
        raise BadInput("send the form as application/x-www-form-urlencoded")
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > MAX_FORM_BYTES:
            raise TooLarge(f"the form has more than {MAX_FORM_BYTES} bytes")
    try:
        return {name: values[0] for name, values in parse_qs(body.decode(), max_num_fields=16, keep_blank_values=True).items()}
    except ValueError as error:
        raise BadInput(f"the form cannot be read: {error}") from error


def to_signin(request: Request, error: Exception) -> Response | None:
    """Where a browser goes that asked for a page and is not signed in; None for anybody else, who gets the error."""
    if not isinstance(error, NotAuthenticated) or "authorization" in request.headers:
        return None
    if request.headers.get("hx-request") == "true":
        return Response(status_code=401, headers={"HX-Redirect": SIGNIN})
    if request.method != "GET" or "text/html" not in request.headers.get("accept", ""):
        return None
    path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return RedirectResponse(f"{SIGNIN}?next={quote(local_path(path), safe='')}", 303)
