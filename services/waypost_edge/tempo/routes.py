"""Paths and parameters of `/tempo`. What it does not know is a 400 that says so, never an answer to another question."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from waypost_edge.auth import Authenticator, Caller
from waypost_edge.metrics import Metrics
from waypost_edge.tempo import answers, tags
from waypost_edge.tempo.fields import Field, field_of
from waypost_edge.tempo.finding import Search, find, run_id_of
from waypost_edge.tempo.reading import Reading
from waypost_edge.tempo.traceql import Query, duration_of, parse
from waypost_io.store.ports import Store
from waypost_proto.codec import encode
from waypost_proto.errors import BadInput, Denied, NotFound

TEMPO_VERSION = "2.8.0"
"""The version whose API this is; Grafana asks for it to know which requests it may send."""
DEFAULT_LIMIT, MAX_LIMIT = 20, 200
DEFAULT_SPANS, MAX_SPANS = 3, 100
MAX_TAGS = 32
JSON, PROTOBUF = "application/json", "application/protobuf"
_SEARCH = frozenset({"q", "tags", "minDuration", "maxDuration", "limit", "spss", "start", "end"})
_LOGFMT = re.compile(r'\s*([^\s=]+)=("(?:[^"\\]|\\.)*"|[^\s"]*)')


@dataclass(frozen=True, slots=True, kw_only=True)
class Tempo:
    """The handlers of one edge."""

    store: Store
    reading: Reading
    auth: Authenticator
    metrics: Metrics
    version: str
    look_at: int

    def routes(self) -> list[Route]:
        """Everything below `/tempo`."""
        return [
            Route("/api/echo", self.echo),
            Route("/ready", self.echo),
            Route("/api/status/buildinfo", self.build),
            Route("/api/traces/{trace_id}", self.trace),
            Route("/api/v2/traces/{trace_id}", self.trace_v2),
            Route("/api/search", self.search),
            Route("/api/search/tags", self.tag_names),
            Route("/api/v2/search/tags", self.tag_names_v2),
            Route("/api/search/tag/{tag:path}/values", self.tag_values),
            Route("/api/v2/search/tag/{tag:path}/values", self.tag_values_v2),
            Route("/{path:path}", self.unknown),
        ]

    async def echo(self, request: Request) -> Response:
        """Grafana's check of the data source."""
        await self._admit(request)
        return PlainTextResponse("echo")

    async def build(self, request: Request) -> Response:
        """Which Tempo this speaks like."""
        await self._admit(request)
        return _json(
            encode({"version": TEMPO_VERSION, "revision": f"waypost-{self.version}", "branch": "", "buildDate": "", "goVersion": ""})
        )

    async def trace(self, request: Request) -> Response:
        """A trace by id."""
        return await self._trace(request, v2=False)

    async def trace_v2(self, request: Request) -> Response:
        """A trace by id, with whether it is whole."""
        return await self._trace(request, v2=True)

    async def _trace(self, request: Request, *, v2: bool) -> Response:
        caller = await self._admit(request)
        asked = request.path_params["trace_id"]
        run_id = run_id_of(asked)
        if run_id is None:
            raise NotFound(f"there is no trace {asked!r}: a trace id is a run id without its dashes")
        run = await self.store.reads.get(run_id)
        if run is None or not caller.sees(run.tenant, run.agent):
            raise NotFound(f"there is no trace {asked!r}")
        trace, whole = await self.reading.one(run_id)
        if trace is None:
            raise NotFound(f"the log of trace {asked!r} is not there")
        make, kind = (answers.trace_proto, PROTOBUF) if _wants_protobuf(request) else (answers.trace_json, JSON)
        return Response(make(trace, self.version, v2=v2, whole=whole), media_type=kind)

    async def search(self, request: Request) -> Response:
        """Traces that match."""
        caller = await self._admit(request)
        unknown = sorted(set(request.query_params) - _SEARCH)
        if unknown:
            raise BadInput(f"search does not take {unknown[0]!r}: there are {', '.join(sorted(_SEARCH))}")
        query = parse(request.query_params.get("q", ""))
        search = Search(
            query=query,
            tags=_tags(request.query_params.get("tags", "")),
            min_seconds=_duration(request, "minDuration"),
            max_seconds=_duration(request, "maxDuration"),
            start=_seconds(request, "start"),
            end=_seconds(request, "end"),
            limit=_count(request, "limit", DEFAULT_LIMIT, MAX_LIMIT),
            spans_per_trace=_count(request, "spss", DEFAULT_SPANS, MAX_SPANS),
            tenant=caller.tenant,
            agents=frozenset() if caller.identity is None else caller.identity.scope.agents,
        )
        found = await find(self.reading, search, look_at=self.look_at)
        self.metrics.events_read.inc(found.events_read)
        return _json(answers.search_json(found, query))

    async def tag_names(self, request: Request) -> Response:
        """Names of tags, in one list."""
        scopes = await self._names(request)
        return _json(encode({"tagNames": sorted({name for scope, found in scopes.items() if scope != "intrinsic" for name in found})}))

    async def tag_names_v2(self, request: Request) -> Response:
        """Names of tags by scope."""
        scopes = await self._names(request)
        return _json(encode({"scopes": [{"name": scope, "tags": found} for scope, found in scopes.items()]}))

    async def _names(self, request: Request) -> dict[str, list[str]]:
        tenant = await self._tenant(request)
        scope = request.query_params.get("scope", "")
        found = await tags.names(self.store, tenant)
        if scope in ("", "none", "all"):
            return found
        if scope in ("event", "link", "instrumentation"):
            return {scope: []}
        if scope not in found:
            raise BadInput(f"scope={scope!r}: there are {', '.join(found)}")
        return {scope: found[scope]}

    async def tag_values(self, request: Request) -> Response:
        """Values of a tag, as texts."""
        name = request.path_params["tag"]
        field = Field("intrinsic", name, name) if name in ("name", "status", "kind") else Field("any", name, name)
        return _json(encode({"tagValues": [value for _, value in await self._values(request, field)]}))

    async def tag_values_v2(self, request: Request) -> Response:
        """Values of a TraceQL field, with their types."""
        found = await self._values(request, field_of(request.path_params["tag"]))
        return _json(encode({"tagValues": [{"type": kind, "value": value} for kind, value in found], "metrics": {}}))

    async def _values(self, request: Request, field: Field) -> list[tuple[str, str]]:
        tenant = await self._tenant(request)
        return await tags.values(self.store, self.reading, field, _narrowing(request.query_params.get("q", "")), tenant)

    async def _admit(self, request: Request) -> Caller:
        """Who asks. Raises as `Authenticator.authenticate`, and `Denied` for whom traces are not for."""
        caller = await self.auth.authenticate(request)
        caller.check("traces.read")
        return caller

    async def _tenant(self, request: Request) -> str | None:
        """Of whose traces names and values are told; None: all. Raises `Denied` for a token that is limited to agents: they are not kept
        by agent."""
        caller = await self._admit(request)
        if caller.identity is not None and caller.identity.agents:
            raise Denied("names and values of tags are not told to a token that is limited to agents; searches and traces are")
        return caller.tenant

    async def unknown(self, request: Request) -> Response:
        """The rest of Tempo's API."""
        await self._admit(request)
        raise BadInput(
            f"/tempo/{request.path_params['path']} is not a part of Tempo's API that Waypost answers: there are api/traces, api/v2/traces, "
            "api/search, api/search/tags, api/search/tag/<tag>/values (v2 too), api/echo and api/status/buildinfo"
        )


