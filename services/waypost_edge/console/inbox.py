"""Approvals and questions that wait for people, with everything that somebody needs to decide: what would run exactly, who asks, on whose
rule, until when."""

from __future__ import annotations

from typing import TYPE_CHECKING

from waypost_edge.console.pages import is_fragment
from waypost_edge.console.run_page import forms_of
from waypost_proto.errors import BadInput

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from waypost_edge.console.site import Console, Who


async def approvals(console: Console, request: Request, who: Who) -> Response:
    """`/approvals?state=open|all&role=…`."""
    state = request.query_params.get("state", "open")
    if state not in ("open", "all"):
        raise BadInput(f"state={state!r} is not one of open, all")
    role = request.query_params.get("role", "").strip()[:200]
    found = await who.client.approvals(state="all" if state == "all" else "open", role=role or None)
    found.sort(key=lambda each: (each.state != "open", each.expires_at if each.state == "open" else "", each.requested_at))
    open_ones = [each for each in found if each.state == "open"]
    template = "parts/inbox.html" if is_fragment(request) else "approvals.html"
    return console.pages.answer(
        template,
        approvals=open_ones,
        decided=[each for each in found if each.state != "open"][::-1],
        forms=await forms_of(who, open_ones),
        state=state,
        role=role,
        who=who,
        here="approvals",
    )
