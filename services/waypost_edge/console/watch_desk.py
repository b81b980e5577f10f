"""What those look at who keep the whole running: what needs somebody, agents and workers, tools and breakers, dead letters."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from waypost_core.state import decode_state
from waypost_edge.console import shown
from waypost_edge.console.pages import is_fragment
from waypost_io.store.overview import OpenRuns
from waypost_proto.api import AgentView, DeadDetail, DeadList, DeadPage, DeadRef, QueueView, RunPage, RunsList, RunView
from waypost_proto.errors import BadInput
from waypost_proto.values import RunStatus

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from waypost_edge.console.site import Console, Who

SHOWN = 25
"""Of each kind of thing that needs attention."""
DEAD_PAGE = 50
STATUSES = tuple(str(status) for status in RunStatus if not status.terminal)


class Doubt(Struct, frozen=True):
    """A call that may have taken effect."""

    run_id: str
    agent: str
    call_id: str
    tool: str
    error: str
    since: float


class Hosted(Struct):
    """An agent, and how many of its runs are open, by status. Not known to those who do not see everything."""

    view: AgentView
    open: dict[str, int] = {}
    unhosted: int = 0
    near: int = 0

    @property
    def builds(self) -> list[tuple[str, list[str], QueueView | None]]:
        """Each build with its workers, and what waits for whichever of them; builds that nobody hosts and for which something waits too."""
        queues = {queue.name: queue for queue in self.view.queues or () if queue.kind == "build"}
        found = [(build.build, build.workers, queues.pop(build.build, None)) for build in self.view.builds]
        current = self.view.definition.build
        if current not in {build for build, _, _ in found}:
            found.append((current, [], queues.pop(current, None)))
        return [*found, *((name, [], queue) for name, queue in queues.items() if queue.pending or queue.unacked)]

    @property
    def own(self) -> dict[str, QueueView]:
        """By worker, what waits for it alone."""
        return {queue.name: queue for queue in self.view.queues or () if queue.kind == "worker"}

    @property
    def pending(self) -> int:
        """Messages that nobody has taken."""
        return sum(queue.pending for queue in self.view.queues or ())


async def attention(console: Console, request: Request, who: Who) -> Response:
    """`/attention`: paused runs, calls in doubt, approvals that run out, runs that nobody hosts, dead letters. `part=badges`: numbers."""
    paused, doubts, waiting, dead_page = await asyncio.gather(
        _paused(who), _doubts(console, who), who.client.approvals(), _dead(who, 0, SHOWN)
    )
    waiting.sort(key=lambda each: each.expires_at)
    shared: dict[str, Any] = {
        "paused": paused,
        "doubts": doubts,
        "approvals": waiting[:SHOWN],
        "waiting": len(waiting),
        "dead": dead_page,
        "who": who,
    }
    if request.query_params.get("part") == "badges":
        return console.pages.answer("parts/badges.html", **shared)
    held = [each for each in await _open(console, who) if each.unhosted]
    template = "parts/attention.html" if is_fragment(request) else "attention.html"
    return console.pages.answer(template, held=held, here="attention", **shared)


async def _paused(who: Who) -> list[RunView]:
    return (await who.client.call("runs.list", RunsList(status="paused", limit=SHOWN), RunPage)).runs


async def _doubts(console: Console, who: Who) -> list[Doubt]:
    found: list[Doubt] = []
    for row in await console.store.overview.doubtful(await _partitions(console), limit=SHOWN * 4):
        if not who.caller.sees(row.tenant, row.agent):
            continue
        try:
            state = decode_state(row.state)
        except msgspec.MsgspecError:
            continue  # of another version: its coordinator folds it anew when it is touched
        for call_id, call in state.calls.items():
            if call.stage == "doubt":
                error = f"{call.error.type}: {call.error.message}" if call.error is not None else ""
                found.append(Doubt(row.run_id, row.agent, call_id, call.name, error, row.updated_at))
    return found[:SHOWN]


async def _partitions(console: Console) -> list[int]:
    return [lease.partition for lease in await console.store.leases.owners()]


async def _open(console: Console, who: Who) -> list[OpenRuns]:
    """Open runs by agent and status; nothing to those who do not see everything: the numbers are of all."""
    if not who.everywhere:
        return []
    return await console.store.overview.open_runs(await _partitions(console))


async def agents(console: Console, request: Request, who: Who) -> Response:
    """`/agents`: who can do what, on which builds, by which workers, what waits for them, and what is open."""
    views, counts = await asyncio.gather(who.client.agents(queues=True), _open(console, who))
    hosted = {view.definition.name: Hosted(view) for view in views}
    for each in counts:
        agent = hosted.get(each.agent)
        if agent is not None:
            agent.open = {**agent.open, each.status: each.count}
            agent.unhosted += each.unhosted
            agent.near += each.near
    orphans = sorted({each.agent for each in counts} - set(hosted))
    template = "parts/agents.html" if is_fragment(request) else "agents.html"
    shared: dict[str, Any] = {"agents": list(hosted.values()), "orphans": orphans, "statuses": STATUSES}
    return console.pages.answer(template, counted=who.everywhere, who=who, here="agents", **shared)


async def tools(console: Console, request: Request, who: Who) -> Response:
    """`/tools`: effects, retries, gateways, breakers, and how many calls wait. What is not well comes first."""
    views = await who.client.tools(queues=True)
    views.sort(key=lambda view: (view.breaker is None or view.breaker.state == "closed", bool(view.gateways), view.definition.name))
    template = "parts/tools.html" if is_fragment(request) else "tools.html"
    queued = any(view.queue is not None for view in views)
    return console.pages.answer(template, tools=views, queued=queued, who=who, here="tools")


async def dead(console: Console, request: Request, who: Who) -> Response:
    """`/dead?after=ID`: dead letters, oldest first."""
    after = request.query_params.get("after", "0")
    if not after.isdecimal() or len(after) > 12:
        raise BadInput(f"after={after!r} is not the number of a dead letter")
    who.caller.check("dead.list")
    page = await _dead(who, int(after), DEAD_PAGE)
    template = "parts/dead.html" if is_fragment(request) else "dead.html"
    return console.pages.answer(template, page=page, who=who, here="dead")


async def letter(console: Console, request: Request, who: Who) -> Response:
    """`/dead/{id}`: one dead letter with its headers and bytes."""
    dead_id = int(request.path_params["dead_id"])
    detail = await who.client.call("dead.show", DeadRef(dead_id=dead_id), DeadDetail)
    return console.pages.answer(
        "letter.html", letter=detail, text=_readable(detail.body), hexdump=_hexdump(detail.body), who=who, here="dead"
    )


async def _dead(who: Who, after: int, limit: int) -> DeadPage:
    if not who.caller.may("dead.list"):
        return DeadPage(dead=[])
    return await who.client.call("dead.list", DeadList(after=after, limit=limit), DeadPage)


def _readable(body: bytes) -> str:
    """The bytes as indented JSON or as text; "" if they are neither."""
    try:
        body.decode()
    except UnicodeDecodeError:
        return ""
    return shown.json_text(body)


def _hexdump(body: bytes, most: int = 4_096) -> str:
    lines = []
    for at in range(0, min(len(body), most), 16):
        part = body[at : at + 16]
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in part)
        lines.append(f"{at:08x}  {part.hex(' '):<47}  {text}")
    if len(body) > most:
        lines.append(f"… {shown.size(len(body))} in all")
    return "\n".join(lines)