def _narrowing(text: str) -> Query:
    """The query beside a list of values is what somebody is about to write: what is not whole yet narrows nothing."""
    try:
        return parse(text)
    except BadInput:
        return Query()


def _wants_protobuf(request: Request) -> bool:
    return any(kind in request.headers.get("accept", "") for kind in (PROTOBUF, "application/x-protobuf"))


def _json(body: bytes) -> Response:
    return Response(body, media_type=JSON)


def _tags(text: str) -> dict[str, str]:
    """logfmt, such as `service.name=waypost-worker name="chat gpt-5"`."""
    found: dict[str, str] = {}
    at = 0
    text = text.strip()
    while at < len(text):
        pair = _LOGFMT.match(text, at)
        if pair is None or len(found) >= MAX_TAGS:
            raise BadInput(
                f"tags={text[:100]!r}: write at most {MAX_TAGS} key=value, separated by spaces, a value with spaces in double quotes"
            )
        name, value = pair.groups()
        found[name] = re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value
        at = pair.end()
    return found


def _duration(request: Request, name: str) -> float | None:
    text = request.query_params.get(name, "")
    return duration_of(text) if text else None


def _seconds(request: Request, name: str) -> float | None:
    text = request.query_params.get(name, "")
    try:
        value = float(text) if text else None
    except ValueError:
        value = math.nan
    if value is not None and not math.isfinite(value):
        raise BadInput(f"{name}={text!r} is not a time: use Unix seconds")
    return value


def _count(request: Request, name: str, default: int, most: int) -> int:
    text = request.query_params.get(name, "")
    if not text:
        return default
    if not text.isdecimal() or len(text) > 9:
        raise BadInput(f"{name}={text!r} is not a number from 1 to {most}")
    return min(max(int(text), 1), most)
