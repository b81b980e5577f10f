"""The list of runs: filters in the address, one page at a time by key. It never counts and never asks for more than it shows."""

from __future__ import annotations

import asyncio
import re
import time
from typing import TYPE_CHECKING, Any

from msgspec import UNSET, Struct

from waypost_edge.console import shown
from waypost_edge.console.pages import is_fragment, onwards
from waypost_edge.console.schema_forms import fields_of
from waypost_proto.api import RunPage, RunsList
from waypost_proto.errors import BadInput
from waypost_proto.ids import parse_run_id
from waypost_proto.values import RunStatus

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from waypost_edge.console.site import Console, Who

PAGE_RUNS = 50
FIELDS = ("agent", "status", "label", "since", "q", "before")
SINCE: dict[str, float] = {"15m": 900, "1h": 3_600, "24h": 86_400, "7d": 604_800, "30d": 2_592_000}
VIEWS: tuple[tuple[str, str], ...] = (
    ("All runs", ""),
    ("Open", "status=pending%2Crunning%2Cwaiting%2Cwaiting_approval%2Cpaused"),
    ("Running", "status=running"),
    ("Needs approval", "status=waiting_approval"),
    ("Paused", "status=paused"),
    ("Failed", "status=failed"),
    ("Ended", "status=completed%2Cfailed%2Ccancelled"),
)
"""Views that everybody has: name, query."""
_RUN_ID = re.compile(r"[0-9a-fA-F]{8}-?(?:[0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}")


class Filters(Struct, frozen=True):
    """What the address asks for. `status`: one, or several separated by commas, in the order of `RunStatus`."""

    agent: str = ""
    status: str = ""
    label: str = ""
    since: str = ""
    q: str = ""
    before: str = ""

    @property
    def pairs(self) -> dict[str, str]:
        """All but where the page begins, for addresses."""
        return {name: getattr(self, name) for name in FIELDS if name != "before" and getattr(self, name)}

    @property
    def statuses(self) -> list[str]:
        """One by one; none: any."""
        return self.status.split(",") if self.status else []

    @property
    def any(self) -> bool:
        """Whether something is filtered at all."""
        return bool(self.pairs)


def filters_of(request: Request) -> Filters:
    """The filters of an address. Raises `BadInput` for a status or time that there is none of."""
    given = {name: request.query_params.get(name, "").strip()[:200] for name in FIELDS}
    given["status"] = ",".join(_statuses(request.query_params.getlist("status")))
    if given["since"] and given["since"] not in SINCE:
        raise BadInput(f"since={given['since']!r} is not one of {', '.join(SINCE)}")
    if given["before"]:
        given["before"] = parse_run_id(given["before"])
    return Filters(**given)


def _statuses(given: list[str]) -> list[str]:
    """The statuses of parameters that hold one or several each. All of them are as good as none."""
    asked = {word.strip() for text in given[: len(RunStatus)] for word in text[:200].split(",") if word.strip()}
    unknown = sorted(asked - set(RunStatus))
    if unknown:
        raise BadInput(f"status {unknown[0]!r} is not one of {', '.join(RunStatus)}")
    return [] if len(asked) == len(RunStatus) else [str(status) for status in RunStatus if status in asked]


def labels_of(text: str) -> dict[str, str]:
    """`name:value name=value …` as labels. Raises `BadInput`."""
    found: dict[str, str] = {}
    for word in text.split():
        name, sign, value = word.replace("=", ":", 1).partition(":")
        if not sign or not name or not value:
            raise BadInput(f"label {word!r} is not name:value, such as customer:c-17")
        found[name] = value
    return found


async def runs(console: Console, request: Request, who: Who) -> Response:
    """`/`: the list. A search for a run id goes to that run."""
    filters = filters_of(request)
    wanted = _RUN_ID.fullmatch(filters.q)
    if wanted is not None:
        return onwards(request, f"/runs/{parse_run_id(_dashed(filters.q))}")
    more: dict[str, Any] = {"text": filters.q} if filters.q else {}
    if filters.since:
        more["created_from"] = shown.iso(time.time() - SINCE[filters.since])
    asked = RunsList(
        agent=filters.agent or None,
        status=filters.status or None,
        labels=labels_of(filters.label),
        before=filters.before or None,
        limit=PAGE_RUNS,
        **more,
    )
    page, agents = await asyncio.gather(who.client.call("runs.list", asked, RunPage), _agents(who))
    template = "parts/runs_table.html" if is_fragment(request) else "runs.html"
    return console.pages.answer(
        template,
        runs=page.runs,
        following=page.next_before,
        filters=filters,
        agents=agents,
        views=VIEWS,
        statuses=[str(status) for status in RunStatus],
        since=SINCE,
        who=who,
        here="runs",
    )


async def new(console: Console, request: Request, who: Who) -> Response:
    """`/new?agent=NAME`: the form of an agent's input, for the dialog that starts a run; a JSON text for what no form can say."""
    name = request.query_params.get("agent", "").strip()[:200]
    found = next((view.definition for view in await who.client.agents() if view.definition.name == name), None)
    form = fields_of(found.input_schema, UNSET, "Input") if found is not None else []
    if [field.kind for field in form] == ["json"]:
        form = []
    return console.pages.answer("parts/start_form.html", form=form, about=found.description if found is not None else "")


async def _agents(who: Who) -> list[str]:
    return [view.definition.name for view in await who.client.agents()]


def _dashed(text: str) -> str:
    digits = text.replace("-", "").lower()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
