"""The console's routes, and what of the edge they stand on. It asks the coordinator as the API does, with the same checks, and for the
traces and the log it reads Postgres, as the edge's other parts do."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from waypost.client import Client
from waypost_edge.api.live import Live
from waypost_edge.api.sse import Stream
from waypost_edge.auth.caller import Caller
from waypost_edge.auth.signin import to_signin
from waypost_edge.console.assets import Assets
from waypost_edge.console.grafana import Grafana
from waypost_edge.console.pages import Pages, wants_json
from waypost_edge.console.timeline import Timelines
from waypost_edge.problems import problem, status_of
from waypost_edge.tempo.reading import Reading
from waypost_io.redaction import redact
from waypost_io.store.ports import Store
from waypost_proto.errors import WaypostError

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Who:
    """Who asks: `client` speaks for `caller`. Where nobody is authenticated (not `known`) a name is what somebody says of themselves."""

    client: Client
    caller: Caller

    @property
    def known(self) -> bool:
        return self.caller.identity is not None

    @property
    def everywhere(self) -> bool:
        """Whether they see the runs of every tenant and agent, so that numbers about all of them may be shown."""
        return self.caller.tenant is None and (self.caller.identity is None or not self.caller.identity.agents)


Door = Callable[[Request], Awaitable[Who]]
"""Tells who asks. Raises `NotAuthenticated`."""
Answer = Response | Stream
Handler = Callable[["Console", Request, Who], Awaitable[Answer]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Console:
    """The console of one edge."""

    store: Store
    door: Door
    live: Live
    reading: Reading
    """How traces are read, as `/tempo` reads them."""
    version: str
    prefix: str = "waypost"
    max_events: int = 50_000
    grafana: Grafana | None = None
    assets: Assets = field(default_factory=Assets)
    pages: Pages = field(init=False)
    timelines: Timelines = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "pages", Pages(self.assets, self.version))
        object.__setattr__(self, "timelines", Timelines(self.store.traces, prefix=self.prefix, max_events=self.max_events))

    def routes(self) -> list[BaseRoute]:
        """Everything below `/` that the console answers."""
        from waypost_edge.console import acting, comparing, inbox, listing, live, run_page, stepping, watch_desk

        reads: Mapping[str, Handler] = {
            "/": listing.runs,
            "/live": live.live,
            "/new": listing.new,
            "/runs/{run_id}": run_page.run,
            "/runs/{run_id}/timeline": run_page.timeline_rows,
            "/runs/{run_id}/steps/{seq:int}": stepping.step,
            "/runs/{run_id}/events": run_page.events,
            "/runs/{run_id}/state": stepping.state,
            "/compare": comparing.compare,
            "/approvals": inbox.approvals,
            "/attention": watch_desk.attention,
            "/agents": watch_desk.agents,
            "/tools": watch_desk.tools,
            "/dead": watch_desk.dead,
            "/dead/{dead_id:int}": watch_desk.letter,
        }
        writes: Mapping[str, Handler] = {
            "/runs/start": acting.start,
            "/runs/{run_id}/{verb}": acting.run_command,
            "/approvals/{approval_id}": acting.decide,
            "/dead/{dead_id:int}/{verb}": acting.letter,
        }
        made: list[BaseRoute] = [Route("/static/{digest}/{name:path}", self.assets.serve, methods=["GET"])]
        made += [Route(path, self._answering(handler), methods=["GET"]) for path, handler in reads.items()]
        made += [Route(path, self._answering(handler), methods=["POST"]) for path, handler in writes.items()]
        return made

    def _answering(self, handler: Handler) -> Callable[[Request], Awaitable[Answer]]:
        """The handler with who asks, and its errors as pages."""

        @functools.wraps(handler)
        async def answer(request: Request) -> Answer:
            who: Who | None = None
            try:
                who = await self.door(request)
                return await handler(self, request, who)
            except WaypostError as error:
                return self._failed(request, error, who)

        return answer

    def _failed(self, request: Request, error: WaypostError, who: Who | None) -> Response:
        signin = to_signin(request, error)
        if signin is not None:
            return signin
        if wants_json(request):
            return problem(status_of(error), str(error))
        return self.pages.problem(request, status_of(error), redact(str(error)), who=who, here="")
