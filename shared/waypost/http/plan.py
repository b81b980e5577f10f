"""Requests from templates: what `http_tool` was told, checked once at the definition, and filled in for each call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast
from urllib.parse import quote, urlencode

import msgspec

from waypost.http.errors import RequestInvalid
from waypost.http.hosts import Target, read_url
from waypost.http.request import HEADER_NAME, RESERVED_HEADERS, Outgoing, header, path_segment
from waypost.http.secrets import Secret
from waypost.http.templates import MISSING, Template, plain
from waypost.tool_context import ToolContext
from waypost_proto.errors import BadInput

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
BODILESS = ("GET", "HEAD", "DELETE")
JSON_TYPE = "application/json"
FORM_TYPE = "application/x-www-form-urlencoded"

REST: Final = "rest"
"""The arguments that stand nowhere else: in the query of GET, HEAD and DELETE, in the JSON body of the others."""

Value = str | Secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where the parts of a request come from, as a tool's author wrote it."""

    method: str
    url: str
    headers: Mapping[str, Value]
    query: Mapping[str, Value]
    body: object = REST
    content_type: str = JSON_TYPE
    idempotency_header: str | None = None


class TemplatePlan:
    """A `Layout`, parsed. Raises `BadInput` for what could never make a request.

    `known`: the arguments that calls have, None if the schema leaves them open. `any_host`: the tool says which hosts may be called, so
    the host too may be an argument.
    """

    def __init__(self, what: str, layout: Layout, known: Sequence[str] | None, *, any_host: bool = False) -> None:
        self.what = what
        self.layout = layout
        self.method = layout.method.upper()
        if self.method not in METHODS:
            raise BadInput(f"{what}: method {layout.method!r}; use one of {', '.join(METHODS)}")
        self._origin, self._path = _split(what, layout.url, any_host=any_host)
        self._query = {name: _value(f"{what}: query {name!r}", value) for name, value in layout.query.items()}
        self._headers = {header_name(what, name): _value(f"{what}: header {name!r}", value) for name, value in layout.headers.items()}
        self._body = _parsed(f"{what}: body", layout.body) if layout.body is not REST else REST
        self._rest = layout.body is REST
        used: set[str] = set()
        for template in self._templates():
            template.check(known)
            used |= template.arguments
        self._used = frozenset(used)

    @property
    def fixed_target(self) -> Target | None:
        """Scheme, host and port where they are the same for every call."""
        return self._origin if isinstance(self._origin, Target) else None

    def build(self, ctx: ToolContext, arguments: Mapping[str, Any]) -> Outgoing:
        """See `Plan.build`."""
        secrets: list[str] = []
        rest = {name: value for name, value in arguments.items() if name not in self._used} if self._rest else {}
        query = [(name, text) for name, value in self._query.items() for text in self._texts(name, value, ctx, arguments, secrets)]
        body: bytes | None = None
        if self.method in BODILESS:
            query += [(name, text) for name, value in rest.items() for text in _texts_of(name, value)]
        headers = []
        for name, value in self._headers.items():
            headers += [header(name, text) for text in self._texts(name, value, ctx, arguments, secrets)]
        if self.method not in BODILESS:
            content = rest if self._rest else _filled(self._body, ctx, arguments)
            if content is not None and content is not MISSING:
                body = encoded_body(self.what, content, self.layout.content_type)
                headers.append(("Content-Type", self.layout.content_type))
        if self.layout.idempotency_header is not None:
            headers.append(header(self.layout.idempotency_header, ctx.idempotency_key))
        return Outgoing(self.method, self._target(ctx, arguments, query), tuple(headers), body, tuple(secrets))

    def _target(self, ctx: ToolContext, arguments: Mapping[str, Any], query: Sequence[tuple[str, str]]) -> Target:
        if isinstance(self._origin, Target):
            base = self._origin.base
            path, mark, own = self._path.partition("?")
            filled = _template(self.what, path).fill(ctx, arguments, lambda name, value: path_segment(name, plain(self.what, name, value)))
            if mark:
                filled += "?" + _template(self.what, own).fill(
                    ctx, arguments, lambda name, value: quote(plain(self.what, name, value), safe="")
                )
            url = base + filled
        else:
            url = self._origin.fill(ctx, arguments, lambda name, value: plain(self.what, name, value))
        if query:
            url = url.partition("#")[0]
            url += ("&" if "?" in url else "?") + urlencode(query, quote_via=quote)
        return read_url(url)

    def _texts(self, name: str, value: Template | Secret, ctx: ToolContext, arguments: Mapping[str, Any], secrets: list[str]) -> list[str]:
        """The values under one name: none for an argument that is not there, several for a list."""
        if isinstance(value, Secret):
            text, bare = value.value(ctx)
            secrets += [bare, text]
            return [text]
        if value.whole:
            return _texts_of(name, value.value(ctx, arguments))
        return [value.fill(ctx, arguments, lambda which, found: plain(self.what, which, found))]

    def _templates(self) -> list[Template]:
        found = [value for value in (*self._query.values(), *self._headers.values()) if isinstance(value, Template)]
        found.append(self._origin if isinstance(self._origin, Template) else _template(self.what, self._path))
        return found + ([] if self._rest else _templates_in(self._body))


