"""A run's trace on its page, for readers without Grafana: a waterfall of the spans that `/tempo` answers, made by the same reading with the
same redaction, so that both show the same. With a Grafana that is known, each span leads to itself there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from waypost_edge.console import shown
from waypost_edge.console.grafana import Grafana
from waypost_edge.console.waterfall import SCALE, waterfall
from waypost_proto.api import RunView
from waypost_proto.errors import BadInput, NotFound
from waypost_proto.ids import RunId
from waypost_proto.values import TERMINAL

if TYPE_CHECKING:
    from starlette.requests import Request

    from waypost_edge.console.site import Console

PAGE_SPANS = 400
LIVE_EVENTS = 2_000
"""The trace of a longer log is not read again and again while somebody looks at it."""


async def trace_of(console: Console, request: Request, view: RunView) -> dict[str, Any]:
    """What the tab shows. `span` opens one, `within` shows one and what lies below it, `from` is where the page of spans begins.

    Whether the caller may see traces is checked before. Raises `BadInput`, `NotFound`.
    """
    asked = {name: request.query_params.get(name, "")[:64] for name in ("span", "within", "from")}
    if asked["from"] and (not asked["from"].isdecimal() or len(asked["from"]) > 7):
        raise BadInput(f"from={asked['from']!r} is not the number of a span")
    trace, whole = await console.reading.one(RunId(view.run_id))
    if trace is None:
        raise NotFound(f"the log of run {view.run_id} is not there")
    try:
        fall = waterfall(trace, within=asked["within"], span=asked["span"], first=int(asked["from"] or 0), most=PAGE_SPANS)
    except KeyError:
        raise NotFound(f"run {view.run_id} has no span {asked['within']!r}") from None
    following = fall.first + PAGE_SPANS
    return {
        "fall": fall,
        "spans_after": following if following < fall.count else None,
        "spans_before": max(0, fall.first - PAGE_SPANS) if fall.first else None,
        "whole": whole,
        "span": asked["span"],
        "within": asked["within"],
        "scale": SCALE,
        "live": view.status not in TERMINAL and view.last_seq <= LIVE_EVENTS,
        "trace_id": view.run_id.replace("-", ""),
        "grafana": grafana_pattern(console.grafana, view),
    }


def grafana_link(grafana: Grafana | None, view: RunView) -> str:
    """The address of a run's trace in Grafana; "" where none is known."""
    return "" if grafana is None else grafana.trace(view.run_id, *_times(view))


def grafana_pattern(grafana: Grafana | None, view: RunView) -> str:
    """The same for any span, with `grafana.TRACE` and `grafana.SPAN` where the ids go."""
    return "" if grafana is None else grafana.pattern(*_times(view))


def _times(view: RunView) -> tuple[float | None, float | None]:
    return shown.unix(view.created_at), shown.unix(view.updated_at) if view.status in TERMINAL else None
