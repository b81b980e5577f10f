"""One call of a tool over HTTP: plan, send, read. And the hook that asks by another request whether an effect took place."""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

from waypost.http.connections import Connections
from waypost.http.errors import HttpFailed
from waypost.http.request import Outgoing, Plan
from waypost.http.results import Reading, result_of
from waypost.http.sending import Limits, send
from waypost.tool_context import NOT_DONE, NotDone, ToolContext
from waypost_proto.ids import RunId

USER_AGENT = "waypost"


@dataclass(slots=True, kw_only=True)
class HttpAction:
    """An `Action` (see `waypost.outside_tools`)."""

    plan: Plan
    reading: Reading
    limits: Limits
    connections: Connections

    @property
    def resource(self) -> AbstractAsyncContextManager[object]:
        return self.connections

    async def run(self, ctx: ToolContext, arguments: Mapping[str, Any]) -> Any:
        """See `Action.run`; raises what `waypost.http.errors` lists. Cancelling closes the connection."""
        request = _with_own_headers(self.plan.build(ctx, arguments), ctx)
        async with self.connections.transport() as transport:
            answer = await send(transport, request, self.limits)
        return result_of(answer, self.reading)


@dataclass(slots=True, kw_only=True)
class LookUp:
    """Asks by a GET whether the effect took place. `absent`: statuses that say it surely did not. `pick`: where in the answer it stands."""

    plan: Plan
    reading: Reading
    limits: Limits
    connections: Connections
    absent: Collection[int] = (404,)
    pick: tuple[str, ...] = ()

    async def ask(self, ctx: ToolContext, arguments: Mapping[str, Any]) -> Any | NotDone:
        """The result, `NOT_DONE`; raises where the answer does not tell."""
        request = _with_own_headers(self.plan.build(ctx, arguments), ctx)
        async with self.connections.transport() as transport:
            answer = await send(transport, request, self.limits)
        if answer.status in self.absent:
            return NOT_DONE
        # a server that is at a loss must not count as one that knows: whatever is no result raises
        found = result_of(answer, Reading(statuses={})) if self.pick else result_of(answer, self.reading)
        for key in self.pick:
            if isinstance(found, list) and not found:
                return NOT_DONE
            try:
                found = found[int(key)] if isinstance(found, list) else found[key]
            except (KeyError, TypeError, ValueError, IndexError) as error:
                raise HttpFailed(f"{request.shown}: its answer has no {'.'.join(self.pick)!r}, so it does not tell") from error
        return found

    def hook(self) -> Callable[..., Coroutine[Any, Any, Any]]:
        """As `ToolPolicy.reconcile` has it."""

        async def reconcile(ctx: ToolContext, /, **arguments: Any) -> Any:
            return await self.ask(ctx, arguments)

        return reconcile


def _with_own_headers(request: Outgoing, ctx: ToolContext) -> Outgoing:
    """What every request says of itself, unless its author says otherwise."""
    given = {name.lower() for name, _ in request.headers}
    own = {"User-Agent": USER_AGENT, "Accept": "application/json, text/plain;q=0.8, */*;q=0.5", "traceparent": trace_of(ctx)}
    added = tuple((name, value) for name, value in own.items() if name.lower() not in given)
    return Outgoing(request.method, request.target, (*added, *request.headers), request.body, request.secrets)


def trace_of(ctx: ToolContext) -> str:
    """W3C trace context of the call: the run's trace, and a span that is the same for every attempt of the call."""
    from hashlib import sha256

    given = getattr(ctx, "traceparent", "")
    if given:
        return str(given)
    span = sha256(f"{RunId(ctx.run_id)}/{ctx.call_id}".encode()).hexdigest()[:16]
    return f"00-{ctx.run_id.replace('-', '')}-{span}-01"