def _split(what: str, url: str, *, any_host: bool) -> tuple[Target | Template, str]:
    """The URL's fixed origin and the template of its path; the whole template if the host is an argument too."""
    scheme, mark, after = url.partition("://")
    place = min((after.find(sign) for sign in "/?#" if sign in after), default=len(after))
    authority, path = after[:place], after[place:]
    if not mark or "{" in scheme + authority:
        if any_host:
            return Template(f"{what}: url", url), ""
        raise BadInput(
            f"{what}: the host of {url!r} comes from an argument, so whoever writes the arguments would choose whom to call; name the "
            "hosts that may be called with egress=Egress(hosts=[…])"
        )
    if "#" in path:
        raise BadInput(f"{what}: {url!r} has a fragment ('#'), which is never sent")
    target = read_url(f"{scheme}://{authority}/")
    return target, path if path.startswith("/") else f"/{path}"


def _template(what: str, text: str) -> Template:
    return Template(f"{what}: url", text)


def header_name(what: str, name: str) -> str:
    """Raises `BadInput` for a header that cannot be set."""
    if not HEADER_NAME.match(name) or name.lower() in RESERVED_HEADERS:
        raise BadInput(f"{what}: header {name!r} cannot be set: it is no header name, or one that the connection itself needs")
    return name


def _value(what: str, value: Value) -> Template | Secret:
    if isinstance(value, Secret):
        return value
    if not isinstance(value, str):
        raise BadInput(f"{what} is {value!r}: give a text (with {{argument}} where a value goes), or Secret('name')")
    return Template(what, value)


def _parsed(what: str, body: object) -> object:
    """A body as written, its texts as templates. A Secret has no place here: bodies are what servers log."""
    if isinstance(body, str):
        return Template(what, body)
    if isinstance(body, Mapping):
        return {str(name): _parsed(f"{what}.{name}", value) for name, value in body.items()}
    if isinstance(body, list | tuple):
        return [_parsed(f"{what}[{at}]", value) for at, value in enumerate(body)]
    if body is None or isinstance(body, bool | int | float):
        return body
    raise BadInput(f"{what} is {body!r}: use texts, numbers, booleans, lists and dicts; secrets go into headers")


def _templates_in(body: object) -> list[Template]:
    if isinstance(body, Template):
        return [body]
    inner = body.values() if isinstance(body, dict) else body if isinstance(body, list) else ()
    return [template for value in inner for template in _templates_in(value)]


def _filled(body: object, ctx: ToolContext, arguments: Mapping[str, Any]) -> Any:
    """The body of one call. What refers to an argument that is not there is left out of its object."""
    if isinstance(body, Template):
        if body.whole:
            return body.value(ctx, arguments)
        return body.fill(ctx, arguments, lambda name, value: plain(body.what, name, value))
    if isinstance(body, dict):
        filled = {name: _filled(value, ctx, arguments) for name, value in body.items()}
        return {name: value for name, value in filled.items() if value is not MISSING}
    if isinstance(body, list):
        return [value for value in (_filled(item, ctx, arguments) for item in body) if value is not MISSING]
    return body


def _texts_of(name: str, value: object) -> list[str]:
    if value is MISSING or value is None:
        return []
    if isinstance(value, list | tuple):
        return [plain("query or header", name, item) for item in value]
    return [plain("query or header", name, value)]


def encoded_body(what: str, content: object, content_type: str) -> bytes:
    """The body's bytes. Raises `RequestInvalid` for content that the type cannot carry."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind == JSON_TYPE or kind.endswith("+json"):
        return msgspec.json.encode(content)
    if kind == FORM_TYPE:
        if not isinstance(content, Mapping):
            raise RequestInvalid(f"{what}: a form needs named values, not a {type(content).__name__}; nothing was sent")
        pairs = [(name, text) for name, value in cast("Mapping[str, Any]", content).items() for text in _texts_of(name, value)]
        return urlencode(pairs).encode()
    if isinstance(content, str):
        return content.encode()
    raise RequestInvalid(f"{what}: {kind} needs one text, not a {type(content).__name__}; nothing was sent")
