"""Templates to answers. Everything that a page shows may be hostile: it is escaped here, and the content
security policy (`auth.headers`) lets no page run or load what is not ours. Owns how a page is answered, not what is on it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from waypost_edge.console import shown
from waypost_edge.console.assets import Assets

FRAGMENT = "hx-request"


class Pages:
    """The templates of one edge."""

    def __init__(self, assets: Assets, version: str) -> None:
        self._environment = Environment(
            loader=PackageLoader("waypost_edge.console"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
        )
        self._environment.globals.update(static=assets.root, version=version, clock=time.time)
        self._environment.filters.update(
            status_word=shown.status_word,
            unix=shown.unix,
            clock=shown.clock,
            iso=shown.iso,
            span=shown.span,
            ago=shown.ago,
            money=shown.money,
            count=shown.count,
            size=shown.size,
            json_text=shown.json_text,
            one_line=shown.one_line,
            short_id=shown.short_id,
            query=query,
        )

    def answer(self, template: str, *, status: int = 200, headers: Mapping[str, str] | None = None, **context: object) -> Response:
        """A page, or a part of one."""
        text = self._environment.get_template(template).render(**context)
        return HTMLResponse(text, status, headers={"Vary": "HX-Request, Accept", **(headers or {})})

    def problem(self, request: Request, status: int, detail: str, **context: Any) -> Response:
        """An error as a page; as a message where only a part of a page was asked for."""
        title = HTTPStatus(status).phrase
        template = "parts/problem.html" if is_fragment(request) else "problem.html"
        return self.answer(template, status=status, problem=title, status_code=status, detail=detail, **context)


def is_fragment(request: Request) -> bool:
    """Whether htmx asks, for a part of a page."""
    return request.headers.get(FRAGMENT) == "true"


def wants_json(request: Request) -> bool:
    """Whether the console's own script asks."""
    return "application/json" in request.headers.get("accept", "")


def onwards(request: Request, url: str) -> Response:
    """After something was done: go on at `url`, an address of ours."""
    if is_fragment(request):
        return Response(status_code=204, headers={"HX-Redirect": url})
    return RedirectResponse(url, 303)


def query(pairs: Mapping[str, str], **changes: str | None) -> str:
    """A query string of what is set, with some of it changed; "" if nothing is."""
    merged = {**pairs, **{name: value for name, value in changes.items() if value is not None}}
    text = urlencode({name: value for name, value in merged.items() if value})
    return f"?{text}" if text else ""
