"""Two runs side by side: what `waypost_core.comparing` says of their logs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from waypost_edge.console.run_page import allowed
from waypost_proto.errors import BadInput, TooLarge
from waypost_proto.ids import parse_run_id

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from waypost_edge.console.site import Console, Who

MAX_EVENTS = 20_000
"""Of one run: both logs are read whole and compared at once."""


async def compare(console: Console, request: Request, who: Who) -> Response:
    """`/compare?a=RUN&b=RUN`. Raises `BadInput` without two different runs, `NotFound`, `TooLarge`."""
    a, b = (request.query_params.get(name, "").strip() for name in ("a", "b"))
    if not a or not b:
        raise BadInput("/compare takes two runs: a=<run id> and b=<run id>")
    left, right = parse_run_id(a), parse_run_id(b)
    if left == right:
        raise BadInput("a run compared with itself differs in nothing: name another one")
    for run_id in (left, right):
        await allowed(console, who, run_id)
    for view in await asyncio.gather(who.client.get(left), who.client.get(right)):
        if view.last_seq > MAX_EVENTS:
            raise TooLarge(f"run {view.run_id} has {view.last_seq} events; the console compares up to {MAX_EVENTS}: `waypost runs compare`")
    return console.pages.answer("compare.html", both=await who.client.compare(left, right), who=who, here="runs")
